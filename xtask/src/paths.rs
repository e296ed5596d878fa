//! Where things are: the workspace, its target folder, the cache.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::Access;
use sha2::{Digest, Sha256};

use crate::setup::piece::hex;

/// How many hexadecimal digits of the checkout's hash names carry.
const ID_DIGITS: usize = 8;
/// The variable that says what cargo compiles into.
const TARGET_DIR: &str = "CARGO_TARGET_DIR";

/// The folders that the tasks work in.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The workspace's folder.
    pub root: Utf8PathBuf,
    /// What cargo compiles into.
    pub target: Utf8PathBuf,
    /// What outlives the workspace: tools, pieces of images, build caches. Safe to remove at any time.
    pub cache: Utf8PathBuf,
}

impl Paths {
    /// Finds them: the workspace in `root`, or else that which this program was built in, and
    /// `$XDG_CACHE_HOME/gateway-e2e` or `~/.cache/gateway-e2e`.
    ///
    /// # Errors
    /// When there is no folder `root`, or neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
    pub fn find(root: Option<&Utf8Path>) -> Result<Paths> {
        let root = match root {
            Some(root) => root.canonicalize_utf8().with_context(|| format!("looking for the workspace {root}"))?,
            None => {
                let manifest = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
                manifest.parent().context("the xtask crate lies in no workspace")?.to_owned()
            }
        };
        let folder = |name: &str| std::env::var(name).ok().map(Utf8PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
        let base =
            base.context("neither XDG_CACHE_HOME nor HOME is set to an absolute path: no place for the cache")?;
        Ok(Paths { target: target(&root), root, cache: base.join("gateway-e2e") })
    }

    /// What runs of this workspace leave behind.
    pub fn runs(&self) -> Utf8PathBuf {
        runs(&self.root)
    }

    /// The program cargo: that which runs this one, else the one on PATH.
    pub fn cargo(&self) -> String {
        std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
    }

    /// What is set for a cargo that runs in another folder than this program, so that it compiles into the same one.
    pub fn of_cargo(&self) -> Option<(&'static str, &Utf8Path)> {
        told_target().map(|_| (TARGET_DIR, self.target.as_path()))
    }
}

/// The folder that runs of the workspace in `root` are kept in: its own `target/e2e`, or, where nothing can be written
/// into the workspace, one of its own in the folder that cargo compiles into.
pub fn runs(root: &Utf8Path) -> Utf8PathBuf {
    runs_in(root, &target(root), |folder| rustix::fs::access(folder.as_std_path(), Access::WRITE_OK).is_ok())
}

fn runs_in(root: &Utf8Path, target: &Utf8Path, may_write: impl Fn(&Utf8Path) -> bool) -> Utf8PathBuf {
    let own = root.join("target");
    let folder = if own.exists() { own.as_path() } else { root };
    // Others may compile into the same folder.
    if may_write(folder) { own.join("e2e") } else { target.join(format!("e2e-{}", checkout_id(root))) }
}

/// A short text that no other checkout has. `root` is its real folder: two paths to it through links are one checkout.
pub fn checkout_id(root: &Utf8Path) -> String {
    hex(&Sha256::digest(root.as_str()))[..ID_DIGITS].to_owned()
}

/// What cargo compiles into. As for cargo itself, a path that is set is relative to the current folder.
fn target(root: &Utf8Path) -> Utf8PathBuf {
    let own = root.join("target");
    let here = std::env::current_dir().ok().and_then(|here| Utf8PathBuf::try_from(here).ok());
    told_target().map_or(own, |told| here.unwrap_or_default().join(told))
}

/// The folder that cargo was told to compile into.
fn told_target() -> Option<String> {
    [TARGET_DIR, "CARGO_BUILD_TARGET_DIR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|dir| !dir.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_workspace_that_is_read_only_are_kept_where_cargo_compiles() {
        let root = Utf8Path::new("/no/such/workspace");
        let target = Utf8Path::new("/elsewhere");
        assert_eq!(runs_in(root, target, |_| true), "/no/such/workspace/target/e2e");
        let id = checkout_id(root);
        assert_eq!(runs_in(root, target, |folder| folder != root), format!("/elsewhere/e2e-{id}"));
        assert_ne!(id, checkout_id(Utf8Path::new("/another/workspace")));
    }
}
