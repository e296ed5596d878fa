# Sourced, after trial.sh, by trials that break things on purpose: makes target/trials/tree a clean clone of HEAD, which
# keeps what was compiled there before, and goes there.
tree=$work/tree
[ -d "$tree" ] || git clone -q "$root" "$tree"
# With what was compiled here of other projects: cargo takes it for what it is, and compiles only this workspace anew. As
# copies, for cargo writes into files that are there.
if [ ! -d "$tree/target" ] && [ -d "$root/target/debug/deps" ]; then
  mkdir -p "$tree/target/debug/deps"
  cp -a --reflink=auto "$root"/target/debug/{.fingerprint,build} "$tree/target/debug/"
  find "$root/target/debug/deps" -name '*.*' -exec cp -a --reflink=auto -t "$tree/target/debug/deps" {} +
fi
git -C "$tree" fetch -q "$root" HEAD
git -C "$tree" checkout -qf "$head"
git -C "$tree" clean -qfd
cd "$tree"
