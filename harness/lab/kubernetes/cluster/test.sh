#!/bin/bash
# test.sh: builds Kubernetes unless that has been done here, and tests the lab of pods on a
# cluster of one node. It needs root, and what scripts/setup.sh kubernetes installs. The
# cluster has no way to the outside, so all that is downloaded or built is before it.
set -euo pipefail
cd "$(dirname "$0")/../../../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
started=$SECONDS
programs=$(harness/lab/kubernetes/cluster/build.sh)
echo "Kubernetes is built: $programs, $((SECONDS - started)) s"
bin/connbench conform floor > /dev/null
go test -c -o "$work/connbench.test" ./harness/connbench
started=$SECONDS
cd harness/connbench
../lab/kubernetes/cluster/up.sh "$programs" "$work/connbench.test" -test.v -test.timeout 20m -test.run '^TestPods$'
echo "The cluster was up and tested for $((SECONDS - started)) s"
