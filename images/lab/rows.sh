# Sourced by lab.sh: what is done for each row. A row's function sets `found`, what came of it in one line, and `spent`,
# its seconds where they mean something; its output goes to the row's log. It runs where `set -e` does nothing, so each
# step says itself what its failure means.
# The moments of Ctrl-C are those of scripts/interrupted.sh: so many percent of the time of a whole run.
moments=(3 19 37 59 83)
faults=(403 429 hang digest proxy proxy-password)
suite=gateway
run_deadline_s=1500
# What gets one line more.
edited=gateway/src/main.rs

must() { # WHAT COMMAND…: the row has failed where the command fails
  local what=$1
  shift
  "$@" || { found="$what failed: $(complaint)"; return 1; }
}
complaint() { # the last error that the row's log has
  { grep -E '^(error|step .* failed|spec .* failed)' "$log" || tail -n1 "$log"; } | tail -n1
}
timed() { # COMMAND…: sets `spent`
  local start code=0
  from=$(wc -c <"$log")
  start=$(date +%s.%N)
  "$@" || code=$?
  spent=$(seconds "$start")
  return $code
}
xtask() { inside timeout --kill-after 30 $run_deadline_s cargo --quiet xtask "$@"; }
verdict_of_run() { # the line of the timed run that counts its specs, and nothing where there is none
  tail -c +$(( from + 1 )) "$log" | grep -oE '[0-9]+ passed[,;].*' | tail -n1 | sed 's/; everything is in .*//'
}
green() { # a whole run is: all specs passed
  found=$(verdict_of_run)
  [[ $found =~ ^[0-9]+\ passed ]] && [[ ! $found =~ failed ]]
}
edit() { # one line that ends up in the program, another each time
  printf '#[used] static LAB: u64 = %s;\n' "$(date +%s)" >>"$lab/$machine/checkout/$edited"
}
nothing_built() { # no images of the checkout's, no layers, nothing compiled
  local engine folder=/lab/checkout
  engine=$(engine_of "$machine")
  [ "$machine" != host ] || folder=$lab/host/checkout
  inside cargo --quiet xtask down $suite
  inside sh -c "ids=\$($engine images --quiet --filter label=gateway-e2e.checkout=$folder | sort -u); [ -z \"\$ids\" ] || $engine rmi --force \$ids"
  [ "$engine" != docker ] || inside docker builder prune --all --force
  rm -rf "$lab/$machine/checkout/target"
}
things() { # what the engine has
  inside sh -c "$(engine_of "$machine") ps --all --format 'container {{.Names}}'; $(engine_of "$machine") volume ls --format 'volume {{.Name}}'; $(engine_of "$machine") network ls --format 'network {{.Name}}'" | sort
}

row_setup() {
  must 'compiling xtask' inside cargo build --quiet --package xtask || return 1
  timed xtask setup --yes || { found="$(complaint)"; return 1; }
  must 'setup --check after it' xtask setup --check || return 1
  found=$(grep -E 'everything that .* needs is there' "$log" | head -n1)
}
row_nothing() {
  must 'removing what was built' nothing_built || return 1
  timed xtask e2e $suite --yes || { found="$(verdict_of_run); $(complaint)"; return 1; }
  green
}
row_edit() {
  must 'a run before it' xtask e2e $suite --yes || return 1
  must 'the edit' edit || return 1
  timed xtask e2e $suite --yes || { found="$(verdict_of_run); $(complaint)"; return 1; }
  green
}
row_reuse() {
  must up xtask up $suite --yes || return 1
  must 'the edit' edit || return 1
  timed xtask e2e $suite --yes --reuse || { found="$(verdict_of_run); $(complaint)"; return 1; }
  green || return 1
  must down xtask down $suite
}
row_up() {
  local before after
  before=$(things)
  timed xtask up $suite --yes || { found="$(complaint)"; return 1; }
  must 'the gateway answers' inside curl --fail --silent --show-error --output /dev/null --max-time 10 \
    "http://127.0.0.1:$(sed -n 's/.*"30090": *\([0-9]*\).*/\1/p' "$lab/$machine/checkout/target/e2e/$suite/cluster/run.json")/metrics" || return 1
  must down xtask down $suite || return 1
  after=$(things)
  [ "$before" = "$after" ] || { found="left after down: $(diff <(echo "$before") <(echo "$after") | grep '^>' | paste -sd' ')"; return 1; }
  found='up in that time, the gateway answered, and down left nothing'
}
interrupted() { # CASE of scripts/interrupted.sh: its verdict is the row's
  local line results
  results=$lab/$machine/checkout/target/trials/interrupted-$head.tsv
  rm -f "$results"
  timed inside timeout --kill-after 30 $run_deadline_s env "E2E_ENGINE=$(engine_of "$machine")" scripts/interrupted.sh "$1"
  line=$(grep "^$1	" "$results" 2>/dev/null | tail -n1)
  found=$(cut -f3 <<<"${line:-		$(complaint)}")
  [ "$(cut -f2 <<<"$line")" = passed ]
}
row_INT() { interrupted "$1"; }
row_gc() { interrupted KILL-43; }

