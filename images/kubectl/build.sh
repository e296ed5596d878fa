#!/usr/bin/env bash
# kubectl, as it comes out of Kubernetes' own build.
source images/lib.sh
mkdir -p "$E2E_OUT/bin"
install -m 755 "$E2E_NEED_KUBERNETES/bin/kubectl" "$E2E_OUT/bin/kubectl"
