#!/usr/bin/env bash
# Measures the servers of a repository next to those of its revision CONNBENCH_BASE, in one
# run. It is a step of action.yml, and runs anywhere else as well:
#
#   CONNBENCH_BASE=REV [CONNBENCH_SERVERS=servers] [CONNBENCH_VARIANTS=a,b] [CONNBENCH_PLAN=check] check.sh
#
# The working directory is the repository. The exit status is 1 after a confirmed
# regression, and 2 if something is wrong with the call. Files go to a new folder in
# RUNNER_TEMP, their names to GITHUB_OUTPUT, and the result to GITHUB_STEP_SUMMARY.
set -euo pipefail

connbench=$(cd "$(dirname "$0")/../.." && pwd)
servers=${CONNBENCH_SERVERS:-servers}
variants=${CONNBENCH_VARIANTS:-}
fail() { echo "check.sh: $1" >&2; exit 2; }

base=${CONNBENCH_BASE:-}
[ -n "$base" ] || fail 'CONNBENCH_BASE must name the revision to compare with'
[ -d "$servers" ] || fail "there is no folder $servers in $PWD"
work=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/connbench.XXXXXX")

# Checkouts of CI are shallow: fetch the base alone.
if ! git rev-parse --verify --quiet "$base^{commit}" >/dev/null; then
  git fetch --quiet --depth=1 origin "$base" || fail "there is no revision $base"
fi
make -s -C "$connbench" programs BIN="$work/bin"

# Plans name the variants of connbench's own folder.
if [ -z "$variants" ] && ! [ "$servers" -ef "$connbench/servers" ]; then
  variants='*'
fi

status=0
"$work/bin/connbench" bench-check --plan "${CONNBENCH_PLAN:-check}" --base "$base" --servers "$servers" \
  --bin "$work/bin" --results "$work/results" --comment "$work/comment.md" \
  ${variants:+--variants "$variants"} || status=$?

# The last run is the one that decided.
run=$(find "$work/results" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort | tail -1)
output() { [ ! -e "$2" ] || echo "$1=$2" >> "${GITHUB_OUTPUT:-/dev/stdout}"; }
output comment "$work/comment.md"
output run "$run"
output tracking "$run/smaller-is-better.json"
output bench "$run/bench.txt"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -e "$work/comment.md" ]; then
  cat "$work/comment.md" >> "$GITHUB_STEP_SUMMARY"
fi
exit "$status"
