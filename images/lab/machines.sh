# Sourced by lab.sh: a machine is started, entered and stopped here. `machine` is the one that a row is for: `host` is this
# one itself, which the others are compared with; `docker` and `podman` have no registry, `…-mirror` have one on
# loopback, and `…-fault` one that something is wrong with.
prefix=gateway-e2e-lab
run_env=()
for variable in E2E_DEBIAN_MIRROR HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  if [ -n "${!variable:-}" ]; then run_env+=(--env "$variable"); fi
done
settings=${XDG_CACHE_HOME:-$HOME/.cache}/gateway-e2e/containers.conf
[ -n "${CONTAINERS_CONF:-}" ] || [ ! -e "$settings" ] || export CONTAINERS_CONF=$settings

machine_of() { # ROW's name
  case $1 in
    *-mirror-* | *-fault-*) cut -d- -f1-2 <<<"$1" ;;
    *) cut -d- -f1 <<<"$1" ;;
  esac
}
engine_of() { if [ "$1" = host ]; then echo podman; else echo "${1%%-*}"; fi; }
route_of() {
  case $1 in
    *-mirror-*) echo mirror ;;
    *-fault-*) echo "mirror, ${1##*-fault-}" ;;
    *) echo none ;;
  esac
}
# inside WORD…: a command on the machine, in its checkout. Standard output and error are the caller's.
inside() {
  if [ "$machine" = host ]; then
    ( cd "$lab/host/checkout" && exec "$@" )
  else
    podman exec --workdir /lab/checkout "$prefix-$machine" "$@"
  fi
}
system() { inside sh -c '. /etc/os-release; echo "$NAME $VERSION_ID" | sed "s#GNU/Linux ##"' 2>/dev/null || echo '?'; }
engine_version() { # the engine's, or what stands in its place where it does not answer
  case $(engine_of "$machine") in
    docker) inside docker info --format 'docker {{.ServerVersion}}' 2>/dev/null || echo docker ;;
    podman) inside podman version --format 'podman {{.Client.Version}}' 2>/dev/null || echo podman ;;
  esac
}
cgroup() { if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo v2; else echo v1; fi; }

