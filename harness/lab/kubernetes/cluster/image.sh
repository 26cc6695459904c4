#!/bin/bash
# image.sh FILE.tar NAME: an image of busybox alone, with its commands, for containerd to
# import: as small as one with a shell can be, and made without a registry.
set -euo pipefail
file=$(realpath "$1")
name=$2
busybox=$(command -v busybox)
! ldd "$busybox" > /dev/null 2>&1 || { echo "image.sh: $busybox takes libraries: install busybox-static" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/root/{bin,dev,etc,proc,root,sys}
mkdir -m 1777 "$work/root/tmp"
cp "$busybox" "$work/root/bin/busybox"
for command in $("$busybox" --list); do
  [ "$command" = busybox ] || ln -s busybox "$work/root/bin/$command"
done
tar -C "$work/root" --owner=0 --group=0 --numeric-owner -cf "$work/layer.tar" .
# By itself it sleeps: so it does for the pod's own container.
cat > "$work/config.json" << JSON
{"architecture": "$(go env GOARCH)", "os": "linux",
 "config": {"Entrypoint": ["/bin/sleep", "infinity"], "Env": ["PATH=/bin", "HOME=/root"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum < "$work/layer.tar" | cut -d ' ' -f 1)"]}}
JSON
echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"]}]" > "$work/manifest.json"
tar -C "$work" -cf "$file" manifest.json config.json layer.tar
