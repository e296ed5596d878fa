#!/usr/bin/env bash
# A real Alertmanager in front of the gateway: what an alert does when it fires, resolves and fires again.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: docs/examples/alertmanager.sh [--keep] [--help]

Starts a real Alertmanager whose webhook is the gateway, gives it an alert about a Deployment in a namespace
of its own, and checks what becomes of it: it fires (one RemediationRequest), resolves (ignored), fires again
(a duplicate: the same RemediationRequest, one occurrence more) and resolves. Prints a table of what was seen
and removes all that it made. Exits with 0 if every row is as it should be, 1 at the first that is not, 2 where
something is missing or a wait came to its deadline.

  --keep    leave the namespace, and Alertmanager's configuration and log, where they are

environment:
  KUBECONFIG        the cluster that the gateway runs on (required)
  KUBE_CONTEXT      context in it (default: its current one)
  GATEWAY_URL       default http://127.0.0.1:8080
  SIGNAL_TOKEN      bearer token (default: one made for the account signal-sender in GATEWAY_NAMESPACE)
  GATEWAY_NAMESPACE default kubernaut-system
  ALERTMANAGER      the program (default: alertmanager or prometheus-alertmanager on PATH)
  DEADLINE_S        the longest that any one step may take, in seconds (default 30)

Alertmanager is in Debian's package prometheus-alertmanager, or:
  go install github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1
TEXT
}

die() { printf 'error: %s\n' "$*" >&2; exit 2; }

keep=no
for argument in "$@"; do
  case $argument in
    --keep) keep=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown argument $argument" ;;
  esac
done

: "${GATEWAY_URL:=http://127.0.0.1:8080}" "${GATEWAY_NAMESPACE:=kubernaut-system}" "${DEADLINE_S:=30}"
[ -n "${KUBECONFIG:-}" ] || die "KUBECONFIG is not set: it must name the kubeconfig of the gateway's cluster"
for program in kubectl curl awk; do
  command -v "$program" >/dev/null || die "$program is not on PATH"
done
: "${ALERTMANAGER:=$(command -v alertmanager || command -v prometheus-alertmanager || true)}"
[ -n "$ALERTMANAGER" ] || die "no alertmanager on PATH: install one (--help tells how) or name it in ALERTMANAGER"

kube() { kubectl ${KUBE_CONTEXT:+--context "$KUBE_CONTEXT"} --request-timeout=10s "$@"; }
http() { curl --silent --show-error --max-time 10 "$@"; }

