#!/usr/bin/env bash
# Measures: what a cluster costs that does nothing
# How long the same compilation takes without a cluster, beside a bare one, and beside one with everything deployed, in
# turn.
#   scripts/idle-cluster.sh [ROUNDS]     default: 3
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
suite=gateway
work=$(mktemp -d)
trap 'cargo xtask down "$suite" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

compile() {
  local TIMEFORMAT="$1: %R s, %U s of CPU time"
  rm -rf "$work/target"
  time cargo build --quiet --locked --package xtask --target-dir "$work/target"
}

cargo xtask up "$suite" --yes >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
for round in $(seq "$rounds"); do
  cargo xtask down "$suite" >"$work/log" 2>&1
  compile "round $round, no cluster"
  cargo xtask up "$suite" --cluster-only --yes >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  sleep 10 # what starts with it is started
  compile "round $round, a bare one"
  cargo xtask up "$suite" --yes >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  sleep 10
  compile "round $round, everything deployed"
done
