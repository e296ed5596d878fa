# Sourced by scripts that break things on purpose: makes target/trials/tree a clean clone of HEAD, which keeps what was
# compiled there before, and goes there. Sets root, head, work (for results).
root=$PWD
head=$(git rev-parse --short=12 HEAD)
work=$root/target/trials
tree=$work/tree
mkdir -p "$work"
[ -d "$tree" ] || git clone -q "$root" "$tree"
git -C "$tree" fetch -q origin
git -C "$tree" checkout -qf "$head"
git -C "$tree" clean -qfd
cd "$tree"
