#!/usr/bin/env bash
# Debian, as small as docker.io/library/debian:trixie-slim: essential packages and apt.
source images/lib.sh

suite=$E2E_VERSION_DEBIAN
mirror=${E2E_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || die "no $keyring: install debian-archive-keyring"

options=()
if [ -n "${SSL_CERT_FILE:-}" ]; then options+=(--aptopt="Acquire::https::CaInfo \"$SSL_CERT_FILE\";"); fi

# What is left out is what the public slim image leaves out; later apt-gets in the image honour it, too.
cat >"$E2E_WORK/slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
SLIM
cat >"$E2E_WORK/image.conf" <<'APT'
Acquire::Languages "none";
APT::AutoRemove::SuggestsImportant "false";
APT::Keep-Downloaded-Packages "false";
APT

# mmdebstrap unpacks in a mount namespace of its own and hands out a tar: an end at any moment leaves no mount.
TMPDIR=$E2E_WORK mmdebstrap --quiet --mode=auto --variant=minbase --arch="$E2E_ARCH" --keyring="$keyring" \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged,debian-archive-keyring \
  --dpkgopt="$E2E_WORK/slim" --aptopt="Acquire::Languages \"none\";" ${options[@]+"${options[@]}"} \
  --customize-hook="rm -f \"\$1\"/etc/apt/sources.list \"\$1\"/etc/apt/apt.conf.d/99mmdebstrap \"\$1\"/etc/dpkg/dpkg.cfg.d/99mmdebstrap" \
  --customize-hook="copy-in images/base/debian.sources /etc/apt/sources.list.d" \
  --customize-hook="upload $E2E_WORK/image.conf /etc/apt/apt.conf.d/image" \
  --customize-hook="upload $E2E_WORK/slim /etc/dpkg/dpkg.cfg.d/image" \
  --customize-hook="cd \"\$1\"/usr/share && rm -rf groff/* info/* lintian linda locale/* man/*; find \"\$1\"/usr/share/doc ! -type d ! -name copyright -delete; find \"\$1\"/usr/share/doc -type d -empty -delete" \
  --customize-hook="rm -rf \"\$1\"/var/log/*.log \"\$1\"/var/log/apt \"\$1\"/etc/resolv.conf" \
  "$suite" "$E2E_WORK/root.tar" \
  "deb $mirror $suite main" "deb $mirror $suite-updates main" "deb ${mirror%/*}/debian-security $suite-security main"

"$E2E_ENGINE" import --change 'CMD ["bash"]' --change "LABEL $E2E_LABEL" "$E2E_WORK/root.tar" "$E2E_TAG" >&2
