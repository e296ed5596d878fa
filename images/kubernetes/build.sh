#!/usr/bin/env bash
# Kubernetes' commands, compiled from the Go module k8s.io/kubernetes. That module names its staging modules by
# paths inside its own repository; they are published one by one as well (k8s.io/api v0.37.0 goes with v1.37.0).
source images/lib.sh

version=$E2E_VERSION_KUBERNETES # v1.37.0
IFS=. read -r major minor patch <<<"${version#v}"

cd "$E2E_WORK"
go_module kubernetes "k8s.io/kubernetes@$version"
[ -s local-modules.txt ] || die "no staging modules in Kubernetes' go.mod"
while read -r module; do
  # Required as everybody else does, so that what others of these recipes compile of it is the same. Kubernetes itself
  # requires v0.0.0, which is nowhere.
  go_linux mod edit -replace="$module@v0.0.0=$module@v0.$minor.$patch" -require="$module@v0.$minor.$patch"
done <local-modules.txt

flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
  flags+=" -X $package.gitTreeState=clean"
done

# One go build for all seven: they share nearly everything.
commands=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl)
go_programs "$E2E_OUT/bin" "$flags" "${commands[@]/#/k8s.io/kubernetes/cmd/}"
