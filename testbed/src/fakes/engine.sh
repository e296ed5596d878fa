# What podman and docker do by themselves, on containers and images that are folders, in the words of podman 4.3 and
# docker 26; and kind, whose nodes are such containers. Sourced by program.sh.
engine=$name
[ "$name" != kind ] || engine=${KIND_EXPERIMENTAL_PROVIDER:-docker}
store=$home/$engine

pod() { [ "$engine" = podman ]; }
new_id() { # 64 hexadecimal digits that nothing else has
  next=1
  until mkdir "$store/ids/$next" 2>/dev/null; do next=$((next + 1)); done
  printf '%064x' "$next"
}
json_labels() { # FILE of lines KEY=VALUE
  comma=''
  printf '{'
  while IFS= read -r label; do
    [ -n "$label" ] || continue
    printf '%s"%s": "%s"' "$comma" "${label%%=*}" "${label#*=}"
    comma=', '
  done <"$1"
  printf '}'
}

# ── containers ──
container_of() { # NAME or id: its folder
  [ -d "$store/containers/$1" ] && { folder=$store/containers/$1; return; }
  for folder in "$store/containers/"*; do
    [ -d "$folder" ] || continue
    case $(cat "$folder/id") in "$1"*) return ;; esac
  done
  return 1
}
no_container() {
  if pod; then fail 125 "Error: no container with name or ID \"$1\" found: no such container"; fi
  fail 1 "Error response from daemon: No such container: $1"
}
add_container() { # NAME IMAGE STATUS LABEL…
  if [ -d "$store/containers/$1" ]; then
    taken=$(cat "$store/containers/$1/id")
    again='You have to remove that container to be able to reuse that name'
    if pod; then
      fail 125 "Error: creating container storage: the container name \"$1\" is already in use by $taken. $again: that name is already in use"
    fi
    again='You have to remove (or rename) that container to be able to reuse that name.'
    fail 125 "docker: Error response from daemon: Conflict. The container name \"/$1\" is already in use by container \"$taken\". $again"
  fi
  image_of "$2" || no_registry "$2"
  made=$(mktemp -d "$store/new.XXXXXX")
  new_id >"$made/id"
  printf '%s' "$2" >"$made/image"
  printf '%s' "$3" >"$made/status"
  cp "$image/labels" "$made/labels"
  container_name=$1
  shift 3
  [ $# -eq 0 ] || printf '%s\n' "$@" >>"$made/labels"
  mv "$made" "$store/containers/$container_name"
}
inspect_container() {
  printf '{"Id": "%s", "Name": "%s", "ImageName": "%s", "State": {"Status": "%s"}, "Config": {"Labels": ' \
    "$(cat "$1/id")" "$(pod || printf /)${1##*/}" "$(cat "$1/image")" "$(cat "$1/status")"
  json_labels "$1/labels"
  printf '}, "NetworkSettings": {"Networks": {}}}'
}
has_label() { # FILE KEY or KEY=VALUE
  case $2 in
    *=*) grep -qxF -e "$2" "$1" ;;
    *) grep -q -e "^$2=" -e "^$2\$" "$1" ;;
  esac
}
ps() {
  all='' filters='' short=''
  while [ $# -gt 0 ]; do
    case $1 in
      --all | -a) all=yes ;;
      --quiet | -q) short=yes ;;
      --filter) filters="$filters ${2#label=}" && shift ;;
      --format) [ "$2" != json ] || { say '[]'; return; } && shift ;;
    esac
    shift
  done
  for folder in "$store/containers/"*; do
    [ -d "$folder" ] || continue
    [ -n "$all" ] || [ "$(cat "$folder/status")" = running ] || continue
    for label in $filters; do has_label "$folder/labels" "$label" || continue 2; done
    if [ -n "$short" ]; then cat "$folder/id"; echo; else say "${folder##*/}"; fi
  done
}
rm_containers() {
  while [ $# -gt 0 ]; do
    case $1 in
      --time) shift ;;
      -*) ;;
      # With --force, one that is not there is no error.
      *) if container_of "$1"; then rm -rf "$folder" && say "$1"; elif ! pod; then say "Error response from daemon: No such container: $1" >&2; fi ;;
    esac
    shift
  done
}
run_container() {
  detach='' container='' labels='' entrypoint=''
  while [ $# -gt 0 ]; do
    case $1 in
      --detach) detach=yes ;;
      --name) container=$2 && shift ;;
      --label) labels="$labels $2" && shift ;;
      --label=*) labels="$labels ${1#--label=}" ;;
      --entrypoint) entrypoint=$2 && shift ;;
      --volume | --network | --env | --user | --workdir) shift ;;
      -*) ;;
      *) break ;;
    esac
    shift
  done
  if [ -z "$detach" ]; then
    image_of "$1" || no_registry "$1"
    shift
    # As on this machine: what is compiled here runs there.
    [ "$entrypoint" != getconf ] || getconf "$@"
    return
  fi
  # shellcheck disable=SC2086
  add_container "$container" "$1" running $labels
  cat "$store/containers/$container/id"
  echo
}
exec_in() { # [--interactive] CONTAINER WORD…
  stdin=''
  [ "$1" != --interactive ] || { stdin=yes && shift; }
  container_of "$1" || no_container "$1"
  if [ "$(cat "$folder/status")" != running ]; then
    if pod; then fail 255 'Error: can only create exec sessions on running containers: container state improper'; fi
    fail 1 "Error response from daemon: container $(cat "$folder/id") is not running"
  fi
  shift
  # Its container runtime runs as long as a file is there.
  case "$*" in
    containerd)
      : >"$folder/containerd"
      while [ -e "$folder/containerd" ]; do sleep 0.02; done
      ;;
    'pkill '*) rm -f "$folder/containerd" ;;
    'pgrep '*) [ -e "$folder/containerd" ] ;;
    *) [ -z "$stdin" ] || cat >"$folder/stdin" ;;
  esac
}

