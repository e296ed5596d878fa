#!/usr/bin/env bash
# Trial: a set-up is interrupted with SIGINT or killed with SIGKILL several times on its way; the next goes on and ends well
# Not sampled: it sets a machine up from nothing, which takes 10 to 15 minutes where there is no registry
# It does so in a cache of its own, target/trials/cache, with images that the engine has as they are.
# After SIGINT it has to be gone within 10 s.
#   scripts/killed-setup.sh [CASE…]     KILL-20 is SIGKILL after 20 s; all where none is named
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() {
  printf '%s\t%s\n' - 500 KILL-5 15 INT-12 20 KILL-20 30 INT-35 45 KILL-45 55 INT-75 85 KILL-90 100 INT-120 130 KILL-150 160
}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
build_xtask
export XDG_CACHE_HOME=$work/cache
mark=E2E_KILLED_SETUP_MARK
left_processes() { { grep -slz "^$mark=$1\$" /proc/[0-9]*/environ || true; } | wc -l; }
for name in "${todo[@]}"; do
  env --default-signal=INT $mark="$name" "$xtask" setup --yes >"$work/setup.log" 2>&1 &
  pid=$!
  signal=${name%-*} was=finished code=0
  if ! timeout --foreground "${name#*-}" tail --pid="$pid" -f /dev/null; then was=SIG$signal; fi
  start=$(date +%s.%N)
  kill -s "$signal" "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || code=$?
  took=$(seconds "$start")
  # What a killed one started is stopped within seconds.
  [ "$signal" = INT ] || sleep 5
  left=$(left_processes "$name") verdict=passed
  [ "$left" -eq 0 ] && awk "BEGIN { exit !($took <= 10) }" || verdict=failed
  record "$name" "$verdict" "$was: exit $code, gone after $took s, and $left processes of it still run"
done
start=$(date +%s)
"$xtask" setup --yes >"$work/setup.log" 2>&1 || { echo "the next set-up does not end well: see $work/setup.log"; exit 1; }
"$xtask" setup --check
echo "the last start ended well after $(( $(date +%s) - start )) s"
rm -rf "$XDG_CACHE_HOME"
finish
