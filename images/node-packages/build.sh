#!/usr/bin/env bash
# Debian's part of a node, which needs nothing compiled: it is made while Kubernetes is.
source images/lib.sh
engine_build images/node-packages --build-arg "BASE=$E2E_NEED_BASE"
