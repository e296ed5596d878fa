#!/usr/bin/env bash
source images/lib.sh
engine_build images/postgres --build-arg "BASE=$E2E_NEED_BASE" --build-arg "MAJOR=$E2E_VERSION_POSTGRES"
