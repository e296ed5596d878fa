#!/usr/bin/env bash
# The way of one alert: sent with curl and a token, it becomes a RemediationRequest, and its audit events stay.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: docs/examples/signal.sh [--help]

Sends one critical alert about a Deployment in a production namespace of its own, shows the RemediationRequest
that it became, with its remediation path, and its two audit events in PostgreSQL; then deletes PostgreSQL's pod
and shows that they are still there. Removes the namespace. Exits with 0 if all that was seen, 1 if something
else was, 2 where something is missing.

environment:
  KUBECONFIG        the cluster that the gateway runs on (required)
  KUBE_CONTEXT      context in it (default: its current one)
  GATEWAY_URL       default http://127.0.0.1:8080
  GATEWAY_NAMESPACE default kubernaut-system
  DEADLINE_S        the longest that any one step may take, in seconds (default 60)
TEXT
}

die() { printf 'error: %s\n' "$*" >&2; exit 2; }
wrong() { printf 'wrong: %s\n' "$*" >&2; exit 1; }

case ${1:-} in
  '') ;;
  --help | -h) usage; exit 0 ;;
  *) usage >&2; die "unknown argument $1" ;;
esac
: "${GATEWAY_URL:=http://127.0.0.1:8080}" "${GATEWAY_NAMESPACE:=kubernaut-system}" "${DEADLINE_S:=60}"
[ -n "${KUBECONFIG:-}" ] || die "KUBECONFIG is not set: it must name the kubeconfig of the gateway's cluster"
for program in kubectl curl; do
  command -v "$program" >/dev/null || die "$program is not on PATH"
done

kube() { kubectl ${KUBE_CONTEXT:+--context "$KUBE_CONTEXT"} "$@"; }
namespace=signal-example-$$
trap 'kube delete namespace "$namespace" --ignore-not-found --wait=false >/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

kube create namespace "$namespace" >/dev/null || die "could not make namespace $namespace with KUBECONFIG=$KUBECONFIG"
kube label namespace "$namespace" kubernaut.ai/environment=production >/dev/null
token=$(kube --namespace "$GATEWAY_NAMESPACE" create token signal-sender --duration=10m) ||
  die "no token for the account signal-sender in $GATEWAY_NAMESPACE: apply manifests/signal-sender.yaml"

# The token goes in through a file descriptor: other users may see a command's arguments.
answer=$(curl --silent --show-error --max-time 20 --write-out '\n%{http_code}' \
  --config <(printf 'header = "Authorization: Bearer %s"\n' "$token") \
  --header 'Content-Type: application/json' "$GATEWAY_URL/api/v1/signals/prometheus" --data "{
    \"version\": \"4\", \"status\": \"firing\", \"alerts\": [{
      \"status\": \"firing\", \"startsAt\": \"$(date --utc +%FT%TZ)\",
      \"labels\": {\"alertname\": \"CheckoutErrors\", \"severity\": \"critical\", \"namespace\": \"$namespace\", \"deployment\": \"checkout\"},
      \"annotations\": {\"summary\": \"checkout answers with errors\"}}]}") ||
  die "the gateway cannot be reached at $GATEWAY_URL"
echo "the gateway answered: $answer"
[ "${answer##*$'\n'}" = 201 ] || wrong "it should have answered 201"

name=$(sed -n 's/.*"remediationRequestName": *"\([^"]*\)".*/\1/p' <<<"$answer")
kube --namespace "$namespace" get remediationrequests.kubernaut.ai
path=$(kube --namespace "$namespace" get remediationrequests.kubernaut.ai "$name" \
  --output=jsonpath='{.metadata.labels.kubernaut\.ai/remediation-path}')
[ "$path" = aggressive ] || wrong "a critical alert in production should be remediated on the path aggressive, not '$path'"

# rows: the request's audit events, as they lie in PostgreSQL.
rows() {
  kube --namespace "$GATEWAY_NAMESPACE" exec postgresql-0 -- psql --username=slm_user --dbname=action_history \
    --tuples-only --no-align --command="select event_type from audit_events where correlation_id = '$name' order by event_type"
}
expected=$'gateway.crd.created\ngateway.signal.received'
until=$((SECONDS + DEADLINE_S))
until found=$(rows) && [ "$found" = "$expected" ]; do
  [ "$SECONDS" -lt "$until" ] || wrong "after $DEADLINE_S s the audit events of $name are: ${found:-none}"
  sleep 0.2
done
printf 'audit events in PostgreSQL:\n%s\n' "$found"

kube --namespace "$GATEWAY_NAMESPACE" delete pod postgresql-0 --timeout="${DEADLINE_S}s"
kube --namespace "$GATEWAY_NAMESPACE" rollout status statefulset/postgresql --timeout="${DEADLINE_S}s" >/dev/null
found=$(rows) || die "PostgreSQL's new pod cannot be asked"
[ "$found" = "$expected" ] || wrong "after PostgreSQL's pod was deleted the audit events of $name are: ${found:-none}"
printf 'audit events in its new pod:\n%s\n' "$found"
