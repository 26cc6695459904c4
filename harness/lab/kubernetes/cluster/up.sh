#!/bin/bash
# up.sh PROGRAMS COMMAND...: runs a command next to a Kubernetes cluster of one node: etcd,
# API server, controllers, scheduler, containerd and kubelet, as root. PROGRAMS is what
# build.sh prints. Everything lives in namespaces that end with the command, and so does
# the cluster; only the pods' control groups are the machine's, and are removed. The kernel
# keeps the settings that it has.
#
# The command has KUBECONFIG, kubectl in PATH, and what tests must know of the cluster:
# CONNBENCH_TEST_IMAGE, an image that is there, and CONNBENCH_TEST_GUEST, the kubeconfig of
# somebody who may do nothing. Pods have addresses in 198.18.64.0/18.
set -euo pipefail

die() { echo "${0##*/}: $1" >&2; exit 1; }

[ $# -ge 2 ] || { echo "usage: up.sh PROGRAMS COMMAND..." >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
if [ "$$" != 1 ]; then
  [ "$(id -u)" = 0 ] || die "needs root"
  # A kubelet removes the control groups of pods that are not its own: one at a time.
  exec 8< /sys/fs/cgroup
  flock --nonblock 8 || {
    echo "${0##*/}: waits for another cluster on this machine" >&2
    flock --timeout 1200 8 || die "another cluster on this machine does not end"
  }
  pods_run() { [ -n "$(find /sys/fs/cgroup -path '*/kubepods*' -name cgroup.procs -exec cat {} + 2> /dev/null)" ]; }
  for _ in 1 2 3 4 5; do # those of a cluster that was killed are about to end
    pods_run || break
    sleep 1
  done
  ! pods_run || die "pods run on this machine (/sys/fs/cgroup/*/kubepods): a second kubelet would end them; take a machine without Kubernetes"
  exec unshare --net --mount --uts --pid --fork --kill-child --mount-proc "$0" "$@"
fi

programs=$(cd "$1" && pwd)
shift
export PATH=$programs:$PATH:/usr/sbin:/sbin
back=$PWD
work=$(mktemp -d)
# kubectl must never speak to another cluster, not even at an early end.
export KUBECONFIG=$work/kubeconfig-admin CONNBENCH_TEST_GUEST=$work/kubeconfig-guest CONNBENCH_TEST_IMAGE=localhost/busybox:1

end() {
  status=$?
  trap '' INT TERM HUP
  set +e
  if [ "$status" != 0 ] && [ -n "${CONNBENCH_CLUSTER_LOGS:-}" ]; then cp -r "$work/log" "$CONNBENCH_CLUSTER_LOGS"; fi
  kubectl delete jobs,pods --all --grace-period=1 --timeout=30s > /dev/null 2>&1
  # shellcheck disable=SC2046 # a word a process
  kill $(jobs -p) 2> /dev/null
  wait
  find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2> /dev/null
  umount --recursive "$work/kubelet" 2> /dev/null # the kubelet mounts its folder on itself
  cd / && rm -rf "$work"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cd "$work"
mkdir certs etcd kubelet cni log kernel
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add node type bridge
ip link set node up
ip address add 198.18.255.1/32 dev node

openssl genrsa -out accounts.key 2048 2> /dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2> /dev/null

# user NAME GROUP writes kubeconfig-NAME.
user() {
  local token
  token=$(head -c 16 /dev/urandom | sha256sum | cut -c 1-32)
  echo "$token,$1,$1,$2" >> tokens.csv
  cat > "kubeconfig-$1" << YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: $1, user: {token: "$token"}}]
contexts: [{name: test, context: {cluster: test, user: $1}}]
current-context: test
YAML
}
user admin system:masters
user guest guests

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower the score that the
# pod's own container asks for.
cat > containerd.toml << TOML
version = 2
root = "$work/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$CONNBENCH_TEST_IMAGE"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$work/cni"
TOML
cat > cni/pods.conflist << JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "198.18.64.0/18"}]], "dataDir": "$work/addresses"}}]}
JSON
cat > kubelet.yaml << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd.sock
cgroupDriver: cgroupfs
failSwapOn: false
enforceNodeAllocatable: []
address: 198.18.255.1
healthzPort: 0
allowedUnsafeSysctls: [net.core.somaxconn]
evictionHard: {memory.available: 100Mi}
YAML

# until_true SECONDS WHAT COMMAND... waits until a command succeeds.
until_true() {
  local last=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$last" ] || { tail -n 5 log/* >&2; die "$what does not come up"; }
    sleep 0.2
  done
}
is_ready() { [ "$(kubectl get nodes --output='jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}')" = True ]; }

etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync > log/etcd 2>&1 &
containerd --config containerd.toml > log/containerd 2>&1 &
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --bind-address=127.0.0.1 \
  --advertise-address=127.0.0.1 --cert-dir=certs --service-account-issuer=https://test.invalid \
  --service-account-key-file=accounts.pub --service-account-signing-key-file=accounts.key \
  --token-auth-file=tokens.csv --authorization-mode=RBAC --anonymous-auth=false \
  --service-cluster-ip-range=198.19.200.0/24 --disable-admission-plugins=ServiceAccount \
  --kubelet-preferred-address-types=InternalIP --endpoint-reconciler-type=none > log/apiserver 2>&1 &
until_true 60 containerd ctr --address /run/containerd.sock version
"$here/image.sh" image.tar "$CONNBENCH_TEST_IMAGE"
ctr --address /run/containerd.sock --namespace k8s.io images import image.tar > /dev/null
until_true 180 'the API server' kubectl get --raw /readyz
kube-scheduler --kubeconfig=kubeconfig-admin --leader-elect=false --secure-port=0 > log/scheduler 2>&1 &
kube-controller-manager --kubeconfig=kubeconfig-admin --leader-elect=false --secure-port=0 \
  --service-account-private-key-file=accounts.key > log/controllers 2>&1 &
# The kubelet sets the kernel of the machine, for good: in this mount namespace it reads that
# all is as it wants it, and what it writes goes to a file.
while read -r setting value; do
  file=kernel/${setting//\//.}
  echo "$value" > "$file"
  mount --bind "$file" "/proc/sys/$setting"
done << SETTINGS
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS
kubelet --config=kubelet.yaml --kubeconfig=kubeconfig-admin --hostname-override=node1 --node-ip=198.18.255.1 \
  --root-dir="$work/kubelet" --cert-dir=certs > log/kubelet 2>&1 &
until_true 180 'the node' is_ready

cd "$back"
"$@"
