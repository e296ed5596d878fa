#!/usr/bin/env bash
# Makes hierarchies of cgroup v1 that this machine has not mounted, and shows that a cluster comes and stays all the same:
# systemd on the node mounts what exists when it starts, and the kubelet ends where its own cgroups are missing.
#   scripts/late-cgroup.sh [CONTROLLER…]     default: all that /proc/cgroups lists without a hierarchy
# Needs root. A controller that is there is made known before the node starts, then again with the node running.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=gateway
engine=${E2E_ENGINE:-podman}
[ $# -gt 0 ] || set -- $(awk '$2 == 0 && $4 == 1 { print $1 }' /proc/cgroups)
[ $# -gt 0 ] || { echo 'no controller without a hierarchy here: nothing to try'; exit 0; }
cargo build --quiet --package xtask
xtask=${CARGO_TARGET_DIR:-target}/debug/xtask
work=$(mktemp -d)
holder=''
# In a mount namespace of its own, as in another container: what is mounted here the engine mounts in the node itself.
appear() {
  mkfifo "$work/there"
  unshare --mount --propagation private sh -c \
    'mkdir "$2/h" && mount -t cgroup -o "$1" trial "$2/h" && echo yes >"$2/there" && exec sleep infinity' sh "$1" "$work" &
  holder=$!
  timeout 10 cat "$work/there" >/dev/null
}
vanish() {
  [ -z "$holder" ] || kill "$holder" 2>/dev/null || true
  wait "$holder" 2>/dev/null || true
  holder=''
  rm -rf "${work:?}"/*
}
clean() {
  "$xtask" down "$suite" >/dev/null || true
  vanish
  rmdir "$work"
}
trap clean EXIT
failed=0
printf '%-12s %-18s %-8s %-6s %s\n' controller appears verdict s 'first line of an error'
for controller in "$@"; do
  "$xtask" down "$suite" >/dev/null
  appear "$controller"
  start=$(date +%s)
  verdict=ok
  "$xtask" up "$suite" --cluster-only --yes >"$work/out" 2>"$work/err" || { verdict=FAILED; failed=1; }
  printf '%-12s %-18s %-8s %-6s %s\n' "$controller" 'before the node' "$verdict" "$(($(date +%s) - start))" \
    "$(grep -m1 '^error: ' "$work/err" || echo -)"
  vanish
  [ "$verdict" = ok ] || continue
  node=$("$engine" ps --filter "label=gateway-e2e.suite=$suite" --format '{{.Names}}')
  appear "$controller"
  "$engine" exec "$node" systemctl restart kubelet
  sleep 5
  restarts=$("$engine" exec "$node" systemctl show --property NRestarts --value kubelet)
  [ "$restarts" = 0 ] || { verdict=FAILED; failed=1; }
  vanish
  printf '%-12s %-18s %-8s %-6s %s\n' "$controller" 'with a node' "$verdict" - "the kubelet ended $restarts times"
done
exit "$failed"
