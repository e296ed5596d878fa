#!/usr/bin/env bash
# etcd, compiled from its Go module (its main package is the module's root).
source images/lib.sh
version=$E2E_VERSION_ETCD
cd "$E2E_WORK"
go_module_beside_kubernetes etcd "go.etcd.io/etcd/server/v3@$version"
go_programs programs '' go.etcd.io/etcd/server/v3
mkdir -p "$E2E_OUT/bin"
mv programs/server "$E2E_OUT/bin/etcd"