# ── images ──
full() { # REFERENCE with its tag
  case ${1##*/} in *:*) printf '%s' "$1" ;; *) printf '%s:latest' "$1" ;; esac
}
image_of() { # REFERENCE or id: its folder
  image=$store/tags/$(full "$1")
  if [ -f "$image" ]; then image=$store/images/$(cat "$image"); else image=$store/images/${1#sha256:}; fi
  [ -d "$image" ]
}
no_image() {
  if pod; then fail 125 "Error: inspecting object: $1: image not known"; fi
  fail 1 "Error response from daemon: No such image: $(full "$1")"
}
no_registry() {
  host=${1%%/*}
  if pod; then
    fail 125 "Error: initializing source docker://$1: pinging container registry $host: Get \"https://$host/v2/\": dial tcp: lookup $host: no such host"
  fi
  fail 1 "Error response from daemon: Get \"https://$host/v2/\": dial tcp: lookup $host: no such host"
}
tag() { # FOLDER REFERENCE
  file=$store/tags/$(full "$2")
  mkdir -p "$(dirname "$file")"
  printf '%s' "${1##*/}" >"$store/new.$$"
  mv "$store/new.$$" "$file"
}
add_image() { # REFERENCE LABEL…
  made=$(mktemp -d "$store/new.XXXXXX")
  reference=$1
  shift
  : >"$made/labels"
  [ $# -eq 0 ] || printf '%s\n' "$@" >>"$made/labels"
  id=$(new_id)
  mv "$made" "$store/images/$id"
  tag "$store/images/$id" "$reference"
}
architecture() { case $(uname -m) in x86_64) echo amd64 ;; aarch64 | arm64) echo arm64 ;; *) uname -m ;; esac; }
inspect_image() {
  printf '{"Id": "%s%s", "Architecture": "%s", "Config": {"Entrypoint": ["/entry"], "Cmd": null, "Labels": ' \
    "$(pod || printf sha256:)" "${1##*/}" "$(architecture)"
  json_labels "$1/labels"
  printf '}}'
}
images() {
  filters='' short='' dangling=''
  while [ $# -gt 0 ]; do
    case $1 in
      --quiet) short=yes ;;
      --filter)
        case $2 in dangling=true) dangling=yes ;; label=*) filters="$filters ${2#label=}" ;; esac
        shift
        ;;
      --filter=label=*) filters="$filters ${1#--filter=label=}" ;;
      --format) shift ;;
    esac
    shift
  done
  if [ -n "$dangling" ]; then
    for image in "$store/images/"*; do
      [ ! -d "$image" ] || named "$image" || say "sha256:${image##*/}"
    done
    return
  fi
  (cd "$store/tags" && find . -type f) | sort | while IFS= read -r reference; do
    reference=${reference#./}
    image_of "$reference" || continue
    for label in $filters; do has_label "$image/labels" "$label" || continue 2; done
    if [ -n "$short" ]; then say "sha256:${image##*/}"; else say "$reference"; fi
  done
}
rmi() {
  code=0
  for reference in "$@"; do
    case $reference in -*) continue ;; esac
    if [ -f "$store/tags/$(full "$reference")" ]; then
      rm "$store/tags/$(full "$reference")"
      say "Untagged: $reference"
    elif [ -d "$store/images/${reference#sha256:}" ]; then
      rm -r "$store/images/${reference#sha256:}"
      say "Deleted: $reference"
    else
      code=1
      say "Error: $reference: image not known" >&2
    fi
  done
  return "$code"
}
named() { grep -rqxF -e "${1##*/}" "$store/tags"; }
prune() { # --filter=label=KEY…: those without a name
  for image in "$store/images/"*; do
    [ -d "$image" ] && ! named "$image" || continue
    for filter in "$@"; do
      case $filter in --filter=label=*) has_label "$image/labels" "${filter#--filter=label=}" || continue 2 ;; esac
    done
    rm -r "$image"
  done
}
build() {
  reference='' labels=''
  while [ $# -gt 0 ]; do
    case $1 in
      --tag) reference=$2 && shift ;;
      --label) labels="$labels $2" && shift ;;
    esac
    shift
  done
  # shellcheck disable=SC2086
  add_image "$reference" $labels
  say "Successfully tagged $reference"
}
commit() {
  labels=''
  while [ $# -gt 2 ]; do
    case $1 in --change) case $2 in LABEL\ *) labels="$labels ${2#LABEL }" ;; esac && shift ;; esac
    shift
  done
  container_of "$1" || no_container "$1"
  # shellcheck disable=SC2086
  add_image "$2" $labels
  say "$id"
}
save() {
  format='' output=''
  while [ $# -gt 0 ]; do
    case $1 in
      --format) format=$2 && shift ;;
      --output) output=$2 && shift ;;
      -*) ;;
      *) reference=$1 ;;
    esac
    shift
  done
  image_of "$reference" || no_image "$reference"
  if [ "$format" != oci-dir ]; then
    mkdir -p "$(dirname "$output")"
    # An empty archive.
    head -c 1024 /dev/zero >"$output"
    return
  fi
  # Nobody looks whether a blob has its digest.
  id=${image##*/} blobs=$output/blobs/sha256
  mkdir -p "$blobs"
  size() { printf '"digest": "sha256:%s", "size": %s' "$1" "$(wc -c <"$blobs/$1")"; }
  printf '{}' >"$blobs/$id"
  printf 'layer of %s' "$reference" >"$blobs/layer$id"
  printf '{"config": {%s}, "layers": [{%s}]}' "$(size "$id")" "$(size "layer$id")" >"$blobs/manifest$id"
  printf '{"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", %s, "annotations": {"org.opencontainers.image.ref.name": "%s"}}]}' \
    "$(size "manifest$id")" "$reference" >"$output/index.json"
}

