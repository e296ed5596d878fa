#!/bin/bash
# Inside the build of the node image: packs the control plane's binaries as images, named as kubeadm asks for
# them, and imports them into containerd's store.
set -euo pipefail
arch=$(dpkg --print-architecture)
layout=/pack
store=/var/lib/containerd
blobs=$layout/blobs/sha256
mkdir -p "$blobs"
manifests=()

# blob FILE: moves it to where its digest says; prints "digest size".
blob() {
  local digest size
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
  echo "sha256:$digest $size"
}

# image REFERENCE ENTRYPOINT-JSON ROOT: one image of one layer, the content of ROOT.
image() {
  local reference=$1 entrypoint=$2 root=$3 layer layer_size config config_size manifest manifest_size
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf /layer.tar .
  read -r layer layer_size < <(blob /layer.tar)
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":%s,"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["%s"]}}' \
    "$arch" "$entrypoint" "$layer" >/config.json
  read -r config config_size < <(blob /config.json)
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%s}]}' \
    "$config" "$config_size" "$layer" "$layer_size" >/manifest.json
  read -r manifest manifest_size < <(blob /manifest.json)
  manifests+=("{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"$manifest\",\"size\":$manifest_size,\"annotations\":{\"io.containerd.image.name\":\"$reference\"}}")
  rm -rf "$root"
}

version=$(cat /kind/version)
for component in kube-apiserver kube-controller-manager kube-scheduler; do
  mkdir -p /root-fs/usr/local/bin
  cp "/from/kubernetes/$component" /root-fs/usr/local/bin/
  image "registry.k8s.io/$component:$version" "[\"$component\"]" /root-fs
done
mkdir -p /root-fs/usr/local/bin && cp /from/etcd/etcd /root-fs/usr/local/bin/
image "registry.k8s.io/etcd:$ETCD_IMAGE" '["etcd"]' /root-fs
mkdir -p /root-fs && cp /from/coredns/coredns /root-fs/
image "registry.k8s.io/coredns/coredns:$COREDNS_VERSION" '["/coredns"]' /root-fs
mkdir -p /root-fs && cp /from/pause/pause /root-fs/
image "$(sed -n 's/^ *sandbox = "\(.*\)"/\1/p' /etc/containerd/config.toml)" '["/pause"]' /root-fs

# kube-proxy needs iptables: both kinds of it, the libraries they load, and a shell to choose between the two.
root=/root-fs
mkdir -p "$root"/{usr/sbin,usr/bin,usr/local/bin,usr/lib,run,tmp,etc} && for d in bin sbin lib; do ln -s "usr/$d" "$root/$d"; done
if [ -e /lib64 ]; then mkdir -p "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64"; fi
programs=(/usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi /bin/dash)
cp /usr/sbin/xtables-{legacy,nft}-multi "$root/usr/sbin/" && cp /bin/dash "$root/usr/bin/sh"
extensions=$(dpkg -L iptables | grep '/xtables/libxt_tcp.so$')
extensions=${extensions%/*}
[ -d "$extensions" ] && [ -n "$extensions" ] || { echo "no extensions of iptables" >&2; exit 1; }
mkdir -p "$root$extensions" && cp -a "$extensions"/. "$root$extensions/"
ldd "${programs[@]}" "$extensions"/*.so | grep -o '/[^ ]*' | grep -v ':$' | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
done
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -s "/run/xtables" "$root/usr/sbin/$name"
done
cp /from/kubernetes/kube-proxy "$root/usr/local/bin/kube-proxy.bin"
cat >"$root/usr/local/bin/kube-proxy" <<'SH'
#!/bin/sh
# The kernel decides which iptables: the legacy tables where it has them, else nftables.
multi=/usr/sbin/xtables-legacy-multi
$multi iptables -t nat -S >/dev/null 2>&1 || multi=/usr/sbin/xtables-nft-multi
if [ ! -e /run/xtables ]; then /usr/bin/ln -s $multi /run/xtables; fi
exec /usr/local/bin/kube-proxy.bin "$@"
SH
chmod 755 "$root/usr/local/bin/kube-proxy"
cp /bin/ln "$root/usr/bin/ln"
ldd /bin/ln | grep -o '/[^ ]*' | while read -r library; do mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; done
image "registry.k8s.io/kube-proxy:$version" '["/usr/local/bin/kube-proxy"]' "$root"

printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
(IFS=,; printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "${manifests[*]}") >"$layout/index.json"


# Unpacking needs a filesystem to overlay and the right to mount; where the build has neither, the node unpacks an
# image at its first use.
if mkdir -p "$store/probe"/{lower,upper,work,merged} &&
  mount -t overlay -o "lowerdir=$store/probe/lower,upperdir=$store/probe/upper,workdir=$store/probe/work" none "$store/probe/merged" 2>/dev/null; then
  umount "$store/probe/merged"
  unpack=()
else
  echo 'images stay packed in this build' >&2
  unpack=(--no-unpack)
fi
rm -rf "$store/probe"

containerd >/containerd.log 2>&1 &
containerd=$!
for _ in $(seq 100); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
if ! tar -C "$layout" -cf - . | ctr -n k8s.io images import ${unpack[@]+"${unpack[@]}"} -; then
  tail -n 30 /containerd.log >&2
  exit 1
fi
for name in $(ctr -n k8s.io images ls -q); do ctr -n k8s.io images label "$name" io.cri-containerd.image=managed >/dev/null; done
ctr -n k8s.io images ls -q >&2
kill "$containerd"
for _ in $(seq 100); do kill -0 "$containerd" 2>/dev/null || break; sleep 0.1; done
kill -9 "$containerd" 2>/dev/null || true
wait "$containerd" 2>/dev/null || true

# The engine copies all of /var into a new volume whenever a node is created. So the bulk lies elsewhere: links in
# the store point to what stays in the image's read-only layers.
mkdir -p /out/containerd /out/store/blobs /out/store/snapshots
rm -rf "$store/io.containerd.content.v1.content/ingest"/*
cp -a "$store/." /out/containerd/
cd /out/containerd/io.containerd.content.v1.content/blobs/sha256
for file in *; do
  mv "$file" /out/store/blobs/
  ln -s "/kind/store/blobs/$file" "$file"
done
cd /out/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots 2>/dev/null || exit 0
for snapshot in *; do
  if [ -d "$snapshot/fs" ]; then
    mv "$snapshot/fs" "/out/store/snapshots/$snapshot"
    ln -s "/kind/store/snapshots/$snapshot" "$snapshot/fs"
  fi
done
