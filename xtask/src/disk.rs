//! Files and folders on the disk: what they take, and taking them away.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

/// The bytes that a file, or a folder with all below it, takes on the disk. What cannot be looked at counts as nothing.
pub fn used(path: &Utf8Path) -> u64 {
    let Ok(meta) = path.symlink_metadata() else { return 0 };
    // POSIX counts blocks of 512 bytes, whatever the file system's own are.
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    let entries = path.read_dir_utf8().into_iter().flatten().flatten();
    own + entries.map(|entry| used(entry.path())).sum::<u64>()
}

/// Removes a folder with all below it; that it is not there is no error.
///
/// # Errors
/// When something of it cannot be removed.
pub fn remove_folder(folder: &Utf8Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the folder {folder}"))
        }
        _ => Ok(()),
    }
}

/// Bytes as a person says them.
pub fn shown(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_what_is_below_it_and_a_link_not_what_it_points_at() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), vec![1; 300_000]).unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).unwrap();
        let file = used(&root.join("a/b/file"));
        assert!((300_000..400_000).contains(&file), "{file}");
        let all = used(root);
        assert!((file..file + 100_000).contains(&all), "{all}");
        assert_eq!(used(&root.join("nothing")), 0);
        assert_eq!([shown(1234), shown(5_600_000), shown(12_340_000_000)], ["1 kB", "5 MB", "12.3 GB"]);
    }
}
