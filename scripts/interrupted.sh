#!/usr/bin/env bash
# Trial: runs are interrupted with SIGINT or killed with SIGKILL at random moments; nothing stays, and the next is green
# After each: what is left of it (processes, containers, volumes, networks, temporary files), whether it ended within
# 10 s, and whether the next run is green: its set-up and the first specs. The moments are fractions of the time that a
# whole run takes. What others make in the engine meanwhile counts as left: leave it alone.
#   scripts/interrupted.sh [CASE…]     INT-20 is SIGINT after 20 % of that time; all where none is named
#   WHOLE=1   the next run has all specs
set -euo pipefail
. "$(dirname "$0")/trial.sh"
suite=gateway
whole() { # the seconds of the fastest of the green runs that this checkout has
  local events
  for events in target/e2e/"$suite"/2*/events.jsonl; do
    if [ -f "$events" ] && ! head -n1 "$events" | grep -qE '"command":\["up"|"--(reuse|filter)'; then
      grep -o '"at_us":[0-9]*,"event":"run-finished","result":"passed"' "$events" || true
    fi
  done | sed 's/^[^0-9]*\([0-9]*\)[0-9]\{6\},.*/\1/' | sort -n | head -n1
}
cases() {
  # Prime numbers: not every tenth of a run is the same step.
  for percent in 3 11 19 29 37 47 59 71 83 97; do printf 'INT-%s\t%s\n' "$percent" $(( 55 + percent )); done
  for percent in 7 23 43 61 89; do printf 'KILL-%s\t%s\n' "$percent" $(( 60 + percent )); done
  # Without a green run one comes first, which tells how long it takes.
  if [ -n "$(whole)" ]; then printf -- '-\t5\n'; else printf -- '-\t110\n'; fi
}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
build_xtask
engine=${E2E_ENGINE:-podman}
# Others write to /tmp, too.
export TMPDIR=$work/tmp
mkdir -p "$TMPDIR"
tidy() { "$xtask" down "$suite" >/dev/null 2>&1 || true; }
# Every process of a run inherits this; Linux shows it in /proc.
mark=E2E_INTERRUPTED_MARK
left_processes() { # their names
  local file
  { grep -slz "^$mark=$1\$" /proc/[0-9]*/environ || true; } | while IFS= read -r file; do
    tr '\0' ' ' <"${file%environ}cmdline" 2>/dev/null | cut -d' ' -f1-3 || true
  done
}
things() { # containers, volumes, networks, temporary files
  if [ "${engine##*/}" = podman ]; then "$engine" ps --all --external --format 'container {{.Names}}'; else "$engine" ps --all --format 'container {{.Names}}'; fi
  "$engine" volume ls --format 'volume {{.Name}}'
  "$engine" network ls --format 'network {{.Name}}'
  find "$TMPDIR" /var/tmp /dev/shm -mindepth 1 -maxdepth 1 -printf 'file %p\n' 2>/dev/null
}
green() { "$xtask" e2e "$suite" --yes "$@" >"$work/last.log" 2>&1; }
first=(--filter ::s0)
[ -z "${WHOLE:-}" ] || first=()
"$xtask" down "$suite" >/dev/null
if [ -z "$(whole)" ]; then
  green || { echo "the suite is not green by itself: see $work/last.log"; exit 1; }
fi
for name in "${todo[@]}"; do
  signal=${name%-*}
  after=$(awk "BEGIN { printf \"%.1f\", $(whole) * ${name#*-} / 100 }")
  things | sort >"$work/before"
  env --default-signal=INT $mark="$name" "$xtask" e2e "$suite" --yes >"$work/run.log" 2>&1 &
  pid=$!
  timeout --foreground "$after" tail --pid="$pid" -f /dev/null || true
  start=$(date +%s.%N)
  kill -s "$signal" "$pid" 2>/dev/null || true
  code=0
  wait "$pid" || code=$?
  took=$(seconds "$start")
  # After SIGKILL a shell of the run's stops its children, and `gc` removes the rest.
  if [ "$signal" = KILL ]; then sleep 4; "$xtask" gc >"$work/gc.log"; fi
  # What the engine does by itself once a container has ended takes a moment.
  until [ -z "$(left_processes "$name")" ] || awk "BEGIN { exit !($(seconds "$start") > 10) }"; do sleep 0.2; done
  things | sort >"$work/after"
  comm -13 "$work/before" "$work/after" >"$work/left.$name"
  processes=$(left_processes "$name" | paste -sd,) things=$(wc -l <"$work/left.$name") next=green
  green "${first[@]}" || next="RED, see $work/last.log"
  verdict=failed
  if [ "$processes$things$next" = 0green ] && awk "BEGIN { exit !($took <= 10) }"; then verdict=passed; fi
  [ $code != 0 ] || { verdict=failed next="$next; it had ended before the signal came"; }
  record "$name" "$verdict" "after $after s: exit $code, gone after $took s, left ${processes:-no processes} and $things things, next run $next"
done
finish
