#!/usr/bin/env bash
# Trial: a real Alertmanager sends what it has at once, in large groups, ahead of time and again; no alert is lost or doubled
# Not sampled: it compiles Alertmanager, which takes minutes
# Each case has a namespace of its own, and is over when each firing alert has its RemediationRequest, and no problem two.
#   scripts/alertmanager.sh [CASE…]     all where none is named
#   ALERTMANAGER   the program; without it it is compiled from its Go module, with an empty web page
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { printf '%s\t%s\n' - 400 groups-at-once 30 large-group 60 one-ahead 200 resolved 60 gateway-restarted 60; }
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/senders.sh
start_cluster
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
END
start_alertmanager

at() { date --utc --date "$1" +%FT%TZ; }
alerts() { # NAME FIRST LAST STARTS [ENDS]: JSON of alerts about pods of these numbers
  seq "$2" "$3" | sed "s|.*|{\"labels\": {\"alertname\": \"$1\", \"severity\": \"critical\", \"namespace\": \"$namespace\", \
\"pod\": \"pod-&\"}, \"startsAt\": \"$4\"${5:+, \"endsAt\": \"$5\"}}|; \$!s/\$/,/"
}
send() { http --output /dev/null --header 'Content-Type: application/json' --data-binary @- "http://$url/api/v2/$1"; }
send_alerts() { { echo '['; alerts "$@"; echo ']'; } | send alerts; }
# What of a case still fires, and is sent again, has no part in the next one, which may have no gateway for a while.
silence() {
  echo "{\"matchers\": [{\"name\": \"namespace\", \"value\": \"$namespace\", \"isRegex\": false}], \"comment\": \"over\", \
\"createdBy\": \"$trial\", \"startsAt\": \"$(at now)\", \"endsAt\": \"$(at '1 day')\"}" | send silences
}
count() { requests .spec.targetResource.name | grep -c . || true; }
await() { # SECONDS NUMBER: until there are that many requests
  local end=$((SECONDS + $1))
  until [ "$(count)" -ge "$2" ]; do
    [ $SECONDS -lt $end ] || { wrong="$wrong; $(count) of $2 requests after $1 s"; return 0; }
    sleep 1
  done
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
  { echo '['; alerts Again 1 4 "$(at now)"; echo ,; alerts Again 5 5 "$(at '3 minutes')"; echo ']'; } | send alerts
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
  local before
  send_alerts Single 1 300 "$(at now)"
  await 60 1
  kubectl --namespace $space delete pod --selector app.kubernetes.io/name=gateway --wait=false >/dev/null
  before=$(count)
  [ "$before" -lt 300 ] || wrong="$wrong; all were there before the gateway went"
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
  [ "$failed" -eq 0 ] || wrong="$wrong; Alertmanager has given up $failed notifications: see $folder/alertmanager.log"
  tries=$(( $(counter alertmanager_notification_requests_total) - tries ))
  look_at_memory
  verdict=passed
  [ -z "$wrong" ] || verdict=failed
  silence
  record "$name" $verdict "$(count) requests after $took s, $tries deliveries; held at most: $held$wrong"
done
finish
