# Sourced by the recipes. What they are given is described in README.md.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

: "${E2E_WORK:?an empty scratch folder}"
: "${E2E_ARCH:?amd64 or arm64}"

# Go's caches: where the set-up says, which removes them at its end; else Go's own. Modules that this user has already
# are taken from there (Go checks them as it does those of a proxy), and may be removed like any other file.
if [ -n "${E2E_GO:-}" ] && command -v go >/dev/null; then
  own=$(go env GOMODCACHE)/cache/download
  if [ -d "$own" ]; then GOPROXY="file://$own,$(go env GOPROXY)"; export GOPROXY; fi
  GOFLAGS="$(go env GOFLAGS) -modcacherw"
  export GOFLAGS GOCACHE="$E2E_GO/build" GOMODCACHE="$E2E_GO/modules"
fi

# go_linux ARGS: go, whose builds are for the node and the containers (Linux, or else go_os), static, and equal wherever
# they are made.
go_linux() {
  env CGO_ENABLED=0 GOOS="${go_os:-linux}" GOARCH="$E2E_ARCH" GOWORK=off go "$@"
}

# go_programs OUT LDFLAGS PACKAGE…: compiles the programs of the module in the current folder, with the build tags $tags.
# One recipe compiles at a time, with all cores: two at once make what they share twice. What is missing is fetched
# before that. A compiler on one core each, that does not collect garbage until it has 1 GiB of it, takes seven eighths
# of the processor time of one that uses all cores and collects as usual; without debug data, which the linker would
# drop anyway, another tenth less.
go_programs() {
  local out=$1 flags=$2
  shift 2
  go_linux list -mod=mod -deps "$@" >/dev/null
  mkdir -p "$(go env GOCACHE)" "$out"
  exec 9>"$(go env GOCACHE)/turn"
  # Without it (as on macOS) all compile at once.
  ! command -v flock >/dev/null || flock 9
  GOGC=${GOGC:-off} GOMEMLIMIT=${GOMEMLIMIT:-1GiB} GOMAXPROCS=1 go_linux build -p "$(getconf _NPROCESSORS_ONLN)" \
    -mod=mod -trimpath -buildvcs=false -tags "${tags:-}" -gcflags=all=-dwarf=false -ldflags "-s -w $flags" -o "$out/" "$@"
  exec 9>&-
}

# go_source MODULE@VERSION: fetches it and prints its folder.
go_source() {
  local told dir
  told=$(go_linux mod download -json "$1") ||
    die "Go cannot fetch ${1%@*} ${1##*@}: $(sed -n 's/^\t"Error": "\(.*\)",\?$/\1/p' <<<"$told")"
  dir=$(sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p' <<<"$told")
  [ -d "$dir" ] || die "Go has no source of ${1%@*} ${1##*@}"
  echo "$dir"
}

# go_module NAME MODULE@VERSION: makes the current folder a throw-away module with the version selection of
# MODULE itself (its own go.mod), so that building MODULE's commands takes what its release was made of.
# Modules that its go.mod replaces by folders of its own repository, which no module proxy has, are listed in
# local-modules.txt; their published versions are required in its go.mod anyway, or the caller replaces them.
go_module() {
  local name=$1 module=${2%@*} version=${2##*@} dir replaced
  dir=$(go_source "$2")
  install -m 644 "$dir/go.mod" go.mod
  [ ! -f "$dir/go.sum" ] || install -m 644 "$dir/go.sum" go.sum
  go_linux mod edit -module="e2e.invalid/$name" -require="$module@$version"
  sed -nE 's#^(replace)?[[:space:]]*([^ ]+) => \.\.?/.*#\2#p' go.mod >local-modules.txt
  while read -r replaced; do
    go_linux mod edit -dropreplace="$replaced"
  done <local-modules.txt
}

# go_module_beside_kubernetes NAME MODULE@VERSION: likewise, of each module the later version of the one that MODULE asks
# for and of the one that Kubernetes does. Nearly always that is Kubernetes', and what the two share is compiled once.
go_module_beside_kubernetes() {
  local name=$1 own kubernetes minor patch module version asked required=()
  own=$(go_source "$2")
  kubernetes=$(go_source "k8s.io/kubernetes@$E2E_VERSION_KUBERNETES")
  IFS=. read -r _ minor patch <<<"${E2E_VERSION_KUBERNETES#v}"
  while read -r module version; do
    # Its staging modules, which it names by folders, have no version there.
    [ "$version" != v0.0.0 ] || version=v0.$minor.$patch
    required+=("-require=$module@$version")
  done < <(sed -nE 's/^(require)?[[:space:]]+([^ ]+) (v[^ ]+).*/\2 \3/p' "$kubernetes/go.mod")
  asked=$(sed -n 's/^go //p' "$own/go.mod" "$kubernetes/go.mod" | sort -V | tail -n 1)
  printf 'module e2e.invalid/%s\ngo %s\n' "$name" "$asked" >go.mod
  cat "$own/go.sum" "$kubernetes/go.sum" >go.sum
  go_linux mod edit "${required[@]}" -require="$2"
}

# engine_build CONTEXT ARGS: an image build that reaches the host's network as the host does. The build context
# named `host` carries what a RUN needs of this host and the image must not keep; mount it for that RUN alone:
#   RUN --mount=type=bind,from=host,target=/run/host  APT_CONFIG=/run/host/apt.conf apt-get …
engine_build() {
  local context=$1 host=$E2E_WORK/host variable arguments=()
  shift
  mkdir -p "$host"
  {
    echo 'Acquire::Languages "none";'
    echo 'Acquire::Retries "3";'
    echo 'APT::Install-Recommends "false";'
    echo 'Dpkg::Options { "--force-unsafe-io"; };'
    if [ -n "${SSL_CERT_FILE:-}" ]; then
      install -m 644 "$SSL_CERT_FILE" "$host/ca.crt"
      echo 'Acquire::https::CaInfo "/run/host/ca.crt";'
    fi
    if [ -n "${E2E_DEBIAN_MIRROR:-}" ]; then
      sed "s#^URIs: http://deb.debian.org/debian\$#URIs: $E2E_DEBIAN_MIRROR#; s#^URIs: http://deb.debian.org/#URIs: ${E2E_DEBIAN_MIRROR%/*}/#" \
        images/base/debian.sources >"$host/debian.sources"
      echo 'Dir::Etc::SourceParts "/run/host";'
    fi
  } >"$host/apt.conf"
  # By name alone: the values may hold passwords, and everybody on the machine sees command lines.
  for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    if [ -n "${!variable:-}" ]; then arguments+=(--build-arg "$variable"); fi
  done
  DOCKER_BUILDKIT=1 "$E2E_ENGINE" build --network host --build-context "host=$host" \
    ${arguments[@]+"${arguments[@]}"} --label "$E2E_LABEL" --tag "$E2E_TAG" "$@" "$context" >&2
}
