#!/usr/bin/env bash
# Makes the image of a machine: Debian with a container engine and what a person would have there to work on this
# project, but Rust and Go, which the lab mounts.
#   images/lab/machine.sh ENGINE TAG     ENGINE: docker or podman, what the machine has
# The host's podman keeps the image. Packages come from the mirror that E2E_DEBIAN_MIRROR names, or else from the one that
# this host has its own from; neither it nor the host's certificates are needed once the image is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=$1 tag=$2
version() { sed -n "s/^  $1: \"\\{0,1\\}\\([^\" ]*\\)\"\\{0,1\\}\\( .*\\)\\{0,1\\}\$/\\1/p" images/setup.yaml | head -n1; }
suite=$(version lab-debian)

# The mirror of the host's own Debian; a host of another kind takes the public one.
host_mirror() {
  apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { sub("/$", "", $3); print $3; exit }'
}
mirror=${E2E_DEBIAN_MIRROR:-$(host_mirror)}
mirror=${mirror:-http://deb.debian.org/debian}

# gcc links what Rust compiles; the rest is what anybody has, and what the rows look with.
packages=(ca-certificates curl gcc git iproute2 iptables libc6-dev nftables procps systemd-sysv tini)
case $engine in
  docker) packages+=(docker.io docker-cli docker-buildx) ;;
  # As `setup` installs it.
  podman) mapfile -t -O ${#packages[@]} packages < <(sed -n 's/^engine_packages: \[\(.*\)\]$/\1/p' images/setup.yaml | tr -d ' ' | tr , '\n') ;;
  *) echo "no machine has the engine $engine" >&2; exit 2 ;;
esac

options=()
[ -z "${SSL_CERT_FILE:-}" ] || options+=(--aptopt="Acquire::https::CaInfo \"$SSL_CERT_FILE\";"
  --customize-hook="upload $SSL_CERT_FILE /usr/local/share/ca-certificates/host.crt"
  --customize-hook="upload $SSL_CERT_FILE /etc/ssl/certs/ca-certificates.crt")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || { echo "no $keyring: install debian-archive-keyring" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# tini at the end of all processes, so that none stays a zombie.
TMPDIR=$work mmdebstrap --quiet --mode=auto --variant=minbase --keyring="$keyring" \
  --include="$(IFS=,; echo "${packages[*]}")" --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --aptopt='Acquire::Languages "none";' --aptopt='APT::Install-Recommends "false";' ${options[@]+"${options[@]}"} \
  "$suite" "$work/root.tar" "deb $mirror $suite main" "deb $mirror $suite-updates main"
podman import --change 'ENTRYPOINT ["/usr/bin/tini", "--"]' --change 'CMD ["sleep", "infinity"]' \
  --change "LABEL gateway-e2e.lab=$engine" "$work/root.tar" "$tag" >/dev/null
