#!/usr/bin/env bash
# Kills `up` with SIGKILL at several moments; after each, the next `up` must end well without any help.
#   scripts/killed-up.sh [SUITE [SECONDS…]]     default: gateway 1 4 7 10 13
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:-gateway}
shift || true
[ $# -gt 0 ] || set -- 1 4 7 10 13
cargo build --quiet --package xtask
xtask=${CARGO_TARGET_DIR:-target}/debug/xtask
failed=0
printf '%-8s %-10s %-8s %s\n' 'after s' 'was' 'next up' 'what it said of what it found'
for after in "$@"; do
  "$xtask" down "$suite" >/dev/null
  "$xtask" up "$suite" --cluster-only --yes >/dev/null 2>&1 &
  pid=$!
  was=killed
  if ! timeout "$after" tail --pid="$pid" -f /dev/null; then kill -KILL "$pid"; else was=finished; fi
  wait "$pid" 2>/dev/null || true
  verdict=ok
  "$xtask" up "$suite" --cluster-only --yes >/tmp/killed-up.$$ 2>&1 || { verdict=FAILED; failed=1; }
  printf '%-8s %-10s %-8s %s\n' "$after" "$was" "$verdict" "$(grep -m1 replacing /tmp/killed-up.$$ || echo '-')"
done
rm -f "/tmp/killed-up.$$"
"$xtask" down "$suite"
exit "$failed"