work=$(mktemp -d)
namespace=alertmanager-example-$$
alertmanager_pid=
clean_up() {
  local status=$?
  trap - EXIT
  if [ -n "$alertmanager_pid" ]; then
    kill "$alertmanager_pid" 2>/dev/null || true
    wait "$alertmanager_pid" 2>/dev/null || true
  fi
  if [ "$keep" = yes ]; then
    rm -f "$work/token"
    echo "kept: namespace $namespace, $work/alertmanager.yml, $work/alertmanager.log" >&2
  else
    kube delete namespace "$namespace" --ignore-not-found --wait=false >/dev/null || true
    rm -rf "$work"
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# await WHAT COMMAND…: until COMMAND succeeds; past the deadline WHAT, the last state and Alertmanager's log are told.
await() {
  local what=$1 until=$((SECONDS + DEADLINE_S))
  shift
  until "$@"; do
    if ! kill -0 "$alertmanager_pid" 2>/dev/null; then
      tail -n 20 "$work/alertmanager.log" >&2
      die "Alertmanager ended while waiting for: $what"
    fi
    if [ "$SECONDS" -ge "$until" ]; then
      tail -n 20 "$work/alertmanager.log" >&2
      die "gave up after $DEADLINE_S s waiting for: $what; last seen: $(seen 2>&1 | tr '\t' ' ')"
    fi
    sleep 0.2
  done
}

# metric NAME: the sum of one of Alertmanager's counters over its webhook's series.
metric() {
  http "$alertmanager_url/metrics" | awk -v name="$1{" \
    'index($0, name) == 1 && /integration="webhook"/ { sum += $NF } END { print sum + 0 }'
}

# seen: what there is now, as one line of tab-separated cells.
seen() {
  local requests
  requests=$(kube --namespace "$namespace" get remediationrequests.kubernaut.ai --output=jsonpath='{range .items[*]}{.status.deduplication.occurrenceCount}{" "}{.metadata.name}{"\n"}{end}')
  printf '%s\t%s\t%s\t%s\n' "$(metric alertmanager_notification_requests_total)" "$(metric alertmanager_notification_requests_failed_total)" \
    "$(grep -c . <<<"$requests")" "${requests:-–}"
}

# post_alert STATE: hands the alert to Alertmanager the way Prometheus does, firing or resolved.
post_alert() {
  local ends_at=
  [ "$1" = firing ] || ends_at=", \"endsAt\": \"$(date --utc +%FT%T.%3NZ)\""
  http --fail --output /dev/null --header 'Content-Type: application/json' "$alertmanager_url/api/v2/alerts" --data "[{
    \"labels\": {\"alertname\": \"CheckoutErrors\", \"severity\": \"critical\", \"namespace\": \"$namespace\", \"deployment\": \"checkout\"},
    \"annotations\": {\"summary\": \"checkout answers with errors\"}, \"startsAt\": \"$started_at\"$ends_at}]"
}

# step NAME STATE DELIVERIES REQUESTS OCCURRENCES: changes the alert, awaits its delivery, and compares.
step() {
  local name=$1 state=$2 deliveries=$3 requests=$4 occurrences=$5 row verdict=ok
  [ "$state" = resolved ] || started_at=$(date --utc +%FT%T.%3NZ)
  post_alert "$state" || die "Alertmanager refused the alert ($name)"
  await "delivery $deliveries of Alertmanager ($name)" delivered "$deliveries"
  row=$(seen)
  IFS=$'\t' read -r seen_deliveries seen_failed seen_requests seen_request <<<"$row"
  if [ "$seen_deliveries $seen_failed $seen_requests ${seen_request%% *}" != "$deliveries 0 $requests $occurrences" ]; then
    verdict="WRONG: expected $deliveries, 0, $requests, $occurrences"
  fi
  printf '%-18s %10s %6s %8s %11s  %-22s %s\n' "$name" "$seen_deliveries" "$seen_failed" "$seen_requests" \
    "${seen_request%% *}" "${seen_request#* }" "$verdict"
  if [ "$verdict" != ok ]; then
    grep -E 'level=(warn|error)' "$work/alertmanager.log" | tail -n 5 >&2 || true
    exit 1
  fi
}
delivered() { [ "$(metric alertmanager_notification_requests_total)" -ge "$1" ]; }

kube create namespace "$namespace" >/dev/null || die "could not make namespace $namespace with KUBECONFIG=$KUBECONFIG"
# No replicas: the alert needs an object to be about, not one that runs.
kube --namespace "$namespace" create deployment checkout --image=registry.invalid/checkout --replicas=0 >/dev/null

(
  umask 077
  if [ -n "${SIGNAL_TOKEN:-}" ]; then
    printf %s "$SIGNAL_TOKEN"
  else
    kube --namespace "$GATEWAY_NAMESPACE" create token signal-sender --duration=1h
  fi >"$work/token"
) || die "no token for the account signal-sender in $GATEWAY_NAMESPACE: apply manifests/signal-sender.yaml, or set SIGNAL_TOKEN"

cat >"$work/alertmanager.yml" <<TEXT
route:
  receiver: gateway
  group_by: [alertname, namespace]
  group_wait: 100ms
  group_interval: 1s
  # Far away, so that every delivery is the answer to a change that is made here.
  repeat_interval: 1h
receivers:
  - name: gateway
    webhook_configs:
      - url: $GATEWAY_URL/api/v1/signals/prometheus
        send_resolved: true
        http_config:
          authorization:
            type: Bearer
            credentials_file: $work/token
TEXT

"$ALERTMANAGER" --config.file="$work/alertmanager.yml" --storage.path="$work/data" \
  --web.listen-address=127.0.0.1:0 --cluster.listen-address= >"$work/alertmanager.log" 2>&1 &
alertmanager_pid=$!
alertmanager_url=
find_address() {
  alertmanager_url=$(sed -n 's/.*Listening on.* address=\(127\.0\.0\.1:[0-9]*\).*/http:\/\/\1/p' "$work/alertmanager.log" | head -n 1)
  [ -n "$alertmanager_url" ] && http --fail --output /dev/null "$alertmanager_url/-/ready"
}
await "Alertmanager's web server" find_address

printf '%-18s %10s %6s %8s %11s  %s\n' "the alert" deliveries failed requests occurrences request
step "fires" firing 1 1 1
step "resolves" resolved 2 1 1
step "fires again" firing 3 1 2
step "resolves again" resolved 4 1 2
