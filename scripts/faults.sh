#!/usr/bin/env bash
# Trial: patches that break one rule of a service each (e2e/faults/) turn specs red
# Applies each patch to a clone of HEAD, runs the suite there on a cluster that stays, and tells which specs turned red;
# where all were run, also the specs that no patch turned red.
#   scripts/faults.sh [PATCH…]     the names of the files without their ending; all where none is named
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() {
  printf -- '-\t90\n'
  for patch in e2e/faults/*.patch; do printf '%s\t60\n' "$(basename "$patch" .patch)"; done
}
begin "$@"
green=$work/faults-$head.green
if [ ${#todo[@]} -gt 0 ]; then
  . scripts/tree.sh
  tidy() { cargo --quiet xtask down gateway >/dev/null 2>&1 || true; }
  run() { cargo --quiet xtask e2e gateway --yes --reuse --timeout 15 >"$work/last.log" 2>&1; }
  specs() { # OUTCOME: the specs of the newest run with that outcome
    grep -ho "\"spec-$1\",\"spec\":\"[^\"]*\"" target/e2e/gateway/latest/events.jsonl | sed 's/.*:"//; s/"$//' | sort -u
  }
  if [ ! -s "$green" ]; then
    run || { echo "without any patch the suite is not green: see $work/last.log"; exit 1; }
    specs passed >"$green"
  fi
fi
for name in "${todo[@]}"; do
  if ! git apply "$root/e2e/faults/$name.patch"; then
    record "$name" failed 'it does not apply'
    continue
  fi
  code=0
  run || code=$?
  case $code in
    0) record "$name" failed 'NOT FOUND: the suite is green' ;;
    4) record "$name" passed "red: $(specs failed | paste -sd' ')" ;;
    3) record "$name" passed 'found by the set-up' ;;
    *) record "$name" failed "a broken run (exit $code): $(tail -n1 "$work/last.log")" ;;
  esac
  git checkout -q .
done
if [ $# -eq 0 ]; then
  echo 'specs that no patch turned red:'
  comm -23 "$green" <(sed -n 's/^[^\t]*\tpassed\tred: //p' "$results" | tr ' ' '\n' | sort -u) | sed 's/^/  /'
fi
finish
