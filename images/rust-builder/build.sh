#!/usr/bin/env bash
# The toolchain is the host's own, of the version that the tag says.
source images/lib.sh

version=$E2E_VERSION_RUST
sysroot=$(RUSTUP_TOOLCHAIN=$version rustc --print sysroot 2>/dev/null) || sysroot=$(rustc --print sysroot)
found=$("$sysroot/bin/rustc" --version | cut -d' ' -f2)
[ "$found" = "$version" ] || die "rustc is $found, wanted is $version (rustup toolchain install $version)"
[ -x "$sysroot/bin/cargo" ] || die "no cargo in $sysroot"
host=$("$sysroot/bin/rustc" -vV | sed -n 's/^host: //p')

# What is built in the image is what the compiler needs: neither documentation nor the sources of the library.
toolchain=$E2E_WORK/toolchain
mkdir -p "$toolchain/bin" "$toolchain/lib/rustlib"
for tool in rustc cargo rustdoc cargo-clippy clippy-driver rustfmt cargo-fmt; do
  if [ -e "$sysroot/bin/$tool" ]; then ln "$sysroot/bin/$tool" "$toolchain/bin/" 2>/dev/null || cp "$sysroot/bin/$tool" "$toolchain/bin/"; fi
done
cp -aL --reflink=auto "$sysroot"/lib/*.so* "$toolchain/lib/"
cp -a --reflink=auto "$sysroot/lib/rustlib/$host" "$toolchain/lib/rustlib/$host"

engine_build images/rust-builder --build-arg "BASE=$E2E_NEED_BASE" --build-context "toolchain=$toolchain" \
  --build-arg "RUST_VERSION=$version" --build-arg "TOOLCHAIN=$version-$host"
