#!/usr/bin/env bash
# CoreDNS with its ordinary plugins, compiled from its Go module.
source images/lib.sh
version=$E2E_VERSION_COREDNS
cd "$E2E_WORK"
go_module coredns "github.com/coredns/coredns@$version"
go_programs "$E2E_OUT/bin" '' github.com/coredns/coredns
