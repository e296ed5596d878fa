#!/usr/bin/env bash
source images/lib.sh
engine_build images/python --build-arg "BASE=$E2E_NEED_BASE" --build-arg "VERSION=$E2E_VERSION_PYTHON"
