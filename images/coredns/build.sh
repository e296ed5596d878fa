#!/usr/bin/env bash
# CoreDNS with its ordinary plugins, compiled from its Go module.
source images/lib.sh
version=$E2E_VERSION_COREDNS
cd "$E2E_WORK"
go_module coredns "github.com/coredns/coredns@$version"
mkdir -p "$E2E_OUT/bin"
go_linux build -mod=mod -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags '-s -w' -o "$E2E_OUT/bin/coredns" github.com/coredns/coredns
