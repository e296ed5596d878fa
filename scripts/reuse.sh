#!/usr/bin/env bash
# Trial: one thing is changed at a time on a cluster that stays, and `up` makes it what a new cluster would be
# For each: the time that `up` took, its exit code, and what was seen.
#   scripts/reuse.sh [NAME…]     all where none is named
# Works in a clone of HEAD; what was printed is in target/trials/reuse/.
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() {
  printf '%s\t%s\n' - 25 unchanged 8 configuration 15 removed-object 15 changed-job 30 mistyped-kind 10 no-account 12 \
    broken-deployment 40 broken-stateful-set 45
}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/tree.sh
printed=$work/reuse
mkdir -p "$printed"
engine=${E2E_ENGINE:-podman}
space=kubernaut-system
kubectl() {
  "$engine" exec "$("$engine" ps --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)")" \
    kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace $space "$@"
}

change() { # FILE SED-SCRIPT: edits a file, and makes sure that something changed
  sed -i "$2" "$1"
  ! git diff --quiet -- "$1" || { echo "$1 has no such place: $2" >&2; exit 1; }
}
up() { # sets code, took and first: what a user sees first where it failed
  local start
  start=$(date +%s.%N)
  code=0
  cargo --quiet xtask up gateway --yes >>"$out" 2>>"$out.err" || code=$?
  took=$(seconds "$start")
  first=$(grep -E '^step .* failed: |^error: ' "$out" "$out.err" | tail -1 | cut -d: -f2- | cut -c1-400) || true
}
pods() { kubectl get pods --output name --selector "app.kubernetes.io/name=$1" --field-selector=status.phase=Running; }
judge() { # CONDITION TEXT: whether it is so, and what it is about
  local not=''
  eval "$1" || { not='NOT SO: ' verdict=failed; }
  seen="$seen; $took s, exit $code: $not$2"
}

unchanged() {
  before=$(pods gateway)
  up
  judge '[ "$code" = 0 ] && [ "$(pods gateway)" = "$before" ]' "no pod was replaced"
}
configuration() {
  before=$(pods gateway)
  change manifests/gateway.yaml 's/shutdown_delay_ms: 1000/shutdown_delay_ms: 900/'
  up
  judge '[ "$code" = 0 ] && [ "$(pods gateway)" != "$before" ]' "a changed ConfigMap gave the gateway a new pod"
}
broken-deployment() {
  change manifests/gateway.yaml 's#/etc/gateway/config.yaml#/etc/gateway/none.yaml#'
  up
  judge '[ "$code" != 0 ]' "$first"
  git checkout -q .
  up
  judge '[ "$code" = 0 ]' "mended, beside the broken pod of the old revision"
}
broken-stateful-set() {
  change manifests/postgresql.yaml 's/shared_buffers=64MB/shared_buffers=none/'
  up
  judge '[ "$code" != 0 ]' "$first"
  git checkout -q .
  up
  judge '[ "$code" = 0 ]' "mended, although the broken pod holds its StatefulSet up"
}
removed-object() {
  printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: %s}\n' $space >>manifests/redis.yaml
  up
  kubectl create configmap mine >/dev/null
  git checkout -q .
  up
  judge '[ "$code" = 0 ] && ! kubectl get configmap extra >/dev/null 2>&1 && kubectl get configmap mine >/dev/null' "what the manifests have no longer is gone, and what a person made stays"
  kubectl delete configmap mine >/dev/null
}
job() { # WORD: a Job that says it
  git checkout -q manifests/redis.yaml
  cat >>manifests/redis.yaml <<END
---
apiVersion: batch/v1
kind: Job
metadata: {name: says, namespace: $space}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: says, image: 'docker.io/library/redis:7.0-bookworm', imagePullPolicy: IfNotPresent, command: [echo, $1]}
END
}
uid() { kubectl get job says --output 'jsonpath={.metadata.uid}'; }
changed-job() {
  job one
  up
  job two
  up
  judge '[ "$code" = 0 ] && [ "$(kubectl logs job/says)" = two ]' "a changed Job ran again"
  before=$(uid)
  up
  judge '[ "$code" = 0 ] && [ "$(uid)" = "$before" ]' "an unchanged one did not"
}
mistyped-kind() {
  change manifests/gateway.yaml 's/^kind: Deployment$/kind: Deploymnet/'
  up
  judge 'grep -q '\''did you mean `Deployment`'\'' "$out" "$out.err"' "$first"
}
no-account() {
  change manifests/gateway.yaml 's/serviceAccountName: gateway$/serviceAccountName: gatewayy/'
  up
  judge 'grep -q '\''serviceaccount "gatewayy" not found'\'' "$out" "$out.err"' "$first"
}

cargo build --quiet --package xtask
out=$printed/begin
: >"$out" >"$out.err"
tidy() {
  git checkout -q .
  cargo --quiet xtask down gateway >/dev/null 2>&1 || true
}
up
[ "$code" = 0 ] || { echo "the cluster does not come up: $first" >&2; exit 1; }
for name in "${todo[@]}"; do
  out=$printed/$name
  : >"$out" >"$out.err"
  git checkout -q .
  verdict=passed seen=''
  "$name"
  record "$name" "$verdict" "${seen#; }"
done
finish
