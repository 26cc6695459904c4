#!/bin/sh
# setup.sh vagrant | kubernetes | slurm | tests [--print | --check]
#
# Installs the missing packages that a lab needs besides Go, or without which `make test` skips
# tests: Debian and Ubuntu packages, with apt-get, as root. --print lists the packages
# instead. --check installs nothing either, and exits with 1 and one line if a program
# is missing.
set -eu

usage="usage: setup.sh vagrant | kubernetes | slurm | tests [--print | --check]"

die() { echo "setup.sh: $1" >&2; exit "${2:-1}"; }

# needs WHAT prints a line for each package: its name, and the program, file or library
# that shows that it is there. There is no other list.
needs() {
  case $1 in
    vagrant) cat << E
vagrant vagrant
vagrant-libvirt /usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json
libvirt-daemon-system libvirtd
libvirt-clients virsh
qemu-system-x86 qemu-system-x86_64
qemu-utils qemu-img
dnsmasq-base dnsmasq
iptables iptables
iproute2 ip
procps pgrep
openssh-client ssh
mmdebstrap mmdebstrap
debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg
e2fsprogs mke2fs
fdisk sfdisk
mtools mcopy
syslinux syslinux
syslinux-common /usr/lib/SYSLINUX/mbr.bin
E
      ;;
    kubernetes) cat << E
etcd-server etcd
containerd containerd
runc runc
containernetworking-plugins /usr/lib/cni/bridge
busybox-static /usr/share/doc/busybox-static/copyright
iproute2 ip
openssl openssl
E
      ;;
    slurm) cat << E
slurmctld slurmctld
slurmd slurmd
slurm-client srun
munge munged
iproute2 ip
util-linux nsenter
E
      ;;
    tests) cat << E
gcc gcc
libc6-dev /usr/include/errno.h
iproute2 ip
nftables nft
openssh-server sshd
openssh-client ssh
shellcheck shellcheck
ruby ruby
vagrant vagrant
vagrant-libvirt /usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json
chromium chromium
openssl openssl
nginx-light nginx
E
      needs_of_variants
      ;;
    '') die "$usage" 2 ;;
    *) die "unknown: \"$1\"; $usage" 2 ;;
  esac
}

# needs_of_variants prints them for the servers in other languages than Go, as their
# variant.toml states them: "node >= 18 from nodejs".
needs_of_variants() {
  sed -n 's/^needs = \[\(.*\)\]/\1/p' "$(dirname "$0")"/../servers/*/variant.toml | tr -d '"' | tr ',' '\n' |
    while read -r name words; do
      package=${words##*from }
      [ "$package" != "$words" ] || package=$name
      case $name in
        linux | io_uring | tun) ;; # the kernel's, as harness/variant knows them
        file:*) echo "$package ${name#*:}" ;;
        python3:*) echo "$package /usr/lib/python3/dist-packages/${name#*:}" ;;
        *) echo "$package $name" ;;
      esac
    done | sort -u
}

packages() { needs "$what" | cut -d ' ' -f 1; }

# missing 1 prints the packages that are missing, missing 2 the programs and files that
# show it.
missing() {
  needs "$what" | while read -r package shown; do
    case $shown in
      /*) [ -e "$shown" ] || echo "$package $shown" ;;
      pkg-config:*) pkg-config --exists "${shown#*:}" 2> /dev/null || echo "$package $shown" ;;
      *) PATH=$PATH:/sbin:/usr/sbin command -v "$shown" > /dev/null || echo "$package $shown" ;;
    esac
  done | cut -d ' ' -f "$1" | sort -u
}

check() {
  without=$(missing 2 | tr '\n' ' ')
  [ -z "$without" ] || die "$what: missing ${without% }: run scripts/setup.sh $what, as root"
}

install() {
  command -v apt-get > /dev/null || die "there is no apt-get here: install what setup.sh $what --print lists, under the names that your system has for it"
  [ "$(id -u)" = 0 ] || die "needs root: sudo scripts/setup.sh $what"
  lacking=$(missing 1)
  [ -n "$lacking" ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || die "apt-get update fails: see above"
  # shellcheck disable=SC2086 # a word a package
  apt-get install -y -qq --no-install-recommends $lacking || die "apt-get could not install what $what needs: see above"
  check
}

what='' action=install
for word; do
  case $word in
    --print) action=packages ;;
    --check) action=check ;;
    -*) die "$usage" 2 ;;
    *) [ -z "$what" ] || die "$usage" 2; what=$word ;;
  esac
done
needs "$what" > /dev/null
$action
