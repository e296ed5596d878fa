#!/usr/bin/env bash
# Trial: a real Alertmanager sends what it has at once, in large groups, ahead of time and again; no alert is lost or doubled
# Not sampled: it compiles Alertmanager, which takes minutes
# Each case has a namespace of its own, and is over when each firing alert has its RemediationRequest, and no problem two.
#   scripts/alertmanager.sh [CASE…]     all where none is named
#   ALERTMANAGER   the program; without it this version is compiled from its Go module, with an empty web page
set -euo pipefail
version=v0.35.0
. "$(dirname "$0")/trial.sh"
cases() { printf '%s\t%s\n' - 400 groups-at-once 30 large-group 60 one-ahead 200 resolved 60 gateway-restarted 60; }
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/tree.sh
space=kubernaut-system
engine=${E2E_ENGINE:-podman}
# The most that the gateway's process may have held, in MiB, of the 256 that its pod may.
memory_mib=200
pid=''
tidy() { cargo --quiet xtask down gateway >/dev/null 2>&1 || true; }
# Alertmanager does not end by itself.
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; wait; tidy' EXIT
on_node() { "$engine" exec "$("$engine" ps --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)")" "$@"; }
kubectl() { on_node kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
http() { curl --silent --show-error --fail --max-time 30 "$@"; }

compile() { # OUT: as its release is made, but for the web page, which is built by other tools
  local out=$1 source
  command -v go >/dev/null || { echo 'there is no Go to compile Alertmanager with: name one in ALERTMANAGER' >&2; exit 1; }
  source=$(go mod download -json "github.com/prometheus/alertmanager@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  [ -d "$source" ] || { echo "Go does not have Alertmanager $version" >&2; exit 1; }
  rm -rf "$out.source"
  cp -r "$source" "$out.source"
  chmod -R u+w "$out.source"
  mkdir -p "$out.source"/ui/app/dist/{elm,mantine}
  touch "$out.source"/ui/app/dist/{elm,mantine}/index.html
  (cd "$out.source" && CGO_ENABLED=0 GOWORK=off go build -buildvcs=false -o "$out" ./cmd/alertmanager)
  rm -rf "$out.source"
}
if [ -z "${ALERTMANAGER:-}" ]; then
  ALERTMANAGER=$work/alertmanager-$version
  [ -x "$ALERTMANAGER" ] || compile "$ALERTMANAGER"
fi

cargo --quiet xtask up gateway --yes >"$work/up.log" 2>&1 || { echo "the cluster does not come up: see $work/up.log" >&2; exit 1; }
port=$(sed -n 's/.*"30080": \([0-9]*\).*/\1/p' target/e2e/gateway/cluster/run.json)
folder=$work/alertmanager
mkdir -p "$folder"
rm -rf "$folder/data"
(umask 077 && kubectl --namespace $space create token signal-sender --duration=2h >"$folder/token")
cat >"$folder/alertmanager.yml" <<END
route:
  receiver: gateway
  group_by: [namespace]
  group_wait: 1s
  group_interval: 5m
  routes:
    - matchers: [alertname="Single"]
      group_by: [namespace, pod]
    # Quicker than usual, so that a trial sees it sent again.
    - matchers: [alertname="Again"]
      group_interval: 10s
      repeat_interval: 20s
receivers:
  - name: gateway
    webhook_configs:
      - url: http://127.0.0.1:$port/api/v1/signals/prometheus
        http_config: {authorization: {credentials_file: $folder/token}}
END
"$ALERTMANAGER" --config.file="$folder/alertmanager.yml" --storage.path="$folder/data" \
  --web.listen-address=127.0.0.1:0 --cluster.listen-address= >"$folder/log" 2>&1 &
pid=$!
url=''
for _ in $(seq 100); do
  url=$(sed -n 's/.*Listening on.* address=\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$folder/log" | head -n1)
  [ -z "$url" ] || break
  sleep 0.2
done
[ -n "$url" ] || { echo "Alertmanager does not start: see $folder/log" >&2; exit 1; }

at() { date --utc --date "$1" +%FT%TZ; }
alerts() { # NAME FIRST LAST STARTS [ENDS]: JSON of alerts about pods of these numbers
  seq "$2" "$3" | sed "s|.*|{\"labels\": {\"alertname\": \"$1\", \"severity\": \"critical\", \"namespace\": \"$namespace\", \
\"pod\": \"pod-&\"}, \"startsAt\": \"$4\"${5:+, \"endsAt\": \"$5\"}}|; \$!s/\$/,/"
}
send() { http --output /dev/null --header 'Content-Type: application/json' --data-binary @- "http://$url/api/v2/alerts"; }
send_alerts() { { echo '['; alerts "$@"; echo ']'; } | send; }
requests() { # FIELD: of each RemediationRequest of the namespace, one a line
  kubectl --namespace "$namespace" get remediationrequests --output "jsonpath={range .items[*]}{$1}{\"\n\"}{end}"
}
count() { requests .spec.targetResource.name | grep -c . || true; }
await() { # SECONDS NUMBER: until there are that many requests
  local end=$((SECONDS + $1))
  until [ "$(count)" -ge "$2" ]; do
    [ $SECONDS -lt $end ] || { wrong="$wrong; $(count) of $2 requests after $1 s"; return 0; }
    sleep 1
  done
}
counter() { # NAME: of all its series for webhooks
  http "http://$url/metrics" | awk -v name="$1{" 'index($0, name) == 1 && /webhook/ { sum += $NF } END { print sum + 0 }'
}

groups-at-once() {
  send_alerts Single 1 300 "$(at now)"
  await 120 300
}
large-group() {
  send_alerts Group 1 2000 "$(at now)"
  await 240 2000
}
one-ahead() {
  { echo '['; alerts Again 1 4 "$(at now)"; echo ,; alerts Again 5 5 "$(at '3 minutes')"; echo ']'; } | send
  await 30 4
  [ "$(count)" -eq 4 ] || wrong="$wrong; $(count) requests while one of five alerts is ahead of time"
  await 150 5
}
resolved() {
  local start
  start=$(at now)
  send_alerts Again 1 20 "$start"
  await 30 20
  send_alerts Again 1 20 "$start" "$(at now)"
  sleep 15
  [ "$(count)" -eq 20 ] || wrong="$wrong; $(count) requests after 20 alerts were resolved"
  send_alerts Again 1 20 "$(at now)"
  local end=$((SECONDS + 40))
  until [ "$(requests .status.deduplication.occurrenceCount | awk '$1 >= 2' | wc -l)" -eq 20 ]; do
    [ $SECONDS -lt $end ] || { wrong="$wrong; what fires again is not counted on the requests that there are"; return 0; }
    sleep 1
  done
}
gateway-restarted() {
  send_alerts Single 1 300 "$(at now)"
  sleep 2
  kubectl --namespace $space delete pod --selector app.kubernetes.io/name=gateway --wait=false >/dev/null
  await 180 300
}

for name in "${todo[@]}"; do
  namespace=alertmanager-$name wrong=''
  kubectl delete namespace "$namespace" --ignore-not-found >/dev/null
  kubectl create namespace "$namespace" >/dev/null
  failed=$(counter alertmanager_notifications_failed_total)
  tries=$(counter alertmanager_notification_requests_total)
  start=$(date +%s.%N)
  "$name"
  took=$(seconds "$start")
  # What is still on its way would make a second one.
  sleep 5
  twice=$(requests .spec.targetResource.name | sort | uniq -d | wc -l)
  [ "$twice" -eq 0 ] || wrong="$wrong; $twice problems have two requests"
  failed=$(( $(counter alertmanager_notifications_failed_total) - failed ))
  [ "$failed" -eq 0 ] || wrong="$wrong; Alertmanager has given up $failed notifications: see $folder/log"
  tries=$(( $(counter alertmanager_notification_requests_total) - tries ))
  peak=$(on_node sh -c 'cat /proc/[0-9]*/status' | awk '/^Name:/ { own = $2 == "gateway" } own && /^VmHWM:/ { print int($2 / 1024) }' | sort -n | tail -n1)
  [ "$peak" -le $memory_mib ] || wrong="$wrong; the gateway has held $peak MiB"
  verdict=passed
  [ -z "$wrong" ] || verdict=failed
  record "$name" $verdict "$(count) requests after $took s, $tries deliveries, the gateway held $peak MiB at most$wrong"
done
finish
