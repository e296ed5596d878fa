#!/usr/bin/env bash
# kind, compiled from its Go module, for the machine that this runs on.
source images/lib.sh
version=$E2E_VERSION_KIND
mkdir -p "$E2E_OUT/bin"
GOBIN="$E2E_OUT/bin" CGO_ENABLED=0 GOWORK=off go install -trimpath -buildvcs=false -ldflags '-s -w' "sigs.k8s.io/kind@$version"
