#!/usr/bin/env bash
# Trial: one thing is broken at a time, and the first line that a user sees says which
# Works in a clone of HEAD. For each: the exit code and the first line, which must be as they are told here.
#   scripts/broken.sh [NAME…]     all where none is named
# What was printed is in target/trials/broken/.
set -euo pipefail
. "$(dirname "$0")/trial.sh"
# A full disk is made by mounting a small one.
cases() {
  printf '%s\t%s\n' - 60 rust-error 20 wrong-copy 8 no-api 8 wrong-policy 8 wrong-reference 8 image-never-loaded 8 \
    no-secret 8 wrong-password 95 spec-fails 60 spec-hangs 180 node-killed 60 port-taken 60 port-wanted 60
  [ "$(id -u)" -ne 0 ] || printf '%s\t%s\n' disk-full 30
}
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
. scripts/tree.sh
mkdir -p "$work/broken"
engine=${E2E_ENGINE:-podman}
node() { "$engine" ps --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)"; }
taken='' # the process that has a port
later='' # what is done to a run that is under way
untake() { [ -z "$taken" ] || kill "$taken" 2>/dev/null || true; taken=''; }
unmount() { ! mountpoint -q "$tree/target/e2e" || umount "$tree/target/e2e"; }
tidy() {
  untake
  unmount
  cargo --quiet xtask down gateway >/dev/null 2>&1 || true
}

change() { # FILE SED-SCRIPT: edits a file, and makes sure that something changed
  sed -i "$2" "$1"
  ! git diff --quiet -- "$1" || { echo "$1 has no such place: $2" >&2; exit 1; }
}
in_spec() { # TEXT: the first statement of one spec
  change e2e/src/specs/events.rs "/^async fn s10_/a $1"
}
expect() { codes=$1 line=$2; } # CODE|CODE… EXPRESSION: how it has to end, and what the first line has to say

rust-error() {
  change gateway/src/main.rs '$a const BROKEN: u32 = "text";'
  expect 3 'gateway/src/main.rs:[0-9]+:[0-9]+: error\[E0308\]'
}
wrong-copy() {
  change Dockerfile.gateway 's#^COPY gateway/src/ .*#COPY gateway/sources/ gateway/src/#'
  expect 2 'Dockerfile.gateway:[0-9]+:.* gateway/sources/: it is not in the build context'
}
no-api() {
  change Dockerfile.gateway '/^COPY api\/src/d'
  expect 2 'Dockerfile.gateway:[0-9]+:.* path dependency api'
}
wrong-policy() {
  change Dockerfile.gateway 's#/config.app/gateway/policies/remediation_path.rego$#/config.app/gateway/policies/priority.rego#'
  expect 2 'remediation_path.rego .*nothing puts that into the image'
}
wrong-reference() {
  change manifests/gateway.yaml 's#localhost/kubernaut-gateway:e2e-test#gateway:e2e-test#'
  expect 2 'manifests/gateway.yaml:[0-9]+:.* image `gateway:e2e-test` is built by no part'
}
image-never-loaded() {
  change manifests/redis.yaml 's#redis:8.0#redis:8.0-alpine#'
  expect 2 'manifests/redis.yaml:[0-9]+:.*redis:8.0-alpine'
}
no-secret() {
  change manifests/datastorage.yaml 's#secretName: redis-auth#secretName: redis-password#'
  expect 2 'manifests/datastorage.yaml:[0-9]+:.*redis-password'
}
wrong-password() {
  change manifests/datastorage.yaml 's#secretName: postgresql-auth#secretName: redis-auth#'
  expect 4 'password authentication failed'
}
spec-fails() {
  in_spec '    anyhow::ensure!(std::env::args().count() == 0, "expected no arguments");'
  expect 4 's10_.*expected no arguments'
}
spec-hangs() {
  in_spec '    std::future::pending::<()>().await;'
  expect 4 's10_'
}
disk-full() {
  mkdir -p target/e2e
  mount -t tmpfs -o size=1m full target/e2e
  expect '1|3' 'No space left on device'
}
node-killed() {
  later='until grep -q "specs: begins" "$out.err" || ! kill -0 "$pid"; do sleep 0.2; done; sleep 2; "$engine" kill "$(node)"'
  expect '3|4' 'the node .* ended in the middle'
}
port-taken() {
  python3 -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1 &
  taken=$!
  expect 0 'port 8080 is taken'
}
port-wanted() { # by another container, which is refused: its end takes a rule of ours with it
  later='until port=$("$engine" port "$(node)" 30180) || ! kill -0 "$pid"; do sleep 0.2; done
    ! "$engine" run --rm --network kind --publish "$port:80" "$("$engine" inspect --format "{{.ImageName}}" "$(node)")"'
  expect 0 'restored what .* took from ports: [0-9]+$'
}

for name in "${todo[@]}"; do
  out=$work/broken/$name
  git checkout -q .
  later=''
  "$name"
  cargo build --quiet --package xtask
  start=$(date +%s.%N)
  code=0
  env --default-signal=INT cargo --quiet xtask e2e gateway --yes --timeout 10 >"$out" 2>"$out.err" &
  pid=$!
  [ -z "$later" ] || (eval "$later") >/dev/null 2>&1 || true
  wait "$pid" || code=$?
  took=$(seconds "$start")
  untake
  unmount
  # The summary's first line; an error before the run has begun; a notice of a run that was green all the same.
  first=$(grep -m1 -E '^(step|spec) .* failed: ' "$out" || grep -m1 -E '^error(\[[a-z-]+\])?: ' "$out.err" || grep -m1 'is taken' "$out.err" || grep -m1 -oh 'restored what[^"]*' target/e2e/gateway/latest/events.jsonl || tail -n1 "$out.err")
  verdict=failed
  if [[ "|$codes|" == *"|$code|"* ]] && grep -qE -- "$line" <<<"$first"; then verdict=passed; fi
  record "$name" "$verdict" "exit $code, $took s: $first"
done
git checkout -q .
finish
