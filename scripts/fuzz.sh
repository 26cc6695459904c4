#!/bin/sh
# fuzz.sh [DURATION] [PACKAGE...]
#
# Runs every fuzz target of the packages (default ./...) for DURATION (default 10m), one
# after the other, and prints a line for each. What makes one fail is left in its
# testdata/fuzz, as a test of its own. The exit status is 1 where one has failed.
set -eu

duration=${1:-10m}
[ $# = 0 ] || shift
cd "$(dirname "$0")/.."
output=$(mktemp)
trap 'rm -f "$output"' EXIT
trap 'exit 1' HUP INT TERM

failed=0
for package in $(go list "${@:-./...}"); do
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    if go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 1s "$package" > "$output" 2>&1; then
      echo "$package.$target: sound ($(grep -o 'execs: [0-9]*' "$output" | tail -1))"
    else
      failed=1
      echo "$package.$target: FAILED"
      cat "$output"
    fi
  done
done
exit $failed
