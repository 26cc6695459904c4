#!/bin/bash
# build.sh builds Kubernetes from Go modules, unless that has been done here, and prints
# the folder of its programs. It takes some ten minutes on two cores. Nothing is optimized:
# that would take half as much again, and a cluster of one node has time.
set -euo pipefail
cd "$(dirname "$0")"

version=$(sed -n 's/^\tk8s.io\/kubernetes //p' go.mod)
key=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -c 1-16)
folder=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/connbench-test/kubernetes-$version-$key
[ ! -x "$folder/kubectl" ] || { echo "$folder"; exit; }

mkdir -p "$folder"
rest=${version#v1.}
stamp=k8s.io/component-base/version
CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$folder/kubernetes" \
  -gcflags='all=-N -l -dwarf=false' -gcflags=std= \
  -ldflags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${rest%%.*}" . >&2
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do
  ln -sf kubernetes "$folder/$program"
done
echo "$folder"
