#!/bin/bash
# test.sh: starts a Slurm cluster of four nodes on this machine, measures on them, loses
# nodes and jobs, and checks that nothing is left.
set -euo pipefail
cd "$(dirname "$0")/../../.."

scripts/setup.sh slurm --check || exit 1
[ "$(id -u)" = 0 ] || { echo 'make test-slurm: needs root' >&2; exit 1; }
dir=$(mktemp -d) cluster=
# With the first process of the cluster's namespaces all others end.
trap '[ -z "$cluster" ] || kill -KILL "$cluster" 2> /dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

go test -c -o "$dir/connbench.test" ./harness/connbench
export CONNBENCH_TEST_SLURM=$dir/cluster
# shellcheck disable=SC2016 # the inner shell expands it
harness/lab/slurm/cluster.sh "$dir/cluster" 4 \
	sh -c 'cd harness/connbench && exec "$1" -test.run "^TestSlurm" -test.v -test.timeout 10m' sh "$dir/connbench.test" &
cluster=$!
status=0
wait "$cluster" || status=$?
cluster=
exit "$status"
