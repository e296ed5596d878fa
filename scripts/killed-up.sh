#!/usr/bin/env bash
# Trial: `up` is killed with SIGKILL at several moments; the next `up` ends well without any help
#   scripts/killed-up.sh [CASE…]     after-4 is SIGKILL after 4 s; all where none is named
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { for after in 1 4 7 10 13; do printf 'after-%s\t%s\n' "$after" $(( after + 20 )); done; }
suite=gateway
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
build_xtask
tidy() { "$xtask" down "$suite" >/dev/null 2>&1 || true; }
for name in "${todo[@]}"; do
  "$xtask" down "$suite" >/dev/null
  env --default-signal=INT "$xtask" up "$suite" --cluster-only --yes >/dev/null 2>&1 &
  pid=$!
  was=killed
  if ! timeout --foreground "${name#after-}" tail --pid="$pid" -f /dev/null; then kill -KILL "$pid"; else was=finished; fi
  wait "$pid" 2>/dev/null || true
  verdict=passed
  "$xtask" up "$suite" --cluster-only --yes >"$work/up.log" 2>&1 || verdict=failed
  record "$name" "$verdict" "it was $was; the next one said: $(grep -m1 replacing "$work/up.log" || tail -n1 "$work/up.log")"
done
finish
