#!/usr/bin/env bash
# containerd, its shim and ctr, compiled from their Go module. The snapshotters left out need C libraries.
source images/lib.sh
version=$E2E_VERSION_CONTAINERD
cd "$E2E_WORK"
go_module_beside_kubernetes containerd "github.com/containerd/containerd/v2@$version"
# The names of the interface that it serves change from one version to the next: this one it asks for itself.
sed -nE 's/^\t(k8s\.io\/(cri-[a-z]+|streaming)) (v[^ ]+).*/\1 \3/p' "$(go_source "github.com/containerd/containerd/v2@$version")/go.mod" |
  while read -r module asked; do
    go_linux mod edit -replace="$module=$module@$asked"
  done
package=github.com/containerd/containerd/v2/version
tags=urfave_cli_no_docs,no_btrfs,no_devmapper,no_zfs go_programs "$E2E_OUT/bin" "-X $package.Version=$version" \
  github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
