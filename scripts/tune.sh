#!/bin/sh
# tune.sh apply [CONNECTIONS] | restore | show
#
# Raises the kernel's limits on a host so that it can hold CONNECTIONS (default
# 1,000,000), both ends of each on this host, and puts every one back as it was.
# Nothing is ever lowered. `apply` twice keeps the first saved values. Needs root
# (but for `show`).
set -eu

STATE=${CONNBENCH_TUNE_STATE:-/var/lib/connbench/sysctls}

die() { echo "tune.sh: $1" >&2; exit "${2:-1}"; }

# Where a sysctl lies: net.ipv4.tcp_mem in /proc/sys/net/ipv4/tcp_mem.
file() { echo "/proc/sys/$(echo "$1" | tr . /)"; }

value() { tr '\t' ' ' < "$(file "$1")"; }

# wanted CONNECTIONS prints a line for each sysctl: its name and what it must at
# least be, field by field.
wanted() {
  n=$1
  descriptors=$((2 * n + 100000)) # both ends, and the rest of the host
  pages=$((2 * n + 100000))       # a page each while a FIN waits to be read
  echo "fs.file-max $descriptors"
  echo "fs.nr_open $((n + 1000))"
  echo "fs.epoll.max_user_watches $descriptors"
  echo "net.core.somaxconn 4096"
  echo "net.ipv4.tcp_max_syn_backlog 8192"
  echo "net.ipv4.tcp_mem $pages $pages $((2 * pages))"
  echo "net.ipv4.tcp_max_orphans $n"
  echo "net.netfilter.nf_conntrack_max $descriptors"
  echo "kernel.pid_max 65536"
  echo "kernel.threads-max 65536"
  echo "vm.max_map_count 262144"
}

# raised "OLD…" "WANTED…" prints the larger of each field.
raised() {
  # shellcheck disable=SC2086 # fields of a sysctl are separate words
  set -- $1 / $2
  old='' out=''
  while [ "$1" != / ]; do old="$old $1"; shift; done
  shift
  for o in $old; do
    w=${1:-0}
    [ $# -gt 0 ] && shift
    # fs.file-max may be larger than shell arithmetic: longer is larger then.
    if [ ${#o} -gt 18 ] || [ "$o" -ge "$w" ]; then out="$out $o"; else out="$out $w"; fi
  done
  echo "${out# }"
}

apply() {
  n=$1
  case $n in '' | *[!0-9]* | 0) die "connections \"$n\": want a positive number" 2 ;; esac
  [ -w "$(file fs.file-max)" ] || die "needs root to write /proc/sys; run: sudo scripts/tune.sh apply $n"
  mkdir -p "$(dirname "$STATE")" || die "cannot make $(dirname "$STATE"); set CONNBENCH_TUNE_STATE to a file elsewhere"
  wanted "$n" | while read -r name want; do
    [ -e "$(file "$name")" ] || continue # not in this kernel, or not in this namespace
    old=$(value "$name")
    new=$(raised "$old" "$want")
    [ "$old" = "$new" ] && continue
    grep -qs "^$name " "$STATE" || echo "$name $old" >> "$STATE"
    echo "$new" > "$(file "$name")" || die "$name: the kernel refuses $new"
    echo "$name: $old -> $new"
  done
}

restore() {
  [ -e "$STATE" ] || { echo "nothing to restore"; return; }
  [ -w "$(file fs.file-max)" ] || die "needs root to write /proc/sys; run: sudo scripts/tune.sh restore"
  while read -r name old; do
    echo "$old" > "$(file "$name")" || die "$name: the kernel refuses $old"
    echo "$name: back to $old"
  done < "$STATE"
  rm "$STATE"
}

show() {
  wanted 1000000 | while read -r name want; do
    if [ ! -e "$(file "$name")" ]; then
      echo "$name: not in this kernel"
    elif saved=$(grep -s "^$name " "$STATE"); then
      echo "$name = $(value "$name") (raised; was ${saved#"$name "})"
    else
      echo "$name = $(value "$name") (a million connections want $want)"
    fi
  done
}

case "${1:-}" in
  apply) apply "${2:-1000000}" ;;
  restore) restore ;;
  show) show ;;
  *) die "usage: tune.sh apply [CONNECTIONS] | restore | show" 2 ;;
esac
