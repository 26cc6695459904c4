#!/bin/sh
# destroy.sh [box]
#
# Removes every trace of the VMs: themselves, their disks and networks, and what was
# generated here; with `box` the offline box, too. Also what a broken `vagrant up`
# left in libvirt. VMs of other folders are left alone.
set -eu
cd "$(dirname "$0")"

box=connbench-debian12
state=${VAGRANT_DOTFILE_PATH:-.vagrant}
export VAGRANT_CWD="$PWD"

die() { echo "destroy.sh: $1" >&2; exit 1; }
virsh() { command virsh -q -c "${LIBVIRT_DEFAULT_URI:-qemu:///system}" "$@"; }

if ls "$state"/machines/*/*/id > /dev/null 2>&1; then
  command -v vagrant > /dev/null || die "vagrant is missing, and the VMs are still there: run scripts/setup.sh vagrant, as root"
  vagrant destroy --force || die "the VMs are still there: see what vagrant says above"
fi

if command -v virsh > /dev/null && virsh version > /dev/null 2>&1; then
  ours=true
  for domain in $(virsh list --all --name | grep '^connbench_' || true); do
    if [ "$(virsh desc "$domain")" = "Source: $PWD/Vagrantfile" ]; then
      virsh destroy "$domain" > /dev/null 2>&1 || true # it may be off
      virsh undefine "$domain" --nvram
    else
      ours=false
      echo "destroy.sh: $domain is another folder's, as are the networks: $(virsh desc "$domain")" >&2
    fi
  done
  if $ours; then
    for disk in $(virsh vol-list default 2> /dev/null | awk '/^ *connbench[_-]/ { print $1 }'); do
      virsh vol-delete "$disk" default
    done
    for network in $(virsh net-list --all --name | grep '^connbench-' || true); do
      virsh net-destroy "$network" > /dev/null 2>&1 || true # it may be off
      virsh net-undefine "$network"
    done
  fi
fi
# A folder that was named may hold more than Vagrant's state.
[ "$state" != .vagrant ] || rm -rf .vagrant
rm -f lab.toml "$state/connbench.toml"

if [ "${1:-}" = box ]; then
  ! vagrant box list 2> /dev/null | grep -q "^$box " || vagrant box remove --all --force "$box"
  rm -rf box
fi
