//! The kubectl that the set-up puts in place.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use super::catalog::Catalog;
use super::host::Host;
use super::{embedded, piece};

/// The piece of the catalog.
const PIECE: &str = "kubectl";

/// The kubectl that was put in place for the project `root`, whichever version of Kubernetes that was for; none where
/// none has been.
///
/// # Errors
/// When the project's catalog cannot be read, or has no kubectl.
pub fn find(root: &Utf8Path, cache: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
    let home = embedded::home(root, cache)?;
    let of = |kubernetes: Option<&str>| {
        let catalog = Catalog::read_for(root, kubernetes)?;
        let keys = piece::keys(&home, &catalog, Host::look().arch)?;
        let kubectl = catalog.piece(PIECE)?;
        let key = keys.get(PIECE).context("the piece kubectl has no key")?;
        Ok::<_, anyhow::Error>(piece::folder(cache, kubectl, key).join("bin/kubectl"))
    };
    let usual = of(None)?;
    if usual.exists() {
        return Ok(Some(usual));
    }
    let others = Catalog::read(root)?.kubernetes;
    let others = others.keys().map(|version| of(Some(version))).collect::<Result<Vec<_>>>()?;
    Ok(others.into_iter().find(|program| program.exists()))
}
