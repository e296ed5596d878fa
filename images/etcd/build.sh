#!/usr/bin/env bash
# etcd, compiled from its Go module (its main package is the module's root).
source images/lib.sh
version=$E2E_VERSION_ETCD
cd "$E2E_WORK"
go_module etcd "go.etcd.io/etcd/server/v3@$version"
mkdir -p "$E2E_OUT/bin"
go_linux build -mod=mod -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags '-s -w' -o "$E2E_OUT/bin/etcd" go.etcd.io/etcd/server/v3
