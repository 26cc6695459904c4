#!/bin/bash
# libvirt-alone.sh COMMAND...
#
# Runs COMMAND with a libvirtd of its own, for a machine on which none runs: without
# systemd, say. Network, mounts and processes are in namespaces of their own, so that
# no bridge, address, VM or setting of libvirt's shows on the machine, and all of it
# ends with COMMAND, however this ends: the kernel kills what is left in there. Needs
# root, and a few GB of disk in TMPDIR (/var/tmp) for the VMs. Vagrant's state and boxes
# are its own, too.
set -euo pipefail

die() { echo "libvirt-alone.sh: $1" >&2; exit "${2:-1}"; }

# supervise TARGET COMMAND... runs COMMAND. Ctrl-C reaches it as it does everything in
# front of the terminal; SIGTERM is passed on to what TARGET, a command, prints.
supervise() {
  local target=$1 status=0
  shift
  # A shell's background command would ignore Ctrl-C, and not see the input.
  env --default-signal=INT,QUIT "$@" <&0 &
  child=$!
  trap : INT
  # shellcheck disable=SC2064 # TARGET is known now
  trap "kill -TERM \$($target) 2> /dev/null || true" TERM HUP
  while kill -0 "$child" 2> /dev/null; do
    status=0
    wait "$child" || status=$?
  done
  return "$status"
}

# inside is the first process of the namespaces.
inside() {
  local state=$1 dir
  shift
  mkdir -p "$state"/{etc,lib/images,log,cache,vagrant.d}
  cp -a /etc/libvirt/. "$state/etc/"
  rm -f "$state"/etc/qemu/networks/autostart/*
  # QEMU as root and unconfined: the namespaces are the confinement. No D-Bus, no cgroups.
  printf '%s\n' 'security_driver = "none"' 'namespaces = []' 'cgroup_controllers = []' \
    'stdio_handler = "file"' 'remember_owner = 0' 'user = "root"' 'group = "root"' > "$state/etc/qemu.conf"
  printf '%s\n' 'auth_unix_ro = "none"' 'auth_unix_rw = "none"' 'unix_sock_group = "root"' > "$state/etc/libvirtd.conf"
  mount -t tmpfs connbench /run
  mkdir -p /run/libvirt /run/lock
  mount --bind "$state/etc" /etc/libvirt
  for dir in lib log cache; do
    mkdir -p "/var/$dir/libvirt"
    mount --bind "$state/$dir" "/var/$dir/libvirt"
  done
  ip link set lo up
  setsid libvirtd < /dev/null > "$state/libvirtd.out" 2>&1 & # Ctrl-C is not for it: COMMAND may have to tidy up
  for _ in $(seq 150); do
    virsh -q -c qemu:///system version > /dev/null 2>&1 && break
    sleep 0.2
  done
  virsh -q -c qemu:///system version > /dev/null || die "libvirtd does not start: $(tail -1 "$state/libvirtd.out")"
  export VAGRANT_HOME=$state/vagrant.d VAGRANT_DOTFILE_PATH=$state/vagrant VAGRANT_CHECKPOINT_DISABLE=1
  # shellcheck disable=SC2016 # for later
  supervise 'echo $child' "$@"
}

if [ "${1:-}" = --inside ]; then
  shift
  inside "$@"
  exit
fi

[ $# -gt 0 ] || die "usage: libvirt-alone.sh COMMAND..." 2
"$(dirname "$0")/../scripts/setup.sh" vagrant --check
[ "$(id -u)" = 0 ] || die "needs root for its namespaces: sudo vagrant/libvirt-alone.sh ..."

# What a killed one has left on the disk: its lock is free.
for old in "${TMPDIR:-/var/tmp}"/connbench-libvirt.*; do
  [ ! -d "$old" ] || flock -n "$old" rm -rf "$old" || true
done
state=$(mktemp -d "${TMPDIR:-/var/tmp}/connbench-libvirt.XXXXXX")
exec {lock}< "$state"
flock "$lock"
trap 'rm -rf "$state"' EXIT
# shellcheck disable=SC2016 # for later; unshare itself does not take SIGTERM
supervise 'pgrep -P $child' setpriv --pdeathsig KILL \
  unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --inside "$state" "$@"
