#!/usr/bin/env bash
# Shows that the specs can fail: applies each patch of e2e/faults/ to a clone of HEAD, runs the suite there on a
# cluster that stays, and prints which specs turned red; then the specs that no patch turned red.
#   scripts/faults.sh [PATCH…]     default: all of them
# Goes on where an earlier call for the same HEAD was stopped; its results are in target/trials/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/tree.sh
results=$work/faults-$head.tsv
[ $# -gt 0 ] || set -- e2e/faults/*.patch
specs() { # OUTCOME: the specs of the newest run with that outcome
  grep -ho "\"spec-$1\",\"spec\":\"[^\"]*\"" target/e2e/gateway/latest/events.jsonl | sed 's/.*:"//; s/"$//' | sort -u
}
run() { timeout 900 cargo xtask e2e gateway --yes --reuse >"$work/last.log" 2>&1; }
touch "$results"
if ! grep -q '^-' "$results"; then
  run || { echo "without any patch the suite is not green: see $work/last.log"; exit 1; }
  printf -- '-\tgreen\t%s\n' "$(specs passed | paste -sd' ')" >>"$results"
fi
for patch in "$@"; do
  name=$(basename "$patch" .patch)
  grep -q "^$name	" "$results" && continue
  if ! git apply "$root/$patch"; then
    printf '%s\tdoes not apply\t\n' "$name" >>"$results"
    continue
  fi
  code=0
  run || code=$?
  case $code in
    0) verdict='NOT FOUND' ;;
    4) verdict=found ;;
    3) verdict='found by the set-up' ;;
    *) verdict="broken run ($code)" ;;
  esac
  printf '%s\t%s\t%s\n' "$name" "$verdict" "$(specs failed | paste -sd' ')" >>"$results"
  git apply -R "$root/$patch"
done
cargo xtask down gateway >/dev/null
column -t -s"$(printf '\t')" <(grep -v '^-' "$results" | sort)
echo
echo "specs that no patch turned red:"
comm -23 <(grep '^-' "$results" | cut -f3 | tr ' ' '\n' | sort -u) <(grep -v '^-' "$results" | cut -f3 | tr ' ' '\n' | sort -u) | sed 's/^/  /'
