#!/usr/bin/env bash
# Trial: a cluster of three nodes, of which each may end
# Works in a clone of HEAD whose cluster has two workers beside the control plane.
#   scripts/nodes.sh [NAME…]     all where none is named
# What was printed is in target/trials/nodes/.
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { printf '%s\t%s\n' - 60 specs 120 gc 60 gone 90 killed 60; }
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/tree.sh
mkdir -p "$work/nodes"
engine=${E2E_ENGINE:-podman}
tidy() {
  cargo --quiet xtask down gateway >/dev/null 2>&1 || true
  git checkout -q .
}
git checkout -q .
sed -i 's/^kubeadmConfigPatches:/  - role: worker\n  - role: worker\n&/' manifests/kind/gateway.yaml
git diff --quiet && { echo 'the configuration has no such place' >&2; exit 1; }
nodes() { "$engine" ps --filter "label=gateway-e2e.checkout=$(pwd -P)" --format '{{.Names}}' | sort; }
worker() { nodes | grep -- '-worker$'; }
xtask() { cargo --quiet xtask "$@"; }
must() { # WHAT COMMAND…: notes what is not so
  local what=$1
  shift
  "$@" || wrong="$wrong; not so: $what"
}

specs() {
  xtask e2e gateway --yes || wrong="$wrong; exit $?: $(grep -m1 '^spec .* failed\|^step .* failed\|^error: ' "$out" || true)"
  must 'nothing is left' test -z "$(nodes)"
}
gc() {
  xtask up gateway --cluster-only --yes
  must 'there are three nodes' test "$(nodes | wc -l)" = 3
  xtask gc
  must 'all of them stay' test "$(nodes | wc -l)" = 3
}
gone() {
  xtask up gateway --cluster-only --yes
  "$engine" kill "$(worker)"
  xtask up gateway --cluster-only --yes
  must 'the cluster is replaced for its worker' grep -q '^replacing the cluster .*: its node .*-worker is ' "$out"
  must 'there are three nodes' test "$(nodes | wc -l)" = 3
}
killed() { # in the middle of a run
  local run code=0
  xtask down gateway
  env --default-signal=INT cargo --quiet xtask e2e gateway --yes &
  run=$!
  until grep -q 'apply:gateway: done' "$out"; do
    kill -0 "$run" 2>/dev/null || break
    sleep 0.2
  done
  "$engine" kill "$(worker)"
  wait "$run" || code=$?
  must 'the run is red' test "$code" = 3 -o "$code" = 4
  must 'it names the node' grep -q 'the node .*-worker ended in the middle' "$out"
  must 'nothing is left' test -z "$(nodes)"
}

for name in "${todo[@]}"; do
  out=$work/nodes/$name.log wrong=''
  "$name" >"$out" 2>&1
  if [ -z "$wrong" ]; then record "$name" passed 'as it should be'; else record "$name" failed "${wrong#; }"; fi
done
finish
