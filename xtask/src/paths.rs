//! Where things are: the workspace, its target folder, the cache.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

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
        let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), |dir| root.join(dir));
        Ok(Paths { root, target, cache: base.join("gateway-e2e") })
    }

    /// What runs of this workspace leave behind.
    pub fn runs(&self) -> Utf8PathBuf {
        self.root.join("target/e2e")
    }
}