# ── the rest ──
inspect_all() { # container|image NAME…
  kind=$1 out='' comma=''
  shift
  for each in "$@"; do
    if [ "$kind" = container ]; then
      container_of "$each" || {
        say '[]'
        if pod; then fail 125 "Error: inspecting object: no such container $each"; fi
        no_container "$each"
      }
      out="$out$comma$(inspect_container "$folder")"
    else
      image_of "$each" || { say '[]'; no_image "$each"; }
      out="$out$comma$(inspect_image "$image")"
    fi
    comma=', '
  done
  say "[$out]"
}
volume() {
  case $1 in
    ls)
      for folder in "$store/volumes/"*; do
        [ -d "$folder" ] || continue
        case $* in *--filter\ label=*) has_label "$folder/labels" "${*##*label=}" || continue ;; esac
        say "${folder##*/}"
      done
      ;;
    rm) for each in "$@"; do [ "$each" = rm ] || rm -rf "$store/volumes/$each"; done ;;
  esac
}
no_network() {
  if pod; then fail 1 "Error: unable to find network with name or ID $1: network not found"; fi
  fail 1 "Error response from daemon: network $1 not found"
}
network() {
  case $1 in
    ls) ls "$store/networks" ;;
    exists) [ -e "$store/networks/$2" ] ;;
    inspect)
      # An id, where one is asked for.
      case $2 in --format) [ -e "$store/networks/$4" ] || no_network "$4"; cat "$store/networks/$4"; echo ;; *) say '[]' ;; esac
      ;;
    rm)
      [ -e "$store/networks/$2" ] || no_network "$2"
      rm "$store/networks/$2"
      say "$2"
      ;;
  esac
}
kind_create() {
  while [ $# -gt 0 ]; do
    case $1 in
      --name) cluster=$2 && shift ;;
      --image) node_image=$2 && shift ;;
      --kubeconfig) kubeconfig=$2 && shift ;;
    esac
    shift
  done
  node=$cluster-control-plane
  [ ! -d "$store/containers/$node" ] ||
    fail 1 "ERROR: failed to create cluster: node(s) already exist for a cluster with the name \"$cluster\""
  add_container "$node" "$node_image" running "io.x-k8s.kind.cluster=$cluster" io.x-k8s.kind.role=control-plane
  [ -e "$store/networks/kind" ] || new_id >"$store/networks/kind"
  if pod; then mkdir "$store/volumes/$node" && say "$node=" >"$store/volumes/$node/labels"; fi
  say "apiVersion: v1" >"$kubeconfig"
  say "Creating cluster \"$cluster\" ..." >&2
}

