#!/usr/bin/env bash
# The node image of kind, with the control plane's images inside.
source images/lib.sh

mkdir -p "$E2E_WORK/pause"
(cd images/node/pause && GO111MODULE=off go_linux build -trimpath -ldflags '-s -w' -o "$E2E_WORK/pause/pause" main.go)

# With the right to mount, the control plane's images are unpacked here instead of in every new cluster. (Docker's
# builder has no such option.)
rights=()
if "$E2E_ENGINE" --version | grep -qi podman; then rights=(--cap-add CAP_SYS_ADMIN); fi

engine_build images/node ${rights[@]+"${rights[@]}"} \
  --build-arg "PACKAGES=$E2E_NEED_NODE_PACKAGES" \
  --build-context "kubernetes=$E2E_NEED_KUBERNETES/bin" \
  --build-context "etcd=$E2E_NEED_ETCD/bin" \
  --build-context "coredns=$E2E_NEED_COREDNS/bin" \
  --build-context "crictl=$E2E_NEED_CRICTL/bin" \
  --build-context "containerd=$E2E_NEED_CONTAINERD/bin" \
  --build-context "pause=$E2E_WORK/pause" \
  --build-arg "KUBERNETES_VERSION=$E2E_VERSION_KUBERNETES" \
  --build-arg "ETCD_IMAGE=${E2E_VERSION_ETCD#v}-0" \
  --build-arg "COREDNS_VERSION=$E2E_VERSION_COREDNS" \
  --build-arg "PAUSE_VERSION=$E2E_VERSION_PAUSE"
