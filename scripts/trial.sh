# Sourced by trials, which docs/testing.md tells of: what is asked of them, and where their outcomes go. A trial defines
# `cases`, which prints a line NAME<tab>SECONDS for each of its cases and `-` for what all of them need once, then calls
# `begin "$@"`, does each case of `todo`, tells what came of it by `record`, and ends with `finish`. What it made it
# removes in `tidy`, which is called however it ends.
# What it leaves running beside it starts by `env --default-signal=INT`: a shell has it ignore SIGINT else, and so it would.
cd "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)"
trial=$(basename "$0" .sh)
root=$PWD
work=$root/target/trials
tidy() { :; }

has_passed() { grep -q "^$1	passed" "$results"; }
begin() { # [--list | NAME…]: sets `head`, `named`, and `todo`, those that have not passed yet
  if [ "${1:-}" = --list ]; then cases; exit; fi
  head=$(git rev-parse --short=12 "${revision:-HEAD}")
  results=$work/$trial-$head.tsv
  mkdir -p "$work"
  touch "$results"
  local name all
  all=$(cases | cut -f1 | sed '/^-$/d')
  named=("$@") todo=()
  [ $# -gt 0 ] || [ -z "$all" ] || mapfile -t named <<<"$all"
  for name in "${named[@]}"; do
    grep -qxF -- "$name" <<<"$all" || { echo "$trial has no case $name" >&2; exit 2; }
    has_passed "$name" || todo+=("$name")
  done
  # A signal goes to all of the group: what was started ends by itself, and until then it holds what is to be removed.
  trap 'exit 130' INT TERM HUP
  trap 'wait; tidy' EXIT
}
record() { # NAME passed|failed WHAT-WAS-FOUND
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$results"
  printf '%s: %s: %s\n' "$1" "$2" "$3"
}
finish() { # the exit code says whether all that were named have passed, now or earlier
  local name
  for name in "${named[@]}"; do has_passed "$name" || exit 1; done
  exit 0
}
build_xtask() { # sets `xtask`, the program itself: what a signal is sent to
  cargo build --quiet --package xtask
  xtask=${CARGO_TARGET_DIR:-target}/debug/xtask
}
seconds() { awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $1 }"; }
