#!/usr/bin/env bash
# Interrupts `e2e` with SIGINT at random moments, then kills it with SIGKILL at others. After each: what is left of it
# (processes, containers, volumes, networks, temporary files), and whether the next run is green.
#   scripts/interrupted.sh [SUITE [SEED]]     default: gateway 1
# Goes on where an earlier call for the same HEAD was stopped; its results are in target/interrupted/.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:-gateway} seed=${2:-1}
cargo build --quiet --package xtask
xtask=${CARGO_TARGET_DIR:-target}/debug/xtask
engine=${E2E_ENGINE:-podman}
work=target/interrupted
results=$work/$(git rev-parse --short=12 HEAD)-$seed.tsv
mkdir -p "$work"
touch "$results"
# Every process of a run inherits this; Linux shows it in /proc.
mark=E2E_INTERRUPTED_MARK
left_processes() { { grep -slz "^$mark=$1\$" /proc/[0-9]*/environ || true; } | wc -l; }
things() { # containers, volumes, networks, temporary files
  "$engine" ps --all --external --format 'container {{.Names}}'
  "$engine" volume ls --format 'volume {{.Name}}'
  "$engine" network ls --format 'network {{.Name}}'
  find /tmp /var/tmp /dev/shm -mindepth 1 -maxdepth 1 -printf 'file %p\n' 2>/dev/null
}
green() { "$xtask" e2e "$suite" --yes >"$work/last.log" 2>&1 && echo green || echo "RED, see $work/last.log"; }
"$xtask" down "$suite" >/dev/null
# A whole run comes first: it tells how long one is, and makes what is kept for later runs.
start=$(date +%s)
[ "$(green)" = green ] || { echo "the suite is not green by itself: see $work/last.log"; exit 1; }
whole=$(( $(date +%s) - start ))
RANDOM=$seed
for round in $(seq 15); do
  after=$(( 1 + RANDOM % whole ))
  signal=INT
  [ "$round" -le 10 ] || signal=KILL
  grep -q "^$round	" "$results" && continue
  things | sort >"$work/before"
  env $mark=$round "$xtask" e2e "$suite" --yes >"$work/run.log" 2>&1 &
  pid=$!
  timeout "$after" tail --pid="$pid" -f /dev/null || true
  start=$(date +%s.%N)
  kill -s $signal "$pid" 2>/dev/null || true
  code=0
  wait "$pid" || code=$?
  took=$(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $start }")
  # After SIGKILL a shell of the run's stops its children, and `gc` removes the rest.
  if [ $signal = KILL ]; then sleep 4; "$xtask" gc >"$work/gc.log"; fi
  things | sort >"$work/after"
  left="$(left_processes "$round") processes, $(comm -13 "$work/before" "$work/after" | wc -l) things"
  comm -13 "$work/before" "$work/after" >"$work/left.$round"
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$round" "$signal" "$after" "$code" "$took" "$left" "$(green)" >>"$results"
done
{ printf 'round\tsignal\tafter s\texit\tgone after s\tleft\tnext run\n'; cat "$results"; } | column -t -s"$(printf '\t')"
! grep -qv '	0 processes, 0 things	green$' "$results"
