#!/usr/bin/env bash
source images/lib.sh
engine_build images/redis --build-arg "BASE=$E2E_NEED_BASE"
