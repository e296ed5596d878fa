#!/usr/bin/env bash
# The lab: machines of another system than this one, each in a container of the host's podman, and what the commands do
# there. `cargo xtask lab` calls it, and makes docs/lab.md of what it records; README.md in this folder tells the rest.
#   images/lab/lab.sh --list            the rows, each with about how many seconds it takes
#   images/lab/lab.sh ROW…              those rows; one that has passed at this revision is not run again
#   images/lab/lab.sh --remove          what it left on this machine
# E2E_LAB_REVISION names another revision to try than HEAD; the recipes are those that are here.
. "$(dirname "$0")/../../scripts/trial.sh"
set -euo pipefail
lab=$work/lab
revision=${E2E_LAB_REVISION:-HEAD}
here=images/lab
. "$here/rows.sh"
cases() {
  local engine moment fault
  printf 'host-%s\t%s\n' nothing 200 edit 90 reuse 100
  for engine in docker podman; do
    printf '%s-%s\t%s\n' "$engine" setup 150 "$engine" nothing 260 "$engine" edit 90 "$engine" reuse 100 "$engine" up-down 60
    for moment in "${moments[@]}"; do printf '%s-%s\t%s\n' "$engine" "INT-$moment" $(( 90 + moment )); done
    printf '%s-gc\t%s\n' "$engine" 120
  done
  for engine in docker podman; do
    printf '%s-mirror-%s\t%s\n' "$engine" setup 120 "$engine" nothing 260 "$engine" edit 60
    for fault in "${faults[@]}"; do printf '%s-fault-%s\t%s\n' "$engine" "$fault" 60; done
  done
}
# What is left of a machine is kept between calls, so that a row can be run again: its checkout, its cache, its images.
machines() { podman ps --all --quiet --filter label=gateway-e2e.lab.machine; }
if [ "${1:-}" = --remove ]; then
  mapfile -t ids < <(machines)
  [ ${#ids[@]} -eq 0 ] || podman rm --force --time 0 "${ids[@]}" >/dev/null
  mapfile -t ids < <(podman volume ls --quiet --filter label=gateway-e2e.lab.machine)
  [ ${#ids[@]} -eq 0 ] || podman volume rm "${ids[@]}" >/dev/null
  mapfile -t ids < <(podman images --quiet --filter label=gateway-e2e.lab)
  [ ${#ids[@]} -eq 0 ] || podman rmi --force "${ids[@]}" >/dev/null
  rm -rf "$lab"
  exit
fi
begin "$@"
[ ${#todo[@]} -gt 0 ] || finish
mkdir -p "$lab"/{logs,bin,registry}
# shellcheck source=images/lab/machines.sh
. "$here/machines.sh"
tidy() { stop_machines; }
# Read as a whole before it begins: it may be edited meanwhile.
{
for name in "${todo[@]}"; do
  log=$lab/logs/$name-$head.log found='' spent='' verdict=passed
  : >"$log"
  machine=$(machine_of "$name") row=${name#"$machine"-}
  if ! enter "$machine" "$row" >>"$log" 2>&1; then
    verdict=failed found="the machine does not start: $(tail -n1 "$log")"
  else
    case $machine in *-fault) call=row_fault ;; *) call=row_${row%%-*} ;; esac
    "$call" "$row" >>"$log" 2>&1 || verdict=failed
  fi
  # Tabs part the columns.
  found=$(tr '\t\n' '  ' <<<"${found:-see its log}" | sed 's/ *$//')
  record "$name" "$verdict" "$(printf '%s\t' "${spent:-}" "$(system)" "$(engine_version)" "$(cgroup)" "$(route_of "$name")" "$(date -u +%FT%TZ)")$found"
done
finish
}