# shellcheck disable=SC2086
if [ "$name" = kind ]; then
  case "$*" in
    'create cluster '*) kind_create "$@" ;;
    'load image-archive '*) ;;
    *) fail 99 "the fake kind has no rule for: $*" ;;
  esac
  exit
fi
command=$1
case $command in
  --version) if pod; then say 'podman version 4.3.1'; else say 'Docker version 26.1.5+dfsg1, build a72d7cd'; fi ;;
  info) case $* in *'--format json') say '{"host": {"security": {"rootless": true}, "cgroupVersion": "v2",
    "cgroupControllers": ["cpu", "memory", "pids"], "pasta": {"executable": "/usr/bin/pasta"}}}' ;; *Version*) say 26.1.5 ;; *) say "$store" ;; esac ;;
  ps) shift && ps "$@" ;;
  container | image)
    case $2 in
      inspect) shift 2 && inspect_all "$command" "$@" ;;
      prune) shift 2 && prune "$@" ;;
      *) fail 99 "the fake $name has no rule for: $*" ;;
    esac
    ;;
  images) shift && images "$@" ;;
  buildx) if pod; then fail 125 'Error: unrecognized command `podman buildx`'; else say 'github.com/docker/buildx 0.13.1+ds1-3'; fi ;;
  run) shift && run_container "$@" ;;
  exec) shift && exec_in "$@" ;;
  port) container_of "$2" && say 127.0.0.1:45678 || no_container "$2" ;;
  rm) shift && rm_containers "$@" ;;
  rmi) shift && rmi "$@" ;;
  tag) image_of "$2" || no_image "$2" && tag "$image" "$3" ;;
  build) shift && build "$@" ;;
  commit) shift && commit "$@" ;;
  save) shift && save "$@" ;;
  pull) no_registry "${3:-$2}" ;;
  manifest) no_registry "$3" ;;
  volume) shift && volume "$@" ;;
  network) shift && network "$@" ;;
  *) fail 99 "the fake $name has no rule for: $*" ;;
esac
