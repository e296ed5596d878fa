#!/usr/bin/env bash
# Trial: patches that break one rule of a service each (e2e/faults/) turn the specs red that they say they do
# Applies each patch to a clone of HEAD and runs there, on a cluster that stays, the specs that its line `Red:` names;
# where one of them is green by itself, the whole suite. Each of them must be red. Where all patches were run, tells also
# which specs no patch turned red.
#   scripts/faults.sh [PATCH…]     the names of the files without their ending; all where none is named
#   WHOLE=1   runs the whole suite for each: what a patch breaks beside what it names
#   ON=processes   everything as plain processes, each time anew: scripts/faults-on-processes.sh
set -euo pipefail
. "$(dirname "$0")/trial.sh"
case ${ON:-kind} in
  kind) where=(--reuse) beforehand=90 start=0 ;;
  # There is no cluster to begin with, and for each run an API server.
  *) where=(--on "$ON") beforehand=60 start=10 ;;
esac
cases() {
  printf -- '-\t%s\n' "$beforehand"
  for patch in e2e/faults/*.patch; do
    printf '%s\t%s\n' "$(basename "$patch" .patch)" $(( 20 + (start + 8) * $(meant "$patch" | wc -w) ))
  done
}
meant() { sed -n 's/^Red: //p; /^$/q' "$1"; } # PATCH: the numbers of the specs that it names
begin "$@"
green=$work/$trial-$head.green
if [ ${#todo[@]} -gt 0 ]; then
  . scripts/tree.sh
  tidy() { cargo --quiet xtask down gateway >/dev/null 2>&1 || true; }
  specs() { # OUTCOME: the specs of the newest run with that outcome
    grep -ho "\"spec-$1\",\"spec\":\"[^\"]*\"" target/e2e/gateway/latest/events.jsonl | sed 's/.*:"//; s/"$//' | sort -u
  }
  run() { # [OPTION…]: sets code, and adds to red what was
    code=0
    cargo --quiet xtask e2e gateway --yes "${where[@]}" --timeout 15 "$@" >"$work/last.log" 2>&1 || code=$?
    [ $code != 4 ] || red=$(printf '%s\n' "$red" "$(specs failed)" | sort -u)
  }
  green_ones() { for number in $meant; do grep -q "::${number}_" <<<"$red" || printf '%s ' "$number"; done; }
  if [ ! -s "$green" ]; then
    red=''
    run
    [ $code = 0 ] || { echo "without any patch the suite is not green: see $work/last.log"; exit 1; }
    specs passed >"$green"
  fi
fi
for name in "${todo[@]}"; do
  patch=$root/e2e/faults/$name.patch meant=$(meant "$root/e2e/faults/$name.patch") red='' code=0
  if ! git apply "$patch"; then
    record "$name" failed 'it does not apply'
    continue
  fi
  for number in $meant; do
    [ -z "${WHOLE:-}" ] || break
    run --filter "::${number}_"
    case $code in 0 | 4) ;; *) break ;; esac
  done
  case $code in
    0 | 4) [ -z "$(green_ones)" ] || run ;;
  esac
  said=$(paste -sd' ' <<<"$red")
  case $code in
    0 | 4)
      if [ -z "$(green_ones)" ]; then record "$name" passed "red:$said"; else
        record "$name" failed "NOT FOUND by $(green_ones); red:$said"
      fi
      ;;
    3) record "$name" passed 'found by the set-up' ;;
    *) record "$name" failed "a broken run (exit $code): $(tail -n1 "$work/last.log")" ;;
  esac
  git checkout -q .
done
if [ ${#named[@]} -eq "$(find "$root/e2e/faults" -name '*.patch' | wc -l)" ]; then
  echo 'specs that no patch turned red:'
  comm -23 "$green" <(sed -n 's/^[^\t]*\tpassed\tred://p' "$results" | tr ' ' '\n' | sort -u) | sed 's/^/  /'
fi
finish
