#!/usr/bin/env bash
# etcd, kube-apiserver and the kubectl that goes with it, for this machine itself: for runs that have an API server and
# no nodes. They are compiled as ../kubernetes and ../etcd do it, without the five other commands.
source images/lib.sh

version=$E2E_VERSION_KUBERNETES # v1.37.0
IFS=. read -r major minor patch <<<"${version#v}"
go_os=$(go env GOHOSTOS)

mkdir "$E2E_WORK/kubernetes" "$E2E_WORK/etcd"
cd "$E2E_WORK/kubernetes"
go_module kubernetes "k8s.io/kubernetes@$version"
[ -s local-modules.txt ] || die "no staging modules in Kubernetes' go.mod"
while read -r module; do
  go_linux mod edit -replace="$module@v0.0.0=$module@v0.$minor.$patch" -require="$module@v0.$minor.$patch"
done <local-modules.txt

flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
  flags+=" -X $package.gitTreeState=clean"
done
go_programs "$E2E_OUT/bin" "$flags" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl

cd "$E2E_WORK/etcd"
go_module_beside_kubernetes etcd "go.etcd.io/etcd/server/v3@$E2E_VERSION_ETCD"
go_programs programs '' go.etcd.io/etcd/server/v3
mv programs/server "$E2E_OUT/bin/etcd"
