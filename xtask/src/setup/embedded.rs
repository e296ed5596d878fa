//! The catalog and the recipes that this program was compiled with, for projects that have none of their own.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::hash::hex;

/// The catalog, relative to the workspace that has one.
pub const FILE: &str = "images/setup.yaml";
/// How many hexadecimal digits of the recipes' hash the name of their folder has.
const DIGITS: usize = 16;

/// A file of the recipes.
struct File {
    /// Relative to the workspace that has it.
    path: &'static str,
    executable: bool,
    content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// The text of the catalog.
///
/// # Errors
/// Never in a program that was compiled from a whole checkout.
pub fn catalog() -> Result<&'static str> {
    let file = FILES.iter().find(|file| file.path == FILE);
    let file = file.with_context(|| format!("this program was compiled without {FILE}"))?;
    std::str::from_utf8(file.content).with_context(|| format!("reading this program's own {FILE}"))
}

/// The folder that the paths in the catalog of the project `root` begin at: the project itself, or where that has no
/// catalog a copy of this program's own, which is put into `cache`.
///
/// # Errors
/// When the copy cannot be written.
pub fn home(root: &Utf8Path, cache: &Utf8Path) -> Result<Utf8PathBuf> {
    if root.join(FILE).exists() {
        return Ok(root.to_owned());
    }
    let all = cache.join("recipes");
    let folder = all.join(&hash()[..DIGITS]);
    if !folder.is_dir() {
        unpack(&all, &folder).with_context(|| format!("putting this program's own recipes into {folder}"))?;
    }
    Ok(folder)
}

/// One hash for all files.
fn hash() -> String {
    let mut hash = Sha256::new();
    for File { path, executable, content } in FILES {
        hash.update(format!("{path}\0{executable}\0{}\0", content.len()));
        hash.update(content);
    }
    hex(&hash.finalize())
}

/// Writes all files beside `folder`, and gives them its name once they are whole.
fn unpack(all: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    std::fs::create_dir_all(all).with_context(|| format!("making the folder {all}"))?;
    let new = tempfile::tempdir_in(all).with_context(|| format!("making a folder in {all}"))?;
    for File { path, executable, content } in FILES {
        let file = new.path().join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making the folder of {path}"))?;
        }
        std::fs::write(&file, content).with_context(|| format!("writing {path}"))?;
        let mode = if *executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the mode of {path}"))?;
    }
    match std::fs::rename(new.path(), folder) {
        // Another process was quicker.
        Err(_) if folder.is_dir() => Ok(()),
        renamed => renamed.context("giving them their name"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::catalog::Catalog;
    use super::super::piece;
    use super::*;

    fn keys(root: &Utf8Path, cache: &Utf8Path) -> BTreeMap<String, String> {
        let catalog = Catalog::read(root).unwrap();
        piece::keys(&home(root, cache).unwrap(), &catalog, "amd64").unwrap()
    }

    #[test]
    fn a_program_without_its_checkout_makes_the_same_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let (project, cache) = (dir.join("project"), dir.join("cache"));
        std::fs::create_dir(&project).unwrap();
        let checkout = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let own = keys(&checkout, &cache);
        assert!(own.len() > 10 && !cache.exists(), "a project's own recipes stay where they are");
        assert_eq!(keys(&project, &cache), own);
        // The second time it is there.
        let unpacked = home(&project, &cache).unwrap();
        std::fs::write(unpacked.join("mark"), "").unwrap();
        assert_eq!(home(&project, &cache).unwrap(), unpacked);
        assert_eq!(std::fs::read_dir(cache.join("recipes")).unwrap().count(), 1, "no other folder is left");
        assert!(unpacked.join("mark").exists());
        let entrypoint = unpacked.join("images/node/files/usr/local/bin/entrypoint").metadata().unwrap();
        let theirs = checkout.join("images/node/files/usr/local/bin/entrypoint").metadata().unwrap();
        assert_eq!(entrypoint.permissions().mode() & 0o100, theirs.permissions().mode() & 0o100);
    }

    #[test]
    fn a_catalog_of_the_projects_own_is_the_one_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        assert!(Catalog::read(root).unwrap().piece("node").is_ok());
        std::fs::create_dir(root.join("images")).unwrap();
        std::fs::write(root.join(FILE), "versions: {}\nengine_packages: []\npieces: []\n").unwrap();
        let error = Catalog::read(root).unwrap().piece("node").unwrap_err().to_string();
        assert!(error.starts_with("images/setup.yaml lists no piece `node`"), "{error}");
        assert_eq!(home(root, &root.join("cache")).unwrap(), root);
    }
}
