#!/bin/sh
# false-alarms.sh [CHECKS] [PLAN]
#
# Measures how far `connbench bench-check --base HEAD` can be trusted on this machine. It
# runs CHECKS (default 20) whole checks of unchanged servers next to a busy loop on one CPU,
# and counts those that fail: false alarms. Then it plants regressions into the goroutine
# server, 64, 256 and 4,096 bytes per connection and 10 µs per message, and checks that each
# is found. Takes about 2 × CHECKS + 2 times as long as PLAN (default check; a name or a TOML
# file).
# Everything is built and filed in a temporary folder. Needs git, go and taskset.
set -eu

checks=${1:-20}
plan=${2:-check}
tree=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
busy=

cleanup() {
  [ -z "$busy" ] || kill "$busy" 2>/dev/null || true
  git -C "$tree" worktree remove --force "$work/planted" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

for tool in git go taskset; do
  command -v $tool >/dev/null || { echo "false-alarms.sh: $tool is missing" >&2; exit 2; }
done

make -s -C "$tree" build
cp -r "$tree/bin" "$work/bin" # what is built here stays here
connbench="$work/bin/connbench"

# check SERVERS LOG [FLAG...] is bench-check against the servers of HEAD. Its exit status is
# 1 where something seems worse.
check() {
  servers=$1 log=$2
  shift 2
  "$connbench" bench-check --plan "$plan" --base HEAD --servers "$servers" \
    --bin "$work/bin" --results "$work/checks" "$@" > "$log" 2>&1
}

taskset -c 0 sh -c 'while :; do :; done' &
busy=$!
alarms=0 n=0
while [ "$n" -lt "$checks" ]; do
  n=$((n + 1))
  check "$tree/servers" "$work/check-$n.log" || alarms=$((alarms + 1))
  echo "check $n of $checks: $(tail -1 "$work/check-$n.log")"
done
kill "$busy"
busy=
echo "false alarms next to a busy loop: $alarms of $checks whole checks"

# plant EXPRESSION changes the goroutine server of a tree of its own.
plant() {
  git -C "$tree" worktree remove --force "$work/planted" 2>/dev/null || true
  git -C "$tree" worktree add -q --detach "$work/planted" HEAD
  server=$work/planted/servers/goroutine/main.go
  cp "$server" "$work/before.go"
  sed -i "$1" "$server"
  if cmp -s "$server" "$work/before.go"; then
    echo "false-alarms.sh: nothing to plant into $server: its code has changed" >&2
    exit 1
  fi
}

found=0
# look NAME checks the planted tree.
look() {
  if check "$work/planted/servers" "$work/planted.log" --variants goroutine; then
    echo "planted $1: NOT FOUND"
    tail -20 "$work/planted.log"
  else
    found=$((found + 1))
    echo "planted $1: found ($(tail -1 "$work/planted.log"))"
  fi
}

for bytes in 64 256 4096; do
  plant "s/^func (s \*server) read(c .*{\$/&\n\tplanted := make([]byte, plantedBytes)\n\tdefer func() { _ = planted[0] }()/; \$a var plantedBytes = $bytes"
  look "$bytes bytes per connection"
done
plant 's/work\.Do(s\.work)/work.Do(s.work + 10*time.Microsecond)/'
look "10 µs per message"

echo "planted regressions: $found of 4 found"
[ "$found" = 4 ] && [ $((alarms * 20)) -le "$checks" ]
