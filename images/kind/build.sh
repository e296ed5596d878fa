#!/usr/bin/env bash
# kind, compiled from its Go module, for the machine that this runs on.
source images/lib.sh
version=$E2E_VERSION_KIND
go_os=$(go env GOHOSTOS)
cd "$E2E_WORK"
go_module kind "sigs.k8s.io/kind@$version"
go_programs "$E2E_OUT/bin" '' sigs.k8s.io/kind
