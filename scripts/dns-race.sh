#!/usr/bin/env bash
# Measures: how long it takes from nothing to an answer of the cluster's DNS in a pod, beside plain kind
# `up --cluster-only` and `kind create cluster` with the same node image, in turn. The caches are warm.
#   scripts/dns-race.sh [ROUNDS]     default: 5
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
suite=gateway
cargo build --quiet --package xtask
xtask=${CARGO_TARGET_DIR:-target}/debug/xtask
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gateway-e2e
"$xtask" setup --yes >/dev/null
newest() { ls -td "$cache"/pieces/"$1"-*/bin/"$1" | head -n1; }
kind=$(newest kind) kubectl=$(newest kubectl)
[ ! -f "$cache/containers.conf" ] || export CONTAINERS_CONF=$cache/containers.conf
export KIND_EXPERIMENTAL_PROVIDER=${E2E_ENGINE:-podman}
engine=$KIND_EXPERIMENTAL_PROVIDER
work=$(mktemp -d)
remove_plain() {
  "$engine" rm -f -v -t 0 plain-control-plane >/dev/null 2>&1 || true
  # With podman, kind makes a named volume for the node.
  "$engine" volume ls -q --filter label=plain-control-plane | xargs -r "$engine" volume rm -f >/dev/null
}
trap 'remove_plain; rm -rf "$work"' EXIT

# A pod of an image that the node has, which asks until it gets an answer.
pod() {
  cat <<POD
apiVersion: v1
kind: Pod
metadata: { name: asks, namespace: default }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  tolerations: [{ operator: Exists }]
  containers:
    - name: asks
      image: $1
      imagePullPolicy: Never
      command: [bash, -c, "until getent hosts kubernetes.default.svc.cluster.local; do sleep 0.1; done"]
POD
}
answered() { # KUBECONFIG IMAGE
  local end=$(( $(date +%s) + 120 ))
  until pod "$2" | "$kubectl" --kubeconfig "$1" apply -f - >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.1
  done
  "$kubectl" --kubeconfig "$1" wait pod/asks --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s >/dev/null
}
now() { date +%s.%N; }
image=$("$xtask" setup --check >/dev/null && grep -m1 -o 'docker.io/library/postgres:[a-z0-9.-]*' manifests/*.yaml | cut -d: -f2-)
ours() {
  "$xtask" down $suite >/dev/null
  local start; start=$(now)
  "$xtask" up $suite --cluster-only --yes >/dev/null 2>&1
  answered "target/e2e/$suite/cluster/kubeconfig" "$image"
  awk "BEGIN { print $(now) - $start }"
  node=$("$engine" inspect "$(grep -m1 '"cluster"' target/e2e/$suite/cluster/run.json | cut -d'"' -f4)-control-plane" --format '{{.ImageName}}')
  "$xtask" down $suite >/dev/null
}
plain() {
  remove_plain
  local start; start=$(now)
  "$kind" create cluster --name plain --image "$node" --kubeconfig "$work/plain" >/dev/null 2>&1
  answered "$work/plain" "$image"
  awk "BEGIN { print $(now) - $start }"
  remove_plain
}
median() { sort -n | awk '{ a[NR] = $1 } END { print (NR % 2) ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'; }
printf '%-6s %8s %8s\n' round ours plain
for round in $(seq "$rounds"); do
  ours >"$work/ours.$round"; plain >"$work/plain.$round"
  printf '%-6s %8.1f %8.1f\n' "$round" "$(cat "$work/ours.$round")" "$(cat "$work/plain.$round")"
done
a=$(cat "$work"/ours.* | median) b=$(cat "$work"/plain.* | median)
awk "BEGIN { printf \"median %8.1f %8.1f   %.2f times as fast\n\", $a, $b, $b / $a }"
