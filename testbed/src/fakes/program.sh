#!/bin/sh
# Every fake program is a link to this file. It notes the call, then plays the newest rule that matches, else what the
# program does by itself. `mod.rs` beside it writes all that is read here.
name=${0##*/}
home=${0%/bin/*}
read -r PATH <"$home/path"
export PATH
read -r here <"$home/here"

noted=''
read -r variables <"$home/variables" || true
for variable in $variables; do
  eval "value=\${$variable-}; there=\${$variable+yes}"
  [ -z "$there" ] || noted="$noted$variable=$value
"
done
# In one write, for calls come side by side.
printf '%s\037' "$name" "$noted" "$#" "$@" >>"$home/journal"

# take RULE TIMES: whether the rule has been played fewer times than that; counts this one.
take() {
  nth=1
  while [ "$nth" -le "$2" ]; do
    mkdir "$home/rules/$name/$1.$nth" 2>/dev/null && return
    nth=$((nth + 1))
  done
  return 1
}
say() { printf '%s\n' "$@"; }
fail() { # CODE TEXT
  printf '%s\n' "$2" >&2
  exit "$1"
}

for rule in "$home/rules/$name/"*.sh; do
  # shellcheck disable=SC1090
  [ ! -f "$rule" ] || . "$rule"
done
case $name in
  podman | docker | kind) . "$here/engine.sh" ;;
  iptables | ip) [ "$name" = iptables ] || say '[]' ;;
  *) fail 99 "the fake $name has no rule for: $*" ;;
esac
