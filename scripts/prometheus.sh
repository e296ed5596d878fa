#!/usr/bin/env bash
# Trial: a real Prometheus with kube-prometheus' alerts tells of broken workloads; each alert leads to one request, for the right object
# Not sampled: it compiles Prometheus, Alertmanager and kube-state-metrics, which takes a quarter of an hour
# The workloads are real, and so is kube-state-metrics, which tells of them. What a kubelet and node-exporter would tell is
# in files, which Prometheus serves to itself.
#   scripts/prometheus.sh [CASE…]     all where none is named
#   honoured    scraped as kube-prometheus does: what kube-state-metrics says of namespaces and pods keeps its labels
#   exported    scraped as anything else is: the labels of what is scraped win, and what it says moves to exported_…
#   promtool    what both services tell of themselves is as `promtool check metrics` wants it
#   PROMETHEUS, PROMTOOL, KUBE_STATE_METRICS, ALERTMANAGER   the programs; those that are not named are compiled from their
#   Go modules, without web pages
set -euo pipefail
. "$(dirname "$0")/trial.sh"
cases() { printf '%s\t%s\n' - 1200 honoured 120 exported 120 promtool 10; }
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/senders.sh
prometheus_version=v0.316.0
kube_state_metrics_version=v2.18.0
# Of a pod that is there, so that its node has it.
image=$(sed -n 's/^ *image: //p' manifests/redis.yaml)

prometheus_program() { # VARIABLE PACKAGE: sets the variable where it is not; without discovery of targets in clouds
  [ -z "${!1:-}" ] || return 0
  declare -g "$1=$work/$2-$prometheus_version"
  local source
  if [ ! -x "${!1}" ]; then
    source=$(module github.com/prometheus/prometheus $prometheus_version)
    compile "$source" "./cmd/$2" "${!1}" -tags remove_all_sd
  fi
}
prometheus_program PROMETHEUS prometheus
prometheus_program PROMTOOL promtool
if [ -z "${KUBE_STATE_METRICS:-}" ]; then
  KUBE_STATE_METRICS=$work/kube-state-metrics-$kube_state_metrics_version
  if [ ! -x "$KUBE_STATE_METRICS" ]; then
    source=$(module k8s.io/kube-state-metrics/v2 $kube_state_metrics_version)
    compile "$source" . "$KUBE_STATE_METRICS"
  fi
fi

start_cluster
# As kube-prometheus has it, but quicker: it waits for 30 s and 5 min.
cat >"$folder/alertmanager.yml" <<END
inhibit_rules:
  - source_matchers: [severity = critical]
    target_matchers: [severity =~ warning|info]
    equal: [namespace, alertname]
  - source_matchers: [severity = warning]
    target_matchers: [severity = info]
    equal: [namespace, alertname]
route:
  receiver: gateway
  group_by: [namespace]
  group_wait: 5s
  group_interval: 10s
  repeat_interval: 12h
END
start_alertmanager
"$KUBE_STATE_METRICS" --kubeconfig=target/e2e/gateway/cluster/kubeconfig --host=127.0.0.1 --port=0 \
  --telemetry-host=127.0.0.1 --telemetry-port=0 >"$folder/kube-state-metrics.log" 2>&1 &
pids+=($!)
kube_state_metrics=$(address kube-state-metrics "$folder/kube-state-metrics.log" kube_node_info)