checkout() { # the machine's own clone of the revision; what was compiled there stays
  local folder=$lab/$machine/checkout
  mkdir -p "$lab/$machine"
  [ -d "$folder" ] || git clone --quiet "$root" "$folder"
  git -C "$folder" fetch --quiet "$root" HEAD '+refs/heads/*:refs/remotes/lab/*'
  git -C "$folder" checkout --quiet --force "$head"
  git -C "$folder" clean -qfd
}
pieces() { # what this host has compiled already: the same keys, so that nothing is compiled twice
  local from=${XDG_CACHE_HOME:-$HOME/.cache}/gateway-e2e/pieces to=$lab/$machine/cache/gateway-e2e/pieces piece
  mkdir -p "$to"
  for piece in "$from"/*; do
    [ ! -d "$piece" ] || [ -e "$to/${piece##*/}" ] || cp -al "$piece" "$to/" || cp -a "$piece" "$to/"
  done
}
image() { # the machine's image, made where it is not there; named after all that it is made of
  local engine=$1 tag
  tag=localhost/$prefix:$engine-$({ cat $here/machine.sh; grep -E 'lab-debian|engine_packages' images/setup.yaml; } | sha256sum | cut -c1-12)
  podman image exists "$tag" || $here/machine.sh "$engine" "$tag" >&2
  echo "$tag"
}
discard() { podman rm --force --time 0 "$prefix-$machine" >/dev/null 2>&1 || true; podman volume rm --force "$prefix-$machine" >/dev/null; }
enter() { # MACHINE ROW: it runs, its engine answers, and its checkout is HEAD's
  machine=$1
  checkout
  [ "$machine" != host ] || return 0
  entered+=("$prefix-$machine")
  local engine state storage=/var/lib/containers image
  engine=$(engine_of "$machine")
  [ "$engine" = podman ] || storage=/var/lib/docker
  case $2 in
    setup | [34]* | hang | digest | proxy*) discard ;; # they begin with nothing
  esac
  state=$(podman container inspect --format '{{.State.Status}}' "$prefix-$machine" 2>/dev/null || true)
  if [ -z "$state" ]; then
    pieces
    image=$(image "$engine") || return 1
    local certificates=() modules
    [ -z "${SSL_CERT_FILE:-}" ] || certificates=(--volume "$SSL_CERT_FILE:/etc/ssl/certs/ca-certificates.crt:ro" --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt)
    modules=$(go env GOMODCACHE)
    mkdir -p "$modules"
    podman volume exists "$prefix-$machine" || podman volume create --label gateway-e2e.lab.machine="$machine" "$prefix-$machine" >/dev/null
    # A network of its own: what it does to addresses and rules is no matter of the host's.
    podman run --detach --name "$prefix-$machine" --label gateway-e2e.lab.machine="$machine" --hostname "lab-$engine" \
      --privileged --cgroupns host --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --volume "$prefix-$machine:$storage" \
      --volume "$lab/$machine:/lab" --volume "$lab/bin:/lab/bin:ro" --volume "$lab/registry:/lab/registry:ro" \
      --volume "${CARGO_HOME:-$HOME/.cargo}:/root/.cargo" --volume "${RUSTUP_HOME:-$HOME/.rustup}:/root/.rustup:ro" \
      --volume "$(go env GOROOT):/usr/local/go:ro" --volume "$modules:/root/go/pkg/mod:ro" \
      ${certificates[@]+"${certificates[@]}"} ${run_env[@]+"${run_env[@]}"} --env HOME=/root --env XDG_CACHE_HOME=/lab/cache \
      --env PATH=/root/.cargo/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      --env CARGO_TERM_COLOR=never "$image" >/dev/null || return 1
    inside mkdir -p /lib/modules
  elif [ "$state" != running ]; then
    podman start "$prefix-$machine" >/dev/null || return 1
  fi
  case $machine in *-mirror) route mirror ;; *) route none ;; esac
}
# route none|mirror|FAULT: what the engine finds where it looks for docker.io; its daemon is started anew.
route() {
  local mirror='' location='' login=lab:secret
  inside pkill -x registry || true
  inside pkill -x faults || true
  if [ "$1" != none ]; then
    registry_is_filled && publish || return 1
    podman exec --detach "$prefix-$machine" sh -c 'exec /lab/bin/registry serve /lab/bin/registry.yaml >/lab/registry.log 2>&1'
    mirror=http://127.0.0.1:5000
    case $1 in
      mirror) ;;
      403 | 429) begin_faults refuse "$1" && mirror=http://127.0.0.1:5001 ;;
      hang) begin_faults hang && mirror=http://127.0.0.1:5001 ;;
      digest) begin_faults digest http://127.0.0.1:5000 && mirror=http://127.0.0.1:5001 ;;
      proxy | proxy-password) begin_faults proxy http://127.0.0.1:5000 "$login" && mirror=http://registry.lab.test ;;
    esac
    location=${mirror#http://}
  fi
  case $1 in proxy-password) login=lab:wrong ;; esac
  proxy=''
  case $1 in proxy*) proxy=http://$login@127.0.0.1:5001 ;; esac
  case $(engine_of "$machine") in
    podman)
      inside mkdir -p /etc/containers/registries.conf.d
      inside sh -c 'cat >/etc/containers/registries.conf.d/lab.conf' </dev/null
      # With the mirror in the place of docker.io, and not before it: a public registry says nothing here.
      [ -z "$location" ] || podman exec --interactive "$prefix-$machine" sh -c 'cat >/etc/containers/registries.conf.d/lab.conf' <<CONF
