#!/usr/bin/env bash
# Trial: a node that is stopped or killed and started again, with another address, is the cluster that it was
#   scripts/stopped-node.sh [CASE…]     stop or kill; both where none is named
# Another container takes the node's address meanwhile, so that engines which give the old one again cannot.
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { printf 'stop\t60\nkill\t60\n'; }
suite=gateway
engine=${E2E_ENGINE:-podman}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
# With the settings that the set-up has made for it, where this machine needs some.
settings=${XDG_CACHE_HOME:-$HOME/.cache}/gateway-e2e/containers.conf
[ -n "${CONTAINERS_CONF:-}" ] || [ ! -e "$settings" ] || export CONTAINERS_CONF=$settings
build_xtask
taker=trial-stopped-node-$$
tidy() {
  "$engine" rm --force "$taker" >/dev/null 2>&1 || true
  "$xtask" down "$suite" >/dev/null 2>&1 || true
}
address() { "$engine" inspect --format '{{(index .NetworkSettings.Networks "kind").IPAddress}}' "$1"; }
ready() { # whether the API server answers, and with it the node, whose lease is younger than its start
  "$engine" exec "$1" kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 5s wait --timeout 5s \
    --for condition=Ready --all nodes >/dev/null 2>&1 &&
    "$engine" exec "$1" kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 5s get --raw /readyz >/dev/null 2>&1
}
for name in "${todo[@]}"; do
  "$xtask" down "$suite" >/dev/null
  "$xtask" up "$suite" --cluster-only --yes >"$work/up.log" 2>&1
  node=$("$engine" ps --filter "label=gateway-e2e.checkout=$(pwd -P)" --format '{{.Names}}')
  before=$(address "$node")
  case $name in
    stop) "$engine" stop --time 10 "$node" >/dev/null 2>&1 ;;
    kill) "$engine" kill "$node" >/dev/null ;;
  esac
  "$engine" run --detach --name "$taker" --network kind --ip "$before" --entrypoint sleep \
    "$("$engine" inspect --format '{{.Image}}' "$node")" infinity >/dev/null
  start=$(date +%s.%N)
  "$engine" start "$node" >/dev/null
  end=$((SECONDS + 240))
  until ready "$node" || [ "$SECONDS" -ge "$end" ]; do sleep 1; done
  took=$(seconds "$start")
  after=$(address "$node")
  verdict=passed said=''
  "$xtask" up "$suite" --cluster-only --yes >"$work/up.log" 2>&1 || verdict=failed
  # One that is not whole is made anew.
  if said=$(grep -m1 '^replacing\|^error: ' "$work/up.log"); then verdict=failed; fi
  [ "$before" != "$after" ] || verdict=failed
  record "$name" "$verdict" "from $before to $after, ready $took s after its start${said:+; then $said}"
  "$engine" rm --force "$taker" >/dev/null 2>&1
done
finish