put() { sed "s|CASE|$name|g; s|NAMESPACE|$namespace|g; s|IMAGE|$image|g" "scripts/prometheus/$1"; }
until_it() { # OBJECT CONDITION: as `kubectl wait` takes them
  kubectl --namespace "$namespace" wait "$1" --for="$2" --timeout=120s >/dev/null || { wrong="$wrong; $1 does not become $2"; }
}
of_container() { echo "jsonpath={.status.containerStatuses[?(@.name==\"app\")].state.waiting.reason}=$1"; }
# Whatever changes while Prometheus looks on is in motion, and its rules give it minutes: so it starts when nothing does.
break_workloads() {
  put workloads.yml | apply --namespace "$namespace"
  kubectl --namespace "$namespace" create job its-job-fails-1 --from=cronjob/its-job-fails >/dev/null
  until_it statefulset/not-rolled-out jsonpath='{.status.readyReplicas}'=1
  kubectl --namespace "$namespace" set env statefulset/not-rolled-out changed=yes >/dev/null
  until_it statefulset/not-rolled-out jsonpath='{.status.observedGeneration}'=2
  until_it pod/crashes "$(of_container CrashLoopBackOff)"
  crashing=$(kubectl --namespace "$namespace" get pods --selector app=its-pod-crashes --output name)
  until_it "$crashing" "$(of_container CrashLoopBackOff)"
  until_it pod/waits "$(of_container ErrImageNeverPull)"
  until_it deployment/is-stuck condition=Progressing=False
  until_it deployment/misses-replicas jsonpath='{.status.updatedReplicas}'=2
  until_it statefulset/misses-replicas jsonpath='{.status.updatedReplicas}'=1
  until_it daemonset/is-stuck jsonpath='{.status.updatedNumberScheduled}'=1
  until_it job/fails condition=Failed
  until_it job/its-job-fails-1 condition=Failed
  until_it horizontalpodautoscaler/maxed-out jsonpath='{.status.currentReplicas}'=2
  until_it resourcequota/fully-used jsonpath='{.status.used.services}'=1
  until_it "persistentvolume/failed-$name" jsonpath='{.status.phase}'=Failed
  until_it pod/nodes-node-exporter-x7k2p condition=Ready
  until_it "node/one-$name" condition=Ready=Unknown
  until_it "node/two-$name" condition=Ready=Unknown
}

target() { # ADDRESS LABEL…: one that Prometheus is to scrape, `name="value"` each
  local address=$1 labels
  shift
  labels=$(printf ', %s' "$@" | sed 's/\([a-z_]*\)=\("[^"]*"\)/"\1": \2/g')
  echo "{\"targets\": [\"$address\"], \"labels\": {${labels#, }}}"
}
targets() { # FILE TARGET…: as Prometheus finds it anew whenever it changes
  local file=$folder/targets/$1.json all
  shift
  all=$(printf ',%s' "$@")
  echo "[${all#,}]" >"$file.new"
  mv "$file.new" "$file"
}
start_prometheus() { # honoured | exported: as the Prometheus Operator has it do, by the labels of kube-prometheus' targets
  local honoured=true address of_kube_state_metrics of_kubelet of_nodes
  rm -rf "$folder"/{prometheus,targets,served}
  mkdir -p "$folder"/{targets,served}
  # kube-prometheus drops what its exporter has of its own; a Prometheus that is told nothing keeps it.
  local own='relabel_configs: [{action: labeldrop, regex: (pod|service|endpoint|namespace)}]'
  [ "$1" = honoured ] || honoured=false own=''
  cat >"$folder/prometheus.yml" <<END
global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [$PWD/scripts/prometheus/rules.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: ["$url"]}]}]
scrape_configs:
  - job_name: kube-state-metrics
    honor_labels: $honoured
    file_sd_configs: [{files: ["$folder/targets/kube-state-metrics.json"]}]
    $own
  - job_name: kubelet
    honor_labels: $honoured
    metrics_path: /user/kubelet.prom
    file_sd_configs: [{files: ["$folder/targets/kubelet.json"]}]
  - job_name: node-exporter
    metrics_path: /user/node-exporter.prom
    file_sd_configs: [{files: ["$folder/targets/node-exporter.json"]}]
  - job_name: shop
    file_sd_configs: [{files: ["$folder/targets/shop.json"]}]
