#!/usr/bin/env bash
# Trial: the patches of the trial faults turn the same specs red where everything is a plain process
# Not sampled: a sample has cases of faults, which runs the same patches on a cluster
# Each run begins anew: there is no cluster that could stay.
ON=processes
. "$(dirname "$0")/faults.sh"
