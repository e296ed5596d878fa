//! Hashes: of files as they are, and as text.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use camino::Utf8Path;
use sha2::{Digest as _, Sha256};

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Adds a file, or a folder with all below it, to `hash`: names, contents and whether executable.
///
/// # Errors
/// When one of them cannot be read.
pub fn hash_path(root: &Utf8Path, path: &Utf8Path, hash: &mut Sha256) -> Result<()> {
    let full = root.join(path);
    let meta = full.symlink_metadata().with_context(|| format!("looking at {path}"))?;
    if meta.is_dir() {
        let mut names = Vec::new();
        for entry in full.read_dir_utf8().with_context(|| format!("listing {path}"))? {
            names.push(entry.with_context(|| format!("listing {path}"))?.file_name().to_owned());
        }
        names.sort();
        for name in names {
            hash_path(root, &path.join(name), hash)?;
        }
    } else if meta.is_symlink() {
        let target = full.read_link_utf8().with_context(|| format!("reading the link {path}"))?;
        hash.update(format!("{path}\0->{target}\0"));
    } else {
        use std::os::unix::fs::PermissionsExt as _;
        let content = std::fs::read(&full).with_context(|| format!("reading {path}"))?;
        hash.update(format!("{path}\0{}\0{}\0", meta.permissions().mode() & 0o100, content.len()));
        hash.update(content);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(root: &Utf8Path) -> String {
        let mut hash = Sha256::new();
        hash_path(root, Utf8Path::new("in"), &mut hash).unwrap();
        hex(&hash.finalize())
    }

    #[test]
    fn content_name_and_mode_make_the_hash_and_nothing_else_does() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("in/deep")).unwrap();
        std::fs::write(root.join("in/deep/file"), "one").unwrap();
        let first = hash(root);
        assert_eq!(first.len(), 64);
        std::fs::write(root.join("in/deep/file"), "one").unwrap();
        assert_eq!(hash(root), first, "the time of writing does not count");
        std::fs::write(root.join("in/deep/file"), "two").unwrap();
        assert_ne!(hash(root), first);
        std::fs::write(root.join("in/deep/file"), "one").unwrap();
        std::fs::set_permissions(root.join("in/deep/file"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(hash(root), first);
        std::fs::set_permissions(root.join("in/deep/file"), std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::rename(root.join("in/deep/file"), root.join("in/deep/other")).unwrap();
        assert_ne!(hash(root), first);
    }
}