compiled_xtask() { # that of the engine's other machine, where it is of this revision
  local other
  other=$lab/$(engine_of "$machine")/checkout
  if [ "$(git -C "$other" rev-parse --short=12 HEAD 2>/dev/null)" = "$head" ] && [ "$other/target/debug/xtask" -nt "$other/.git/HEAD" ]; then
    mkdir -p "$lab/$machine/checkout/target/debug"
    cp "$other/target/debug/xtask" "$lab/$machine/checkout/target/debug/xtask"
  else
    inside cargo build --quiet --package xtask
  fi
}
# A set-up on a machine without images, by a registry that something is wrong with. It must say what, in one line and
# before it goes another way; it is stopped there, for the other way is the row `setup`'s.
row_fault() {
  local fault=$1 says pid tries
  must "the registry's fault" route "$fault" || return 1
  must 'compiling xtask' compiled_xtask || return 1
  case $fault in
    403) says='403|[Dd]enied|[Ff]orbidden' ;;
    429) says='429|[Tt]oo ?[Mm]any ?[Rr]equests' ;;
    hang) says='its deadline|[Tt]imed? ?out' ;;
    digest) says='digest|verification' ;;
    proxy) says='everything that .* needs is there' ;;
    proxy-password) says='407|[Pp]roxy [Aa]uthentication' ;;
  esac
  # Docker asks its mirror first, and in the end tells what docker.io itself said.
  [ "$(engine_of "$machine")-$fault" = docker-proxy ] || [ "$(engine_of "$machine")" = podman ] || says="$says|the daemon's mirror http://127"
  local environment=(env)
  [ -z "$proxy" ] || environment+=("HTTP_PROXY=$proxy" "http_proxy=$proxy" "HTTPS_PROXY=$proxy" "https_proxy=$proxy" NO_PROXY= no_proxy=)
  [ "$(engine_of "$machine")" = podman ] || environment=(env)
  local start said=$lab/$machine/said code=''
  : >"$said"
  start=$(date +%s.%N)
  inside "${environment[@]}" target/debug/xtask setup --yes >"$said" 2>&1 &
  pid=$!
  for tries in $(seq 600); do
    kill -0 "$pid" 2>/dev/null || break
    # An image is built: what it was to say it has said.
    ! grep -qE '^set-up: (base|node-packages|node|postgres|redis): building' "$said" || [ "$fault" = proxy ] || break
    sleep 0.5
  done
  spent=$(seconds "$start")
  if kill -0 "$pid" 2>/dev/null; then
    inside pkill -INT -x xtask
    code=stopped
  fi
  wait "$pid" || code=${code:-$?}
  cat "$said"
  found=$(grep -m1 -E "$says" "$said" | sed 's/^ *//') || true
  [ -n "$found" ] || { found="nothing says what is wrong: $(tail -n1 "$said")"; return 1; }
  case $fault in
    digest) [ "$(engine_of "$machine")" = docker ] || [ "$code" != stopped ] && [ "$code" != '' ] || { found="it goes on: $found"; return 1; } ;;
    proxy) [ "$code" = '' ] && ! grep -q 'build it from packages' "$said" || { found="not pulled by the proxy: $(grep -m1 'build it from packages' "$said")"; return 1; } ;;
  esac
}
