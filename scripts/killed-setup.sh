#!/usr/bin/env bash
# Trial: a set-up is killed with SIGKILL several times on its way; the next start goes on and ends well
# Not sampled: it sets a machine up from nothing, which takes 10 to 15 minutes where there is no registry
# It does so in a cache of its own, target/trials/cache, with images that the engine has as they are.
#   scripts/killed-setup.sh [CASE…]     after-20 is SIGKILL after 20 s; all where none is named
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { printf '%s\t%s\n' - 500 after-5 15 after-20 30 after-45 55 after-90 100 after-150 160; }
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
build_xtask
export XDG_CACHE_HOME=$work/cache
mark=E2E_KILLED_SETUP_MARK
left_processes() { { grep -slz "^$mark=$1\$" /proc/[0-9]*/environ || true; } | wc -l; }
for name in "${todo[@]}"; do
  env --default-signal=INT $mark="$name" "$xtask" setup --yes >"$work/setup.log" 2>&1 &
  pid=$!
  was=killed
  if ! timeout --foreground "${name#after-}" tail --pid="$pid" -f /dev/null; then kill -KILL "$pid"; else was=finished; fi
  wait "$pid" 2>/dev/null || true
  sleep 5
  left=$(left_processes "$name") verdict=passed
  [ "$left" -eq 0 ] || verdict=failed
  record "$name" "$verdict" "it was $was, and $left processes of it ran 5 s later"
done
start=$(date +%s)
"$xtask" setup --yes >"$work/setup.log" 2>&1 || { echo "the next set-up does not end well: see $work/setup.log"; exit 1; }
"$xtask" setup --check
echo "the last start ended well after $(( $(date +%s) - start )) s"
rm -rf "$XDG_CACHE_HOME"
finish
