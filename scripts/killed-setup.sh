#!/usr/bin/env bash
# Kills a set-up with SIGKILL several times on its way and shows that the next start goes on and ends well.
#   scripts/killed-setup.sh [SECONDS…]     default: 5 20 45 90 150
# Run it on a machine, or with a cache folder (XDG_CACHE_HOME), where something is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 5 20 45 90 150
cargo build --quiet --package xtask
xtask=${CARGO_TARGET_DIR:-target}/debug/xtask
printf '%-8s %-10s %s\n' 'after s' 'was' 'still running of it 5 s later'
for after in "$@"; do
  "$xtask" setup --yes >/dev/null 2>&1 &
  pid=$!
  was=killed
  if ! timeout "$after" tail --pid="$pid" -f /dev/null; then kill -KILL "$pid"; else was=finished; fi
  wait "$pid" 2>/dev/null || true
  sleep 5
  printf '%-8s %-10s %s\n' "$after" "$was" "$(pgrep -fc 'images/.*/build.sh' || true) recipes"
done
start=$(date +%s)
"$xtask" setup --yes
echo "the last start ended well after $(( $(date +%s) - start )) s"
"$xtask" setup --check
