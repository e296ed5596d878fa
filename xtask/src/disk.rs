//! Files and folders on the disk: what they take, and taking them away.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

/// What a path to a socket may have at most, its end included: 108 on Linux, 104 elsewhere.
const LONGEST_SOCKET: usize = 103;

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

/// Where a socket is to be: at `path`, or at a shorter one that no other process has where the system takes none so long.
pub fn socket(path: &Utf8Path) -> Result<Utf8PathBuf> {
    if path.as_str().len() <= LONGEST_SOCKET {
        return Ok(path.to_owned());
    }
    let folder = Utf8PathBuf::try_from(std::env::temp_dir()).context("the folder for temporary files is not UTF-8")?;
    Ok(folder.join(format!("e2e-{}.sock", std::process::id())))
}

/// Writes a file, with its folder.
pub fn write(path: &Utf8Path, text: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
    }
    std::fs::write(path.as_std_path(), text).with_context(|| format!("writing {path}"))
}

/// As [`write`], for what holds credentials: at no moment can anybody else read it, whatever the umask is.
pub fn write_secret(path: &Utf8Path, text: impl AsRef<[u8]>) -> Result<()> {
    let doing = || format!("writing {path}");
    let folder = path.parent().with_context(|| format!("{path} lies in no folder"))?;
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
    // Temporary files are their owner's alone from the start.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(doing)?;
    std::io::Write::write_all(&mut file, text.as_ref()).with_context(doing)?;
    file.persist(path).map(drop).with_context(doing)
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

    #[test]
    fn credentials_are_their_owners_alone_also_where_the_file_was_open_to_all() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("cluster/kubeconfig");
        write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        write_secret(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
