#!/bin/bash
# cluster.sh DIR NODES COMMAND...
#
# A Slurm cluster on this machine, for tests: a controller, and nodes n1, n2, … that are
# network namespaces, each with a /tmp of its own. It runs COMMAND with SLURM_CONF set, and
# ends with it. All that it writes is in DIR; `DIR/start n2` starts the slurmd of a node
# again. Needs root, and scripts/setup.sh slurm.
set -eu

if [ -z "${CONNBENCH_CLUSTER:-}" ]; then
	# Namespaces of our own: when the first process in them ends, all others do.
	CONNBENCH_CLUSTER=1 exec unshare -n -m -u -i -p -f --kill-child --mount-proc "$0" "$@"
fi
unset CONNBENCH_CLUSTER
scripts=$(cd "$(dirname "$0")/../../../scripts" && pwd)
dir=$(mkdir -p "$1" && cd "$1" && pwd) nodes=$2
shift 2
export PATH=$PATH:/usr/sbin:/sbin # where munged and slurmd are, which not all users have

mkdir -p "$dir/state" "$dir/log"
cp "$scripts/slurm-prolog" "$scripts/slurm-epilog" "$dir" # where nodes see them
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/munge /run/dir
mount --bind "$dir" /run/dir
hostname ctl
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
ip addr add 198.18.0.1/16 dev br0
{
	echo '127.0.0.1 localhost'
	echo '198.18.0.1 ctl'
	for i in $(seq "$nodes"); do echo "198.18.0.$((10 + i)) n$i"; done
} > "$dir/hosts"
mount --bind "$dir/hosts" /etc/hosts
for i in $(seq "$nodes"); do
	ip netns add "n$i"
	ip link add "v$i" type veth peer name eth0 netns "n$i"
	ip link set "v$i" master br0 up
	ip -n "n$i" link set lo up
	ip -n "n$i" link set eth0 up
	ip -n "n$i" addr add "198.18.0.$((10 + i))/16" dev eth0
	mkdir -p "$dir/spool.n$i" "$dir/tmp.n$i"
done

dd if=/dev/urandom of="$dir/munge.key" bs=1 count=1024 2> "$dir/log/dd"
chmod 400 "$dir/munge.key"
munged --force --socket=/run/munge/munge.socket.2 --key-file="$dir/munge.key" --pid-file=/run/munge/pid \
	--log-file="$dir/log/munge.log" --seed-file=/run/munge/seed 2> "$dir/log/munged"

cat > "$dir/slurm.conf" << E_CONF
ClusterName=connbench
SlurmctldHost=ctl(198.18.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SchedulerParameters=bf_interval=1,sched_min_interval=0
MpiDefault=none
PropagateResourceLimits=NONE
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
Prolog=$dir/slurm-prolog
Epilog=$dir/slurm-epilog
PrologFlags=Alloc
$(for i in $(seq "$nodes"); do
	feature=client
	[ "$i" != 1 ] || feature=server
	echo "NodeName=n$i NodeAddr=198.18.0.$((10 + i)) NodeHostname=n$i CPUs=$(nproc) Feature=$feature State=UNKNOWN"
done)
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE
E_CONF
export SLURM_CONF=$dir/slurm.conf

cat > "$dir/start" << E_START
#!/bin/sh
# Not \`ip netns exec\`, which hides /sys/fs/cgroup.
exec nsenter --net="/run/netns/\$1" unshare -u -m sh -c '
	hostname "\$1" && mount --bind "$dir/tmp.\$1" /tmp && mkdir -p "$dir" && mount --bind /run/dir "$dir" &&
	SLURM_CONF=$SLURM_CONF exec slurmd -f "$SLURM_CONF" -c' sh "\$1"
E_START
chmod +x "$dir/start"

slurmctld -f "$SLURM_CONF" -c
for i in $(seq "$nodes"); do "$dir/start" "n$i"; done
for _ in $(seq 120); do
	[ "$(sinfo -h -t idle -o %D 2> "$dir/log/sinfo")" != "$nodes" ] || break
	sleep 0.25
done
status=0
"$@" || status=$?
exit $status
