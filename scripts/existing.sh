#!/usr/bin/env bash
# Trial: the suite on a cluster that is there, one run, two at once, shards, what bad input costs, and nothing left
# Makes a plain cluster of three nodes by kind, and a registry that it pulls from, without the program's help.
#   scripts/existing.sh [NAME…]     all where none is named
# What was printed is in target/trials/existing/.
# Not sampled: it needs a cluster and a registry of its own, which take minutes
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { printf '%s\t%s\n' - 180 one 120 two 180 shards 180 killed 120 rights 30 unpullable 60 down 60; }
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/tree.sh
out=$work/existing
mkdir -p "$out"
engine=${E2E_ENGINE:-podman}
name=e2e-trial-existing
place=$(mktemp -d)
export KUBECONFIG=$place/kubeconfig
pid=''
tidy() {
  for tree in "$PWD" "$other"; do (cd "$tree" 2>/dev/null && cargo --quiet xtask down gateway >/dev/null 2>&1) || true; done
  KIND_EXPERIMENTAL_PROVIDER=$engine "$kind" delete cluster --name "$name" >/dev/null 2>&1 || true
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  rm -rf "$place" "$other"
}
other=$place/other

cargo --quiet xtask setup gateway --yes >"$out/setup.log" 2>&1
cache=${E2E_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/gateway-e2e}
[ "$engine" != podman ] || [ ! -e "$cache/containers.conf" ] || export CONTAINERS_CONF=$cache/containers.conf
versions=images/setup.yaml
wanted() { sed -n "s/^  $1: \(v[^ ]*\).*/\1/p" "$versions" | head -n1; }
piece() { # NAME VERSION: the program of that version
  local program said
  for program in "$cache/pieces/$1"-*/bin/"$1"; do
    said=$("$program" version --client 2>/dev/null || "$program" version 2>/dev/null || true)
    [[ $said != *"$2"* ]] || { echo "$program"; return; }
  done
  echo "there is no $1 $2 in $cache/pieces" >&2
  return 1
}
kind=$(piece kind "$(wanted kind)")
kubectl=$(piece kubectl "$(wanted kubernetes)")
node=$("$engine" images --format '{{.Repository}}:{{.Tag}}' | grep -m1 "kindest/node:$(wanted kubernetes)$")

version=$(sed -n 's/^  lab-registry: \([^ ]*\).*/\1/p' "$versions")
CGO_ENABLED=0 GOBIN=$place go install "github.com/distribution/distribution/v3/cmd/registry@$version"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "0.0.0.0:%s"}\n' \
  "$place/store" "$port" >"$place/registry.yaml"
OTEL_TRACES_EXPORTER=none "$place/registry" serve "$place/registry.yaml" >"$out/registry.log" 2>&1 &
pid=$!
# The end of the trial waits for what it has in the background, and this ends in `tidy` alone.
disown "$pid"
cat >"$place/kind.yaml" <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
containerdConfigPatches:
  - |
    [plugins."io.containerd.cri.v1.images".registry]
      config_path = "/etc/containerd/certs.d"
kubeadmConfigPatches:
  - |
    kind: InitConfiguration
    skipPhases: [preflight]
  - |
    kind: JoinConfiguration
    skipPhases: [preflight]
  - |
    kind: KubeletConfiguration
    failCgroupV1: false
EOF
KIND_EXPERIMENTAL_PROVIDER=$engine "$kind" create cluster --name "$name" --config "$place/kind.yaml" --image "$node" \
  --kubeconfig "$KUBECONFIG" --wait 300s >"$out/cluster.log" 2>&1
gateway=$("$engine" exec "$name-worker" sh -c "ip route show default" | sed 's/.*via \([^ ]*\).*/\1/')
for container in "$name-control-plane" "$name-worker" "$name-worker2"; do
  "$engine" exec "$container" bash -c 'mkdir -p -m 0777 /var/volumes/{1..9} "/etc/containerd/certs.d/$1" &&
    printf "server = \"http://%s\"\n" "$1" >"/etc/containerd/certs.d/$1/hosts.toml"' bash "$gateway:$port"
done
# The stand-in for kind's node has nothing that makes volumes: some are there.
for container in "$name-worker" "$name-worker2"; do
  for at in $(seq 9); do
    cat <<EOF
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $container-$at}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: standard
  local: {path: /var/volumes/$at}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$container]}]}]}}
EOF
  done
done | "$kubectl" apply -f - >>"$out/cluster.log"
git clone --quiet . "$other"
# Not the time of things, which goes on.
there() { "$kubectl" get all,crd,clusterrole,clusterrolebinding,namespaces -A --output name | sort; }
before=$(there)

