#!/usr/bin/env bash
# crictl, compiled from the Go module sigs.k8s.io/cri-tools: it lists the node's containers and shows what they wrote,
# also where no API server answers.
source images/lib.sh
version=$E2E_VERSION_CRICTL
kubernetes=$E2E_VERSION_KUBERNETES # v1.34.3
IFS=. read -r _ minor patch <<<"${kubernetes#v}"

# With the very versions of Kubernetes' own modules, most of what crictl consists of is compiled already where
# Kubernetes was compiled on this machine, and the other way round.
cd "$E2E_WORK"
go_module crictl "k8s.io/kubernetes@$kubernetes"
go_linux mod edit -droprequire=k8s.io/kubernetes -require="sigs.k8s.io/cri-tools@$version"
replaces=()
while read -r module chosen; do
  if grep -qxF "$module" local-modules.txt; then chosen=v0.$minor.$patch; fi
  replaces+=("-replace=$module=$module@$chosen")
done < <(sed -nE 's/^\t([^ ]+) (v[^ ]+).*/\1 \2/p' go.mod | grep -v '^sigs.k8s.io/cri-tools ')
go_linux mod edit "${replaces[@]}"
go_programs "$E2E_OUT/bin" "-X sigs.k8s.io/cri-tools/pkg/version.Version=$version" sigs.k8s.io/cri-tools/cmd/crictl
