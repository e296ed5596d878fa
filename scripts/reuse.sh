#!/usr/bin/env bash
# Trial: one thing is changed at a time on a cluster that stays, and `up` makes it what a new cluster would be
# Works in a clone of HEAD. For each: how long the last `up` took, and what of it was not as it should be.
#   scripts/reuse.sh [NAME…]     all where none is named
# What was printed is in target/trials/reuse/.
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() {
  printf '%s\t%s\n' - 150 unchanged 10 configuration 15 removed-object 20 changed-job 30 mistyped-kind 10 no-account 20 \
    broken-deployment 90 broken-stateful-set 100
}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/tree.sh
mkdir -p "$work/reuse"
engine=${E2E_ENGINE:-podman}
space=kubernaut-system
kubectl() {
  "$engine" exec "$("$engine" ps --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)")" \
    kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace $space "$@"
}
tidy() {
  git checkout -q .
  cargo --quiet xtask down gateway >/dev/null 2>&1 || true
}

change() { # FILE SED-SCRIPT: edits a file, and makes sure that something changed
  sed -i "$2" "$1"
  ! git diff --quiet -- "$1" || { echo "$1 has no such place: $2" >&2; exit 1; }
}
up() { # sets code, took and first: what a user sees first where it failed
  local start
  start=$(date +%s.%N)
  code=0
  cargo --quiet xtask up gateway --yes >"$out" 2>"$out.err" || code=$?
  took=$(seconds "$start")
  first=$(grep -m1 -E '^step .* failed: ' "$out" || grep -m1 '^error: ' "$out.err" || true)
  cat "$out" "$out.err" >>"$out.all"
}
must() { # WHAT COMMAND…: notes what is not so
  local what=$1
  shift
  "$@" || wrong="$wrong; not so: $what (exit $code: $first)"
}
ends() { # CODE [EXPRESSION]: how the last `up` must have ended, and what its first line must say
  must "exit $1" test "$code" = "$1"
  [ -z "${2:-}" ] || must "the first line says $2" grep -qE -- "$2" <<<"$first"
}
pods() { kubectl get pods --output name --selector "app.kubernetes.io/name=$1" --field-selector status.phase=Running; }

unchanged() {
  local before
  before=$(pods gateway)
  up
  ends 0
  must 'the pod is the same' test "$(pods gateway)" = "$before"
}
configuration() {
  local before
  before=$(pods gateway)
  change manifests/gateway.yaml 's/shutdown_delay_ms: 1000/shutdown_delay_ms: 900/'
  up
  ends 0
  must 'the gateway has a new pod' test "$(pods gateway)" != "$before"
}
removed-object() {
  printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: %s}\n' $space >>manifests/redis.yaml
  up
  ends 0
  kubectl create configmap mine >/dev/null
  git checkout -q .
  up
  ends 0
  must 'what the manifests have no longer is gone' test -z "$(kubectl get configmap extra --ignore-not-found)"
  must 'what a person made stays' test -n "$(kubectl get configmap mine --ignore-not-found)"
  kubectl delete configmap mine --ignore-not-found >/dev/null
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
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 999, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: says
          image: docker.io/library/redis:8.0
          imagePullPolicy: IfNotPresent
          command: [echo, $1]
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
END
}
changed-job() {
  local before
  job one
  up
  ends 0
  job two
  up
  ends 0
  must 'a changed Job runs again' test "$(kubectl logs job/says)" = two
  before=$(kubectl get job says --output 'jsonpath={.metadata.uid}')
  up
  ends 0
  must 'an unchanged one does not' test "$(kubectl get job says --output 'jsonpath={.metadata.uid}')" = "$before"
}
mistyped-kind() {
  change manifests/gateway.yaml 's/^kind: Deployment$/kind: Deploymnet/'
  up
  ends 3 'manifests/gateway.yaml:[0-9]+:.*did you mean `Deployment`'
}
no-account() {
  change manifests/gateway.yaml 's/serviceAccountName: gateway$/serviceAccountName: gatewayy/'
  up
  ends 3 'serviceaccount "gatewayy" not found'
}
broken-deployment() {
  change manifests/gateway.yaml 's#/etc/gateway/config.yaml#/etc/gateway/none.yaml#'
  up
  ends 3 'container gateway: CrashLoopBackOff'
  git checkout -q .
  up
  ends 0
}
broken-stateful-set() {
  change manifests/postgresql.yaml 's/shared_buffers=64MB/shared_buffers=none/'
  up
  ends 3 'container postgresql: CrashLoopBackOff'
  # Its broken pod holds the new one up.
  git checkout -q .
  up
  ends 0
}

out=$work/reuse/begin
: >"$out.all"
up
[ "$code" = 0 ] || { echo "the cluster does not come up: $first" >&2; exit 1; }
for name in "${todo[@]}"; do
  out=$work/reuse/$name wrong='' said=''
  : >"$out.all"
  git checkout -q .
  "$name"
  [ "$code" = 0 ] || said=": $first"
  if [ -z "$wrong" ]; then record "$name" passed "exit $code, $took s$said"; else record "$name" failed "${wrong#; }"; fi
done
finish