e2e() { # TREE WORDS…
  local tree=$1
  shift
  (cd "$tree" && env --default-signal=INT cargo --quiet xtask e2e gateway --yes --on "context:kind-$name" \
    --registry "127.0.0.1:$port/e2e" --registry-in-cluster "$gateway:$port/e2e" "$@")
}
must() { # WHAT COMMAND…: notes what is not so
  local what=$1
  shift
  "$@" || wrong="$wrong; not so: $what"
}
nothing_left() {
  local left
  left=$(diff <(echo "$before") <(there) | grep '^[<>]' | head -n3 | tr '\n' ' ' || true)
  [ -z "$left" ] || wrong="$wrong; left or gone: $left"
}
red() { grep -hm1 '^spec .* failed\|^step .* failed\|^error: ' "$@" || true; }

one() {
  e2e . >"$log" 2>&1 || wrong="$wrong; exit $?: $(red "$log")"
  must 'all passed' grep -q '^.*60 passed; passed' "$log"
}
two() {
  local first second
  e2e . >"$log" 2>&1 & first=$!
  e2e "$other" >"$log.other" 2>&1 & second=$!
  wait "$first" || wrong="$wrong; the first: exit $?: $(red "$log")"
  wait "$second" || wrong="$wrong; the second: exit $?: $(red "$log.other")"
  must 'all of both passed' test "$(cat "$log" "$log.other" | grep -c '60 passed; passed')" = 2
}
shards() {
  local first second
  e2e . --partition 1/2 >"$log" 2>&1 & first=$!
  e2e "$other" --partition 2/2 >"$log.other" 2>&1 & second=$!
  wait "$first" || wrong="$wrong; 1/2: exit $?: $(red "$log")"
  wait "$second" || wrong="$wrong; 2/2: exit $?: $(red "$log.other")"
  cargo --quiet xtask merge target/e2e/gateway/latest "$other/target/e2e/gateway/latest" >"$log.merged" 2>&1 ||
    wrong="$wrong; merge: exit $?: $(red "$log.merged")"
  must 'all of both passed' grep -q '60 passed' "$log.merged"
}
killed() { # in the middle; the next command removes it
  local run
  build_xtask
  "$xtask" e2e gateway --yes --on "context:kind-$name" --registry "127.0.0.1:$port/e2e" \
    --registry-in-cluster "$gateway:$port/e2e" >"$log" 2>&1 & run=$!
  until grep -q 'apply:postgresql: done' "$log"; do
    kill -0 "$run" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL "$run"
  wait "$run" || true
  must 'something is left' test "$(there)" != "$before"
  cargo --quiet xtask gc >>"$log" 2>&1 || wrong="$wrong; gc: exit $?"
}
rights() { # an account that may nothing
  "$kubectl" create serviceaccount nobody >>"$out/cluster.log"
  local token code=0
  token=$("$kubectl" create token nobody)
  "$kubectl" config set-credentials nobody --token "$token" >/dev/null
  "$kubectl" config set-context nobody --cluster "kind-$name" --user nobody >/dev/null
  (cargo --quiet xtask e2e gateway --yes --on context:nobody --registry "127.0.0.1:$port/e2e") >"$log" 2>&1 || code=$?
  "$kubectl" delete serviceaccount nobody >>"$out/cluster.log"
  must 'it ends with 3' test "$code" = 3
  must 'it names the rights' grep -q 'the user of the context nobody lacks rights that the run needs: ' "$log"
}
unpullable() { # the registry by an address that no node reaches
  local code=0
  (cargo --quiet xtask e2e gateway --yes --on "context:kind-$name" --registry "127.0.0.1:$port/e2e" \
    --registry-in-cluster "127.0.0.1:9/e2e") >"$log" 2>&1 || code=$?
  must 'it ends with 3' test "$code" = 3
  must 'it tells what a node says' grep -q 'nodes cannot pull from the registry 127.0.0.1:9/e2e: .*-worker.*refused' "$log"
}
down() { # Ctrl-C leaves nothing, and down removes what `--reuse` keeps
  e2e . --reuse --filter s01 >"$log" 2>&1 || wrong="$wrong; exit $?: $(red "$log")"
  must 'it stays' test "$(there)" != "$before"
  e2e . --reuse --filter s01 >>"$log" 2>&1 || wrong="$wrong; again: exit $?: $(red "$log")"
  cargo --quiet xtask down gateway >>"$log" 2>&1 || wrong="$wrong; down: exit $?"
}

for case in "${todo[@]}"; do
  log=$out/$case.log wrong=''
  "$case"
  nothing_left
  if [ -z "$wrong" ]; then record "$case" passed 'as it should be'; else record "$case" failed "${wrong#; }"; fi
done
finish
