//! Whether a piece is there: its key stands for everything that goes into it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::Engine;
use e2e_support::pull::digests;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::catalog::{Catalog, Kind, Piece};
use crate::hash::{hash_path, hex};

/// The label of an image that was built here in place of a public one; its value is the key.
pub const STAND_IN_LABEL: &str = "gateway-e2e.stand-in";

/// How many characters of a key names carry.
const SHORT: usize = 16;

/// Whether a piece can be used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there, as published.
    Public,
    /// It is there, made here with the key that it would get now.
    Made,
    /// There is none, or one that was made here of other things.
    Missing,
    /// Something else has its name; this is what.
    Unfit(String),
}

impl State {
    /// Whether the piece can be used.
    pub fn is_there(&self) -> bool {
        matches!(self, State::Public | State::Made)
    }
}

/// The keys of all pieces, for the machine of this architecture.
///
/// # Errors
/// When an input cannot be read.
pub fn keys(root: &Utf8Path, catalog: &Catalog, arch: &str) -> Result<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    for piece in &catalog.pieces {
        key(root, catalog, arch, piece, &mut keys)?;
    }
    Ok(keys)
}

fn key(
    root: &Utf8Path,
    catalog: &Catalog,
    arch: &str,
    piece: &Piece,
    keys: &mut BTreeMap<String, String>,
) -> Result<String> {
    if let Some(key) = keys.get(&piece.name) {
        return Ok(key.clone());
    }
    let mut hash = Sha256::new();
    hash.update(format!("{}\0{arch}\0", piece.name));
    for version in &piece.versions {
        hash.update(format!("{version}={}\0", catalog.versions[version]));
    }
    hash.update(format!("{:?}\0", piece.replaces));
    for need in &piece.needs {
        let need = catalog.piece(need)?;
        hash.update(format!("{}={}\0", need.name, key(root, catalog, arch, need, keys)?));
    }
    for input in piece.recipe.iter().chain(&piece.inputs) {
        hash_path(root, input, &mut hash).with_context(|| format!("reading the inputs of the piece {}", piece.name))?;
    }
    let key = hex(&hash.finalize());
    keys.insert(piece.name.clone(), key.clone());
    Ok(key)
}

/// Where the files of a piece with this key are once they are whole.
pub fn folder(cache: &Utf8Path, piece: &Piece, key: &str) -> Utf8PathBuf {
    cache.join("pieces").join(format!("{}-{}", piece.name, &key[..SHORT]))
}

/// Whether the piece is there, for a machine of this architecture.
///
/// # Errors
/// When the engine does not answer.
pub fn state(cache: &Utf8Path, engine: Option<&Engine>, piece: &Piece, key: &str, arch: &str) -> Result<State> {
    match (piece.kind, &piece.replaces, engine) {
        (Kind::Files, _, _) => Ok(if folder(cache, piece, key).is_dir() { State::Made } else { State::Missing }),
        (Kind::Image, Some(reference), Some(engine)) => match engine.image(reference)? {
            Some(image) => judge(&image, reference, piece.digest.as_deref(), key, arch),
            None => Ok(State::Missing),
        },
        (Kind::Image, ..) => Ok(State::Missing),
    }
}

/// What an image is that has the name of a piece. The name says nothing: anybody can give it to anything.
fn judge(image: &Value, reference: &str, digest: Option<&str>, key: &str, arch: &str) -> Result<State> {
    let its_arch = image["Architecture"].as_str().unwrap_or_default();
    if !its_arch.is_empty() && its_arch != arch {
        return Ok(State::Unfit(format!("an image for {its_arch} has that name, and this machine is {arch}")));
    }
    if let Some(made_of) = image["Config"]["Labels"][STAND_IN_LABEL].as_str() {
        return Ok(if made_of == key { State::Made } else { State::Missing });
    }
    let found = digests(image, reference)?;
    Ok(match digest {
        Some(wanted) if found.iter().any(|found| found == wanted) => State::Public,
        Some(wanted) if found.is_empty() => {
            State::Unfit(format!("an image without a digest has that name, and wanted is {wanted}"))
        }
        Some(wanted) => {
            State::Unfit(format!("an image with the digest {} has that name, and wanted is {wanted}", found.join(", ")))
        }
        None if found.is_empty() => {
            State::Unfit("an image that was made on this machine, by something else, has that name".into())
        }
        None => State::Public,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_makes_no_image_fit() {
        use serde_json::json;
        let (name, wanted) = ("docker.io/kindest/node:v1", "sha256:aa");
        let public = json!({"Architecture": "amd64", "RepoDigests": ["docker.io/kindest/node@sha256:aa"]});
        let made = |key: &str| json!({"Architecture": "amd64", "Config": {"Labels": {STAND_IN_LABEL: key}}});
        let state = |image: &Value, digest| judge(image, name, digest, "key", "amd64").unwrap();
        assert_eq!(state(&public, Some(wanted)), State::Public);
        assert_eq!(state(&public, None), State::Public);
        assert_eq!(state(&made("key"), Some(wanted)), State::Made);
        assert_eq!(state(&made("old"), Some(wanted)), State::Missing);
        for (image, digest, says) in [
            (public.clone(), Some("sha256:bb"), "sha256:aa has that name, and wanted is sha256:bb"),
            (json!({"Architecture": "amd64"}), Some(wanted), "without a digest"),
            (
                json!({"Architecture": "amd64", "RepoDigests": ["localhost/x@sha256:aa"]}),
                Some(wanted),
                "without a digest",
            ),
            (json!({"Architecture": "amd64"}), None, "by something else"),
            (json!({"Architecture": "arm64", "Config": {"Labels": {STAND_IN_LABEL: "key"}}}), None, "for arm64"),
        ] {
            let state = state(&image, digest);
            assert!(matches!(&state, State::Unfit(what) if what.contains(says)), "{says}: {state:?}");
        }
    }
}
