#!/bin/bash
# test.sh: brings up a server and a client VM from the offline box, without KVM,
# measures two variants on them, checks the records, and destroys everything. It takes
# five to ten minutes on two cores. Where no libvirt runs it has one of its own, in namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "make test-vagrant: $1" >&2; exit 1; }

scripts/setup.sh vagrant --check || exit 1
if ! virsh -q -c qemu:///system version > /dev/null 2>&1; then
  exec vagrant/libvirt-alone.sh "$0"
fi
vms=$(virsh -q -c qemu:///system list --all --name | grep '^connbench_' || true)
[ -z "$vms" ] || die "there are VMs already: make vagrant-destroy removes them"

# Boxes and state of its own: those of the user's stay as they are.
home=$(mktemp -d)
export VAGRANT_HOME=$home/home VAGRANT_DOTFILE_PATH=$home/state
end() {
  status=$?
  trap '' INT TERM HUP
  set +e
  clean=true
  vagrant/destroy.sh > "$home/destroy" 2>&1 || clean=false
  virsh -q -c qemu:///system list --all --name > "$home/left" 2>&1 || clean=false
  virsh -q -c qemu:///system net-list --all --name >> "$home/left"
  virsh -q -c qemu:///system vol-list default >> "$home/left" 2> /dev/null # there may be no such pool yet
  ! grep -q 'connbench[-_]' "$home/left" || clean=false
  if ! $clean; then
    echo 'make test-vagrant: not everything could be destroyed:' >&2
    cat "$home/destroy" "$home/left" >&2
    status=1
  fi
  rm -rf "$home"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

make -s vagrant-up BOX=connbench-debian12 DRIVER=qemu PROVIDER=libvirt CLIENTS=1 ADDRESSES=4 SERVER_MEMORY=1024 CLIENT_MEMORY=1024
bin/connbench lab check vagrant
CONNBENCH_TEST_VMS=1 go test -count=1 -timeout 30m -v -run '^TestVirtualMachines$' ./harness/connbench