END
  put kubelet.prom >"$folder/served/kubelet.prom"
  put node-exporter.prom >"$folder/served/node-exporter.prom"
  of_kube_state_metrics=(namespace='"monitoring"' service='"kube-state-metrics"' pod='"kube-state-metrics-58474dc949-6ngch"'
    container='"kube-rbac-proxy-main"' endpoint='"https-main"' instance='"10.42.2.101:8443"')
  targets kube-state-metrics "$(target "$kube_state_metrics" "${of_kube_state_metrics[@]}")"
  # A port on which nothing listens.
  targets shop "$(target 127.0.0.1:1 "namespace=\"$namespace\"" service='"target-down"' pod='"busy-5d4f8c7b9-2xkqz"' endpoint='"http"')"
  "$PROMETHEUS" --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/prometheus" \
    --web.listen-address=127.0.0.1:0 --web.user-assets="$folder/served" >"$folder/prometheus.log" 2>&1 &
  prometheus=$!
  pids+=($prometheus)
  address=$(address Prometheus "$folder/prometheus.log")
  of_kubelet=(namespace='"kube-system"' service='"kubelet"' node="\"one-$name\"" endpoint='"https-metrics"'
    metrics_path='"/metrics"' instance='"10.0.0.1:10250"')
  targets kubelet "$(target "$address" "${of_kubelet[@]}")"
  of_nodes=(service='"node-exporter"' container='"kube-rbac-proxy"' endpoint='"https"')
  if [ "$1" = honoured ]; then
    # Its ServiceMonitor calls the instance as the node.
    targets node-exporter \
      "$(target "$address" "${of_nodes[@]}" namespace='"monitoring"' pod='"node-exporter-8zt4v"' "instance=\"full-one-$name\"")" \
      "$(target "$address" "${of_nodes[@]}" namespace='"monitoring"' pod='"node-exporter-c5wnd"' "instance=\"full-two-$name\"")"
  else
    targets node-exporter \
      "$(target "$address" "${of_nodes[@]}" "namespace=\"$namespace\"" pod='"nodes-node-exporter-x7k2p"' instance='"10.0.0.1:9100"')"
  fi
}

# What must come of it, one a line: the alert, the kind and name of its object, and, where another one is to be mended, the
# kind and name of that. An object lies in the case's namespace, unless its kind is in none.
expected() { # honoured | exported
  cat <<END
KubePodCrashLooping Pod crashes
KubePodCrashLooping Pod ${crashing#pod/} Deployment its-pod-crashes
KubeContainerWaiting Pod waits
KubeDeploymentReplicasMismatch Deployment misses-replicas
KubePdbNotEnoughHealthyPods PodDisruptionBudget not-enough-healthy
KubeDeploymentRolloutStuck Deployment is-stuck
KubeStatefulSetReplicasMismatch StatefulSet misses-replicas
KubeDaemonSetRolloutStuck DaemonSet is-stuck
KubeJobFailed Job fails
KubeJobFailed Job its-job-fails-1 CronJob its-job-fails
KubeHpaMaxedOut HorizontalPodAutoscaler maxed-out
KubeQuotaFullyUsed ResourceQuota fully-used
KubePersistentVolumeFillingUp PersistentVolumeClaim fills-up
KubePersistentVolumeErrors PersistentVolume failed-$name
KubeNodeNotReady Node one-$name
KubeNodeNotReady Node two-$name
KubeNodeUnreachable Node one-$name
KubeNodeUnreachable Node two-$name
KubeletTooManyPods Node one-$name
TargetDown Service target-down
END
  if [ "$1" = honoured ]; then
    # Their rules keep only the labels that they name, and so lose what moved.
    cat <<END
KubePodNotReady Pod waits
KubeStatefulSetUpdateNotRolledOut StatefulSet not-rolled-out
NodeFilesystemAlmostOutOfSpace Node full-one-$name
NodeFilesystemAlmostOutOfSpace Node full-two-$name
END
  else
    echo "NodeFilesystemAlmostOutOfSpace Node $(kubectl --namespace "$namespace" get pod nodes-node-exporter-x7k2p --output 'jsonpath={.spec.nodeName}')"
  fi
}
fingerprints() { # of `expected`: ALERT KIND NAMESPACE NAME FINGERPRINT a line, of the audit's form
  local alert kind object problem_kind problem_name space_of
  while read -r alert kind object problem_kind problem_name; do
    case $kind in Node | PersistentVolume) space_of='' ;; *) space_of=$namespace ;; esac
    echo "$alert|$kind|$space_of|$object|$(printf %s "$space_of:${problem_kind:-$kind}:${problem_name:-$object}" | sha256sum | cut -c1-64)"
  done
}
told() { # what the audit says of all signals, in the same form
  kubectl --namespace $space exec statefulset/postgresql -- psql --username slm_user --dbname action_history --no-align --tuples-only --command \
    "SELECT DISTINCT event_data->>'signal_name', event_data#>>'{target,kind}', event_data#>>'{target,namespace}', \
     event_data#>>'{target,name}', event_data->>'fingerprint' FROM audit_events \
     WHERE event_type IN ('gateway.signal.received', 'gateway.signal.deduplicated')" | LC_ALL=C sort
}
missing() { told | LC_ALL=C comm -13 - "$folder/expected"; }

