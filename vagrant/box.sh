#!/bin/sh
# box.sh FILE
#
# Builds FILE, a small Debian 12 box for the libvirt provider, for those who can't or
# won't download one. Its packages come from where this machine's own apt has
# Debian's (or from MIRROR=), and are verified by Debian's archive keys. Needs root:
# a system is installed in a folder. About two minutes of CPU, 1 GB of disk meanwhile.
set -eu

SUITE=bookworm
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
DISK_MIB=4096 # sparse: what the VM sees, not what it takes
BOOT_MIB=96

die() { echo "box.sh: $1" >&2; exit "${2:-1}"; }

[ $# -eq 1 ] || die "usage: box.sh FILE" 2
out=$1
"$(dirname "$0")/../scripts/setup.sh" vagrant --check
[ "$(id -u)" = 0 ] || die "needs root to install a system in a folder: sudo make vagrant-box"

# sources prints this machine's apt sources for the suite, Debian's alone.
sources() {
  if [ -n "${MIRROR:-}" ]; then
    echo "deb [signed-by=$KEYS] $MIRROR $SUITE main"
    return
  fi
  apt-get indextargets --format "deb [signed-by=$KEYS] \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
    'Created-By: Packages' 'Origin: Debian' |
    grep -E " $SUITE(-updates|-security)? main\$" | sort -u
}

# The key that every box has until Vagrant or its owner sets another; Vagrant's own copy.
vagrant_key() {
  for dir in /usr/share/rubygems-integration/all/gems/vagrant-* /opt/vagrant/embedded/gems/gems/vagrant-*; do
    [ -e "$dir/keys/vagrant.pub" ] && cat "$dir/keys/vagrant.pub" && return
  done
  die "Vagrant's insecure public key is not where Debian's package or HashiCorp's has it"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/connbench-box.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

sources > "$work/sources.list"
[ -s "$work/sources.list" ] || die "this machine's apt has no lists of Debian 12: run apt-get update, or set MIRROR= to a Debian archive"
key=$(vagrant_key)

# The guest's own settings, laid over its system.
overlay=$work/overlay
write() { mkdir -p "$overlay/$(dirname "$1")" && cat > "$overlay/$1"; }
write etc/hostname << E
connbench
E
write etc/hosts << E
127.0.0.1 localhost
127.0.1.1 connbench
E
write etc/fstab << E
/dev/vda2 / ext4 noatime 0 1
E
write etc/systemd/network/20-eth0.network << E
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
E
write etc/systemd/system/connbench-host-key.service << E
[Unit]
Description=A host key of this machine's own
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
E
write etc/ssh/sshd_config.d/connbench.conf << E
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
E
write etc/sudoers.d/vagrant << E
vagrant ALL=(ALL) NOPASSWD: ALL
E
chmod 440 "$overlay/etc/sudoers.d/vagrant"
# Only what finds and mounts the root file system.
write etc/initramfs-tools/conf.d/connbench << E
MODULES=list
COMPRESS=zstd
E
write etc/initramfs-tools/modules << E
virtio_pci
virtio_blk
ext4
crc32c_generic
E
write home/vagrant/.ssh/authorized_keys << E
$key
E

# setup runs in the new system's folder.
cat > "$work/setup" << 'E'
#!/bin/sh
set -eu
root=$1
chroot "$root" useradd -m -s /bin/bash vagrant
chroot "$root" chown -R vagrant:vagrant /home/vagrant
chmod 700 "$root/home/vagrant/.ssh"
chmod 600 "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" systemctl -q enable systemd-networkd connbench-host-key
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
  dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer e2scrub_reap.service
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
: > "$root/etc/machine-id"
E
chmod +x "$work/setup"

echo "box.sh: installing Debian 12 in a folder"
root=$work/root
mmdebstrap --quiet --mode=root --variant=minbase \
  --include=linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,udev,dbus,libpam-systemd,openssh-server,sudo,iproute2,procps,ethtool \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --essential-hook="cp -a $overlay/etc/. \"\$1/etc/\"" \
  --customize-hook="cp -a $overlay/. \"\$1/\"" --customize-hook="$work/setup \"\$1\"" \
  "$SUITE" "$root" "$work/sources.list"

echo "box.sh: making its disk"
# Two partitions: kernel and boot loader on FAT, which is written without mounting
# anything, and the root file system.
disk=$work/disk.img
truncate -s "${DISK_MIB}M" "$disk"
PATH=$PATH:/sbin:/usr/sbin
sfdisk -q "$disk" << E
label: dos
start=1MiB, size=${BOOT_MIB}MiB, type=e, bootable
start=$((1 + BOOT_MIB))MiB, type=83
E
dd if=/usr/lib/SYSLINUX/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
boot=$disk@@1M
mformat -i "$boot" -T $((BOOT_MIB * 2048)) ::
mcopy -i "$boot" "$root"/boot/vmlinuz-* ::vmlinuz
mcopy -i "$boot" "$root"/boot/initrd.img-* ::initrd.img
cat > "$work/syslinux.cfg" << E
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND root=/dev/vda2 ro net.ifnames=0 console=ttyS0 quiet mitigations=off nowatchdog
E
mcopy -i "$boot" "$work/syslinux.cfg" ::syslinux.cfg
syslinux --install --offset $((1 << 20)) "$disk"
rm "$root"/boot/initrd.img-* # its copy is the one that boots
mke2fs -q -t ext4 -m 1 -d "$root" -E "offset=$(((1 + BOOT_MIB) << 20))" "$disk" $((DISK_MIB - BOOT_MIB - 1))M
rm -rf "$root"
qemu-img convert -c -O qcow2 -o compression_type=zstd "$disk" "$work/box.img"

echo "box.sh: packing it"
cat > "$work/metadata.json" << E
{"provider": "libvirt", "format": "qcow2", "virtual_size": $(((DISK_MIB + 1023) / 1024))}
E
echo 'Vagrant.configure("2") { |config| config.vm.provider :libvirt }' > "$work/Vagrantfile"
mkdir -p "$(dirname "$out")"
tar -C "$work" -czf "$out.part" metadata.json Vagrantfile box.img
mv "$out.part" "$out"
echo "box.sh: $out ($(du -h "$out" | cut -f1))"
