#!/usr/bin/env bash
# The toolchain is the host's own, of the version that the tag says.
source images/lib.sh

version=$E2E_VERSION_GO
found=$(go env GOVERSION)
case $found in
  "go$version" | "go$version".*) ;;
  *) die "Go is ${found#go}, wanted is $version (https://go.dev/dl has all versions)" ;;
esac
host=$(go env GOHOSTOS)/$(go env GOHOSTARCH)
[ "$host" = "linux/$E2E_ARCH" ] || die "this Go runs on $host, and the image is for linux/$E2E_ARCH"
goroot=$(go env GOROOT)

# What is built in the image is what the compiler needs: no tests of the library, and none of its documentation.
toolchain=$E2E_WORK/toolchain
mkdir -p "$toolchain"
for part in VERSION bin go.env lib pkg src; do
  if [ -e "$goroot/$part" ]; then cp -aL --reflink=auto "$goroot/$part" "$toolchain/"; fi
done
chmod -R u+w "$toolchain"
find "$toolchain/src" -type d -name testdata -prune -exec rm -rf {} +
find "$toolchain/src" -name '*_test.go' -delete

engine_build images/golang --build-arg "BASE=$E2E_NEED_BASE" --build-context "toolchain=$toolchain"