tell_alerts() { # honoured | exported
  local end fingerprint number
  break_workloads
  expected "$1" | fingerprints | LC_ALL=C sort >"$folder/expected"
  start_prometheus "$1"
  end=$((SECONDS + 240))
  while [ -n "$(missing)" ] && [ $SECONDS -lt $end ]; do sleep 2; done
  wrong="$wrong$(missing | sed 's/^\([^|]*\)|\([^|]*\)|\([^|]*\)|\([^|]*\)|.*/; no \1 about \2 \3 \4/' | tr -d '\n')"
  # What is still on its way would make a second one.
  sleep 15
  kill $prometheus
  wait $prometheus || true
  unset 'pids[-1]'
  requests .spec.signalFingerprint --all-namespaces | sort >"$folder/requests"
  cut -d'|' -f5 "$folder/expected" | sort -u >"$folder/problems"
  while read -r fingerprint; do
    number=$(grep -cx "$fingerprint" "$folder/requests" || true)
    [ "$number" -eq 1 ] || wrong="$wrong; $number requests for $(grep -m1 "$fingerprint" "$folder/expected" | cut -d'|' -f1-4)"
  done <"$folder/problems"
  number=$(requests .spec.signalFingerprint | sort | comm -23 - "$folder/problems" | wc -l)
  [ "$number" -eq 0 ] || wrong="$wrong; $number requests in the namespace for what no alert is about"
  found="$(wc -l <"$folder/expected") alerts by $(cut -d'|' -f1 "$folder/expected" | sort -u | wc -l) rules, $(wc -l <"$folder/problems") requests"
}
honoured() { tell_alerts honoured; }
exported() { tell_alerts exported; }
promtool() {
  local pod service text
  found=''
  for service in gateway datastorage; do
    pod=$(kubectl --namespace $space get pods --selector "app.kubernetes.io/name=$service" --output 'jsonpath={.items[0].metadata.name}')
    # The API server passes on that any form will do: that is the older one.
    kubectl get --raw "/api/v1/namespaces/$space/pods/$pod:9090/proxy/metrics" >"$folder/$service.prom"
    grep -q '^# TYPE ' "$folder/$service.prom" && ! grep -q '^# EOF' "$folder/$service.prom" \
      || wrong="$wrong; $service tells it in another form than the older one"
    text=$("$PROMTOOL" check metrics <"$folder/$service.prom" 2>&1) || wrong="$wrong; $service: $(tr '\n' ' ' <<<"$text")"
    found="${found:+$found, }$service: $(grep -c '^# TYPE ' "$folder/$service.prom") metrics"
  done
}

for name in "${todo[@]}"; do
  namespace=prometheus-$name wrong='' found=''
  kubectl delete namespace "$namespace" --ignore-not-found >/dev/null
  kubectl create namespace "$namespace" >/dev/null
  start=$(date +%s.%N)
  "$name"
  took=$(seconds "$start")
  look_at_memory
  kubectl delete namespace "$namespace" >/dev/null
  kubectl delete node,persistentvolume "one-$name" "two-$name" "failed-$name" --ignore-not-found --wait=false >/dev/null
  verdict=passed
  [ -z "$wrong" ] || verdict=failed
  record "$name" $verdict "$found, $took s; held at most: $held$wrong"
done
finish
