#!/usr/bin/env bash
# Writes the file CONNBENCH_COMMENT as a comment on pull request CONNBENCH_PULL_REQUEST of
# GH_REPO, in place of its own earlier one. It needs gh and GH_TOKEN.
set -euo pipefail

: "${CONNBENCH_COMMENT:?the file with the comment}" "${CONNBENCH_PULL_REQUEST:?the number of the pull request}" "${GH_REPO:?owner/name}"
mark='<!-- connbench -->'
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{ echo "$mark"; cat "$CONNBENCH_COMMENT"; } > "$body"

earlier=$(gh api --paginate "repos/$GH_REPO/issues/$CONNBENCH_PULL_REQUEST/comments" \
  --jq ".[] | select(.body | startswith(\"$mark\")) | .id")
earlier=${earlier%%$'\n'*}
if [ -n "$earlier" ]; then
  gh api --silent --method PATCH "repos/$GH_REPO/issues/comments/$earlier" --field "body=@$body"
else
  gh api --silent --method POST "repos/$GH_REPO/issues/$CONNBENCH_PULL_REQUEST/comments" --field "body=@$body"
fi
