#!/usr/bin/env bash
# crictl, compiled from the Go module sigs.k8s.io/cri-tools: it lists the node's containers and shows what they wrote,
# also where no API server answers.
source images/lib.sh
version=$E2E_VERSION_CRICTL
cd "$E2E_WORK"
go_module_beside_kubernetes crictl "sigs.k8s.io/cri-tools@$version"
go_programs "$E2E_OUT/bin" "-X sigs.k8s.io/cri-tools/pkg/version.Version=$version" sigs.k8s.io/cri-tools/cmd/crictl
