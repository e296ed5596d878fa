//! Where things are: the workspace, its target folder, the cache.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::Access;
use sha2::{Digest, Sha256};

use crate::error::WrongUsage;
use crate::hash::hex;
use crate::suite::{SUITES, Suite};

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
    /// Finds them: the project in `root`, or else the one with suites that the current folder lies in, or else that
    /// which this program was built in, and `$XDG_CACHE_HOME/gateway-e2e` or `~/.cache/gateway-e2e`.
    ///
    /// # Errors
    /// When there is no folder `root`, no project at all, or neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
    pub fn find(root: Option<&Utf8Path>) -> Result<Paths> {
        match (root, around_here()) {
            (None, Around { has_suites: false, root }) => Paths::of(built_in(&root)?),
            (root, around) => Paths::of(named(root)?.unwrap_or(around.root)),
        }
    }

    /// As [`Paths::find`], for what can look at any project: without suites it is the git checkout that the current
    /// folder lies in, or else that folder.
    ///
    /// # Errors
    /// As [`Paths::find`].
    pub fn of_any_project(root: Option<&Utf8Path>) -> Result<Paths> {
        let root = named(root)?.unwrap_or_else(|| around_here().root);
        Paths::of(root)
    }

    fn of(root: Utf8PathBuf) -> Result<Paths> {
        Ok(Paths { target: target(&root), root, cache: cache()? })
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

/// The project that this program was built in, where that is still there.
fn built_in(here: &Utf8Path) -> Result<Utf8PathBuf> {
    let manifest = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().filter(|root| root.join(SUITES).is_dir());
    root.map(Utf8Path::to_owned).ok_or_else(|| {
        WrongUsage(format!("no folder from {here} upwards has a {SUITES}/: go to a project, or name one by --root"))
            .into()
    })
}

/// What outlives every project.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
pub fn cache() -> Result<Utf8PathBuf> {
    let folder = |name: &str| std::env::var(name).ok().map(Utf8PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME is set to an absolute path: no place for the cache")?;
    Ok(base.join("gateway-e2e"))
}

/// The folder that the command line names.
fn named(root: Option<&Utf8Path>) -> Result<Option<Utf8PathBuf>> {
    let real = |root: &Utf8Path| {
        let folder = root.canonicalize_utf8().ok().filter(|folder| folder.is_dir());
        folder.ok_or_else(|| WrongUsage(format!("--root {root}: there is no such folder")).into())
    };
    root.map(real).transpose()
}

/// The project that a folder lies in.
#[derive(Debug, PartialEq, Eq)]
struct Around {
    root: Utf8PathBuf,
    has_suites: bool,
}

fn around_here() -> Around {
    let here = std::env::current_dir().ok().and_then(|here| Utf8PathBuf::try_from(here).ok());
    around(&here.unwrap_or_else(|| ".".into()))
}

/// Looks upwards from `folder`, as far as its git checkout goes.
fn around(folder: &Utf8Path) -> Around {
    for root in folder.ancestors() {
        let has_suites = !Suite::names(root).is_empty();
        if has_suites || root.join(".git").exists() {
            return Around { root: root.to_owned(), has_suites };
        }
    }
    Around { root: folder.to_owned(), has_suites: false }
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
    fn a_project_is_found_from_its_subfolders_and_not_beyond_its_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let top = Utf8Path::from_path(dir.path()).unwrap().canonicalize_utf8().unwrap();
        for folder in ["shop/manifests/suites", "shop/src/deep", "shop/inner/.git", "shop/inner/src", "bare/src"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        for file in ["shop/manifests/suites/s.yaml", "shop/.git", "bare/.git"] {
            std::fs::write(top.join(file), "").unwrap();
        }
        for (from, root, has_suites) in [
            ("shop", "shop", true),
            ("shop/src/deep", "shop", true),
            ("shop/manifests/suites", "shop", true),
            ("shop/inner/src", "shop/inner", false),
            ("bare/src", "bare", false),
        ] {
            assert_eq!(around(&top.join(from)), Around { root: top.join(root), has_suites }, "{from}");
        }
    }

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
