#!/usr/bin/env bash
# Measures: each command on this machine, as a report to send in; above all for Macs, where nobody has run them yet
# Works in a clone of HEAD, takes 15 to 40 minutes, and removes what it made in the engine.
#   scripts/report.sh      the report is target/report/report.md, the logs lie beside it
#   E2E_ENGINE             podman or docker, where both are there
# Holds to bash 3.2 and to what the tools of macOS and of Linux have in common.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD out=$PWD/target/report tree=$PWD/target/report/tree suite=gateway
report=$out/report.md
mkdir -p "$out" && rm -rf "$tree" "$out"/*.log
git clone --quiet "$root" "$tree" || exit 1
cd "$tree" || exit 1
say() { printf '%s\n' "$*" | tee -a "$report"; }
of() { "$@" 2>/dev/null | head -n 1; }
clean() { cargo --quiet xtask down $suite >/dev/null 2>&1; }
trap 'clean; exit 130' INT TERM HUP

: >"$report"
say "# Report of $(git rev-parse --short HEAD), $(date -u +%F)"
say
say '| | |'
say '|---|---|'
say "| system | $(uname -srm), $(if [ "$(uname)" = Darwin ]; then echo "macOS $(of sw_vers -productVersion)"; else sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release; fi) |"
say "| cores, memory | $(of getconf _NPROCESSORS_ONLN), $(if [ "$(uname)" = Darwin ]; then echo "$(( $(sysctl -n hw.memsize) / 1000000 )) MB"; else awk '/MemTotal/ { print int($2 / 1000 * 1.024) " MB" }' /proc/meminfo; fi) |"
say "| rust, go | $(of rustc --version); $(of go version) |"
say "| podman | $(of podman version --format '{{.Client.Version}}, server {{.Server.Version}}') |"
say "| its machine | $(of podman machine list --noheading --format '{{.VMType}} {{.CPUs}} cores, {{.Memory}}, {{.DiskSize}}') |"
say "| docker | $(of docker version --format '{{.Client.Version}}, server {{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}') |"
say "| its machine | $(of docker info --format '{{.OperatingSystem}}, {{.NCPU}} cores, {{.MemTotal}} bytes') |"
say
say '| what | exit code | seconds | its last line |'
say '|---|---|---|---|'

failed=''
row() { # NAME CODE SECONDS LOG
  say "| $1 | $2 | $3 | $(tail -n 1 "$4" | tr '|' '/' | cut -c 1-200) |"
  [ "$2" = 0 ] || failed="$failed $4"
}
try() { # NAME COMMAND…
  local name=$1 log code start=$SECONDS
  log=$out/$(printf '%s' "$1" | tr -c 'a-zA-Z0-9' '-').log
  shift
  "$@" >"$log" 2>&1
  code=$?
  row "$name" $code $(( SECONDS - start )) "$log"
}
edit() { printf '#[used] static REPORT: u64 = %s;\n' "$SECONDS" >>gateway/src/main.rs; }
names() { # all that the engines have of this checkout
  for engine in podman docker; do
    "$engine" ps --all --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)" 2>/dev/null
  done
}
# A run is interrupted as Ctrl-C does it: the whole group gets the signal, which `set -m` gives it.
interrupted() { # AFTER-SECONDS
  set -m
  cargo xtask e2e $suite --yes &
  local pid=$! code end
  sleep "$1"
  kill -INT -"$pid"
  end=$SECONDS
  wait "$pid"
  code=$?
  set +m
  echo "exit code $code, $(( SECONDS - end )) s after the signal, left: $(names | wc -l | tr -d ' ') containers"
  [ "$code" = 130 ] && [ $(( SECONDS - end )) -le 10 ] && [ -z "$(names)" ]
}

try 'compile xtask' cargo build --package xtask
try 'setup --check' cargo xtask setup --check
try check cargo xtask check
try plan cargo xtask plan $suite
try 'e2e, from nothing' cargo xtask e2e $suite --yes
try 'e2e, nothing changed' cargo xtask e2e $suite --yes
edit
try 'e2e, after an edit' cargo xtask e2e $suite --yes
edit
try 'e2e --build container, after an edit' cargo xtask e2e $suite --yes --build container
try up cargo xtask up $suite --yes
edit
try 'e2e --reuse, after an edit' cargo xtask e2e $suite --yes --reuse
try status cargo xtask status $suite
try logs cargo xtask logs $suite gateway
try 'down, nothing is left' sh -c "cargo xtask down $suite && [ -z \"\$(podman ps -aq --filter label=gateway-e2e.checkout=$PWD 2>/dev/null; docker ps -aq --filter label=gateway-e2e.checkout=$PWD 2>/dev/null)\" ]"
for after_s in 3 10 20; do try "Ctrl-C after $after_s s" interrupted $after_s; done
try 'e2e after them' cargo xtask e2e $suite --yes
try test cargo xtask test --yes
try gc cargo xtask gc
clean

for log in $failed; do
  say
  say "## The end of $(basename "$log")"
  say
  say '```text'
  say "$(tail -n 40 "$log")"
  say '```'
done
echo
echo "the report is $report"