[[registry]]
prefix = "docker.io"
location = "$location"
insecure = true
CONF
      ;;
    docker)
      local json='{}'
      [ -z "$mirror" ] || json="{\"registry-mirrors\": [\"$mirror\"]}"
      [ -z "$proxy" ] || json="{\"registry-mirrors\": [\"$mirror\"], \"proxies\": {\"http-proxy\": \"$proxy\", \"https-proxy\": \"$proxy\"}}"
      if [ "$(inside cat /etc/docker/daemon.json 2>/dev/null)" = "$json" ] && inside docker info >/dev/null 2>&1; then return; fi
      inside mkdir -p /etc/docker
      podman exec --interactive "$prefix-$machine" sh -c 'cat >/etc/docker/daemon.json' <<<"$json"
      # Its containerd ends with it; a second one would wait for the first one's lock.
      inside sh -c 'pkill -x dockerd; for n in $(seq 600); do pgrep -x "dockerd|containerd" >/dev/null || break; sleep 0.1; done; rm -rf /run/docker.pid /run/docker/containerd'
      podman exec --detach "$prefix-$machine" sh -c 'exec dockerd --exec-opt native.cgroupdriver=cgroupfs >/lab/dockerd.log 2>&1'
      inside sh -c 'for n in $(seq 300); do docker info >/dev/null 2>&1 && exit; sleep 0.2; done; echo "dockerd does not answer after 60 s:"; tail -n3 /lab/dockerd.log; exit 1'
      ;;
  esac
}
publish() { # the checkout wants the node image that this registry has, as its publisher would say
  local digest tag
  tag=$(sed -n 's/^  kubernetes: \([^ ]*\).*/\1/p' "$lab/$machine/checkout/images/setup.yaml")
  digest=$(cat "$lab/registry/docker/registry/v2/repositories/kindest/node/_manifests/tags/$tag/current/link") || return 1
  sed -i "s/^    digest: sha256:[0-9a-f]*/    digest: $digest/" "$lab/$machine/checkout/images/setup.yaml"
}
begin_faults() {
  podman exec --detach "$prefix-$machine" sh -c 'exec /lab/bin/faults 127.0.0.1:5001 "$@" >/lab/faults.log 2>&1' sh "$@"
}
# The registry with the images that this host has built, as a publisher's would be: under their public names, without the
# label that says what they are.
registry_is_filled() {
  local name version pid images filled
  images=$(podman images --filter label=gateway-e2e.stand-in --format '{{.Repository}}:{{.Tag}} {{.ID}}' | grep '^docker.io/' | sort -u)
  [ -n "$images" ] || { echo 'this host has built no images: run cargo xtask setup'; return 1; }
  filled=$lab/registry/filled-$(sha256sum <<<"$images" | cut -c1-12)
  [ ! -e "$filled" ] || return 0
  mkdir -p "$lab/bin" "$lab/registry"
  version=$(sed -n 's/^  lab-registry: \([^ ]*\).*/\1/p' images/setup.yaml)
  [ -x "$lab/bin/registry" ] || CGO_ENABLED=0 GOBIN=$lab/bin go install "github.com/distribution/distribution/v3/cmd/registry@$version" || return 1
  ( cd $here/faults && CGO_ENABLED=0 go build -o "$lab/bin/faults" . ) || return 1
  printf 'version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: false}}\nhttp: {addr: "%s"}\n' \
    /lab/registry 127.0.0.1:5000 >"$lab/bin/registry.yaml"
  sed "s#/lab/registry#$lab/registry#; s#127.0.0.1:5000#127.0.0.1:0#" "$lab/bin/registry.yaml" >"$lab/bin/fill.yaml"
  OTEL_TRACES_EXPORTER=none "$lab/bin/registry" serve "$lab/bin/fill.yaml" >"$lab/fill.log" 2>&1 &
  pid=$!
  local port='' tries
  for tries in $(seq 50); do
    port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$lab/fill.log" | head -n1)
    [ -z "$port" ] || break
    sleep 0.2
  done
  [ -n "$port" ] || { kill "$pid"; echo "the registry does not start: $(tail -n1 "$lab/fill.log")"; return 1; }
  local all=yes container
  while read -r name _; do
    container=$(buildah from --pull-never "$name") &&
      buildah config --label gateway-e2e.stand-in- "$container" &&
      buildah commit --quiet --tls-verify=false "$container" "docker://127.0.0.1:$port/${name#docker.io/}" || all=''
    [ -z "$container" ] || buildah rm "$container" >/dev/null
    [ -n "$all" ] || break
  done <<<"$images"
  kill "$pid"
  wait "$pid" || true
  [ -n "$all" ] || { echo "filling the registry with $name failed"; return 1; }
  : >"$filled"
}
entered=()
stop_machines() { # those of this call: another one may use others
  [ ${#entered[@]} -eq 0 ] || podman stop --ignore --time 2 "${entered[@]}" >/dev/null 2>&1
}
