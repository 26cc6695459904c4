#!/bin/sh
# provision.sh server|client N MAC LOAD CLIENTS ADDRESSES
#
# Makes a VM a host of the lab, also after each boot: descriptors and the kernel's
# limits for two million connections, and the addresses and routes of the network
# card with that MAC. Twice is as good as once. N is the client's number (the
# server's is 0), LOAD the first two bytes of the load's addresses. Needs root, and
# scripts/tune.sh as /tmp/connbench-tune.
set -eu

side=$1 n=$2 mac=$3 load=$4 clients=$5 addresses=$6
connections=2000000

# Before anything else the ceiling of descriptors: a login whose limit is above it fails.
cat > /etc/sysctl.d/50-connbench.conf << E
fs.nr_open = $((connections + 1000))
fs.file-max = $((2 * connections + 100000))
net.ipv4.ip_local_port_range = 1024 65535
net.ipv4.ip_forward = $([ "$side" = client ] && echo 1 || echo 0)
E
sysctl -q -p /etc/sysctl.d/50-connbench.conf

# Logins of every kind go through PAM; services are PID 1's.
cat > /etc/security/limits.d/50-connbench.conf << E
* - nofile $connections
root - nofile $connections
E
mkdir -p /etc/systemd/system.conf.d
cat > /etc/systemd/system.conf.d/50-connbench.conf << E
[Manager]
DefaultLimitNOFILE=$connections
E

if [ -e /tmp/connbench-tune ]; then
  install -m 755 /tmp/connbench-tune /usr/local/sbin/connbench-tune
  rm /tmp/connbench-tune
fi
cat > /etc/systemd/system/connbench-tune.service << E
[Unit]
Description=Kernel limits for $connections connections
After=systemd-sysctl.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/connbench-tune apply $connections
[Install]
WantedBy=multi-user.target
E

# Nothing else is to run while something is measured.
for timer in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer man-db.timer; do
  systemctl -q mask --now "$timer" 2> /dev/null || true # not every box has it
done

network() {
  echo '[Match]'
  echo "MACAddress=$mac"
  echo '[Network]'
  echo 'LinkLocalAddressing=no'
  echo 'IPv6AcceptRA=no'
  if [ "$side" = server ]; then
    echo "Address=$load.0.2/24"
    for c in $(seq "$clients"); do
      for prefix in "$load.$c.0/24" "$load.$((100 + c)).0/24"; do
        printf '[Route]\nDestination=%s\nGateway=%s\n' "$prefix" "$load.0.$((10 + c))"
      done
    done
  else
    echo "Address=$load.0.$((10 + n))/24"
    for a in $(seq "$addresses"); do
      echo "Address=$load.$n.$a/32"
    done
  fi
}
network > /etc/systemd/network/10-connbench.network

systemctl daemon-reexec # PID 1 keeps its limit otherwise
systemctl -q enable --now connbench-tune systemd-networkd
networkctl reload
# The last address to be set says that all are.
last=$load.0.2
[ "$side" = server ] || last=$load.$n.$addresses
for _ in $(seq 100); do
  ip -4 -o address show | grep -q " $last/" && exit 0
  sleep 0.2
done
echo "provision.sh: $last is not set after 20 s: networkctl status tells more" >&2
exit 1
