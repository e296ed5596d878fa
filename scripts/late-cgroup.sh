#!/usr/bin/env bash
# Trial: hierarchies of cgroup v1 that the machine has not mounted appear, and a cluster comes and stays all the same
# Not sampled: it mounts hierarchies of cgroup v1, which only some machines have
# systemd on the node mounts what exists when it starts, and the kubelet ends where its own cgroups are missing.
#   scripts/late-cgroup.sh [CONTROLLER…]     all that /proc/cgroups lists without a hierarchy, where none is named
# Needs root. A controller that is there is made known before the node starts, then again with the node running.
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { awk '$2 == 0 && $4 == 1 { printf "%s\t50\n", $1 }' /proc/cgroups 2>/dev/null || true; }
suite=gateway
engine=${E2E_ENGINE:-podman}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
build_xtask
mount=$(mktemp -d)
holder=''
# In a mount namespace of its own, as in another container: what is mounted here the engine mounts in the node itself.
appear() {
  mkfifo "$mount/there"
  unshare --mount --propagation private sh -c \
    'mkdir "$2/h" && mount -t cgroup -o "$1" trial "$2/h" && echo yes >"$2/there" && exec sleep infinity' sh "$1" "$mount" &
  holder=$!
  timeout 10 cat "$mount/there" >/dev/null
}
vanish() {
  [ -z "$holder" ] || kill "$holder" 2>/dev/null || true
  wait "$holder" 2>/dev/null || true
  holder=''
  rm -rf "${mount:?}"/*
}
tidy() {
  "$xtask" down "$suite" >/dev/null 2>&1 || true
  vanish
  rmdir "$mount"
}
for controller in "${todo[@]}"; do
  "$xtask" down "$suite" >/dev/null
  appear "$controller"
  start=$(date +%s.%N)
  code=0
  "$xtask" up "$suite" --cluster-only --yes >"$work/up.log" 2>&1 || code=$?
  before="before the node: $(seconds "$start") s, exit $code $(grep -m1 '^error: ' "$work/up.log" || true)"
  vanish
  if [ "$code" -ne 0 ]; then
    record "$controller" failed "$before"
    continue
  fi
  node=$("$engine" ps --filter "label=gateway-e2e.checkout=$(pwd -P)" --format '{{.Names}}')
  appear "$controller"
  "$engine" exec "$node" systemctl restart kubelet
  sleep 5
  restarts=$("$engine" exec "$node" systemctl show --property NRestarts --value kubelet)
  vanish
  verdict=passed
  [ "$restarts" = 0 ] || verdict=failed
  record "$controller" "$verdict" "$before; with a node: the kubelet ended $restarts times"
done
finish
