# Sourced, after trial.sh, by trials in which real programs send to a gateway on a cluster: it goes to target/trials/tree,
# as tree.sh says, compiles what is asked for from Go modules, brings the cluster up, and sees what becomes of the signals.
. scripts/tree.sh
space=kubernaut-system
engine=${E2E_ENGINE:-podman}
# The most that a service's process may have held, in MiB, of the 256 that its pod may.
memory_mib=200
alertmanager_version=v0.35.0
# What the programs read and write.
folder=$work/$trial
mkdir -p "$folder"
pids=()
tidy() { cargo --quiet xtask down gateway >/dev/null 2>&1 || true; }
# What was started here does not end by itself.
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null; wait; tidy' EXIT
node() { "$engine" ps --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)"; }
on_node() { "$engine" exec "$(node)" "$@"; }
kubectl() { on_node kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
apply() { "$engine" exec --interactive "$(node)" kubectl --kubeconfig /etc/kubernetes/admin.conf apply --filename - "$@" >/dev/null; }
http() { curl --silent --show-error --fail --max-time 30 "$@"; }

module() { # MODULE VERSION: prints the folder that its source is in
  local source
  command -v go >/dev/null || { echo "there is no Go to compile $1 with: name the program in the environment" >&2; exit 1; }
  source=$(go mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  [ -d "$source" ] || { echo "Go does not have $1 $2" >&2; exit 1; }
  echo "$source"
}
compile() { # SOURCE PACKAGE OUT [FLAG…]
  local source=$1 package=$2 out=$3
  shift 3
  (cd "$source" && CGO_ENABLED=0 GOWORK=off go build -buildvcs=false "$@" -o "$out" "$package")
}
compile_alertmanager() { # OUT: as its release is made, but for the web page, which is built by other tools
  local source=$1.source published
  published=$(module github.com/prometheus/alertmanager $alertmanager_version)
  rm -rf "$source"
  cp -r "$published" "$source"
  chmod -R u+w "$source"
  mkdir -p "$source"/ui/app/dist/{elm,mantine}
  touch "$source"/ui/app/dist/{elm,mantine}/index.html
  compile "$source" ./cmd/alertmanager "$1"
  rm -rf "$source"
}
address() { # NAME LOG [METRIC]: prints where it listens, as it says itself; with METRIC, where it tells of that
  local found
  for _ in $(seq 150); do
    for found in $(sed -n 's/.*Listening on.* address="\{0,1\}\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$2"); do
      if [ -z "${3:-}" ] || http "http://$found/metrics" 2>/dev/null | grep "^$3" >/dev/null; then
        echo "$found"
        return
      fi
    done
    sleep 0.2
  done
  echo "$1 does not start: see $2" >&2
  exit 1
}

start_cluster() { # sets `port`, the gateway's, and `token`, a file with what it lets in
  cargo --quiet xtask up gateway --yes >"$work/up.log" 2>&1 || { echo "the cluster does not come up: see $work/up.log" >&2; exit 1; }
  port=$(sed -n 's/.*"30080": \([0-9]*\).*/\1/p' target/e2e/gateway/cluster/run.json)
  token=$folder/token
  (umask 077 && kubectl --namespace $space create token signal-sender --duration=2h >"$token")
}
start_alertmanager() { # sets `url`; what stands in alertmanager.yml, and the gateway as its receiver
  if [ -z "${ALERTMANAGER:-}" ]; then
    ALERTMANAGER=$work/alertmanager-$alertmanager_version
    if [ ! -x "$ALERTMANAGER" ]; then compile_alertmanager "$ALERTMANAGER"; fi
  fi
  rm -rf "$folder/alertmanager"
  cat >>"$folder/alertmanager.yml" <<END
receivers:
  - name: gateway
    webhook_configs:
      - url: http://127.0.0.1:$port/api/v1/signals/prometheus
        http_config: {authorization: {credentials_file: $token}}
END
  "$ALERTMANAGER" --config.file="$folder/alertmanager.yml" --storage.path="$folder/alertmanager" \
    --web.listen-address=127.0.0.1:0 --cluster.listen-address= >"$folder/alertmanager.log" 2>&1 &
  pids+=($!)
  url=$(address Alertmanager "$folder/alertmanager.log")
}

requests() { # FIELD [WHERE…]: of each RemediationRequest of the namespace, one a line; WHERE in place of the namespace
  local field=$1
  shift
  [ $# -gt 0 ] || set -- --namespace "$namespace"
  kubectl get remediationrequests "$@" --output "jsonpath={range .items[*]}{$field}{\"\n\"}{end}"
}
counter() { # NAME: of all its series for webhooks
  http "http://$url/metrics" | awk -v name="$1{" 'index($0, name) == 1 && /webhook/ { sum += $NF } END { print sum + 0 }'
}
look_at_memory() { # sets `held`; too much is added to `wrong`
  local service peak
  held=''
  for service in gateway datastorage; do
    peak=$(on_node sh -c 'cat /proc/[0-9]*/status 2>/dev/null; true' \
      | awk -v name=$service '/^Name:/ { own = $2 == name } own && /^VmHWM:/ { print int($2 / 1024) }' | sort -n | tail -n1)
    held="${held:+$held, }$service ${peak:-?} MiB"
    [ "${peak:-$((memory_mib + 1))}" -le $memory_mib ] || wrong="$wrong; $service has held ${peak:-nobody knows how many} MiB"
  done
}
