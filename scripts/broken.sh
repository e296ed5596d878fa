#!/usr/bin/env bash
# Breaks one thing at a time on purpose and shows the first line that a user sees, how long it took, and the exit code.
#   scripts/broken.sh [NAME…]     default: all
# Works in a clone of HEAD; what was printed is in target/trials/broken/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/tree.sh
mkdir -p "$work/broken"
engine=${E2E_ENGINE:-podman}
node() { "$engine" ps --quiet --filter "label=gateway-e2e.checkout=$(pwd -P)"; }
later='' # what is done to a run that is under way

change() { # FILE SED-SCRIPT: edits a file, and makes sure that something changed
  sed -i "$2" "$1"
  ! git diff --quiet -- "$1" || { echo "$1 has no such place: $2" >&2; exit 1; }
}
in_spec() { # TEXT: the first statement of one spec
  change e2e/src/specs/events.rs "/^async fn s10_/a $1"
}

rust-error() { change gateway/src/main.rs '$a const BROKEN: u32 = "text";'; }
wrong-copy() { change Dockerfile.gateway 's#^COPY gateway/src/ .*#COPY gateway/sources/ gateway/src/#'; }
no-api() { change Dockerfile.gateway '/^COPY api\/src/d'; }
wrong-policy() { change Dockerfile.gateway 's#/config.app/gateway/policies/remediation_path.rego$#/config.app/gateway/policies/priority.rego#'; }
wrong-reference() { change manifests/gateway.yaml 's#localhost/kubernaut-gateway:e2e-test#gateway:e2e-test#'; }
image-never-loaded() { change manifests/redis.yaml 's#redis:7.0-bookworm#redis:7.0-alpine#'; }
no-secret() { change manifests/datastorage.yaml 's#secretName: redis-auth#secretName: redis-password#'; }
wrong-password() { change manifests/datastorage.yaml 's#secretName: postgresql-auth#secretName: redis-auth#'; }
spec-fails() { in_spec '    anyhow::ensure!(std::env::args().count() == 0, "expected no arguments");'; }
spec-hangs() { in_spec '    std::future::pending::<()>().await;'; }
disk-full() { mkdir -p target/e2e; mount -t tmpfs -o size=1m full target/e2e; }
node-killed() { later='until grep -q "specs: begins" "$out.err"; do sleep 0.2; done; sleep 2; "$engine" kill "$(node)"'; }
port-taken() { python3 -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1 & taken=$!; }

[ $# -gt 0 ] || set -- rust-error wrong-copy no-api wrong-policy wrong-reference image-never-loaded no-secret \
  wrong-password spec-fails spec-hangs disk-full node-killed port-taken
cargo build --quiet --package xtask
cargo xtask down gateway >/dev/null
for name in "$@"; do
  out=$work/broken/$name taken=''
  git checkout -q .
  later=''
  "$name"
  cargo build --quiet --package xtask
  start=$(date +%s.%N)
  code=0
  cargo --quiet xtask e2e gateway --yes >"$out" 2>"$out.err" &
  pid=$!
  [ -z "$later" ] || (eval "$later") >/dev/null
  wait "$pid" || code=$?
  took=$(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $start }")
  [ -z "$taken" ] || kill "$taken"
  ! mountpoint -q target/e2e || umount target/e2e
  # The summary's first line; an error before the run has begun; a notice of a run that was green all the same.
  first=$(grep -m1 -E '^(step|spec) .* failed: ' "$out" || grep -m1 '^error: ' "$out.err" || grep -m1 'is taken' "$out.err")
  printf '%s (exit %s, %s s)\n    %s\n' "$name" "$code" "$took" "$first"
done
git checkout -q .
