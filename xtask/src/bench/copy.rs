//! The sources that are compiled and edited: a copy, so that the user's own are never touched, whatever happens.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Job;
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use crate::hash::{hash_path, hex};
use crate::paths::Paths;
use crate::suite::Edit;

/// What stands for the text that is new each time.
const PLACE: &str = "{edit}";
/// How long git may take to list the files.
const LIST: Duration = Duration::from_secs(60);

/// A copy of the workspace as it is now: what git tracks, and what it does not ignore.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The copy, with a target folder of its own.
    pub paths: Paths,
    /// The hash of all that was copied.
    pub hash: String,
}

impl Copy {
    /// Makes the copy in `to`, or brings one that is there up to date: files that have not changed are left alone, so
    /// that cargo does not compile them again.
    ///
    /// # Errors
    /// When git does not list the files, or one cannot be copied.
    pub fn make(paths: &Paths, to: &Utf8Path) -> Result<Self> {
        let files = list(&paths.root)?;
        let mut hash = Sha256::new();
        for file in &files {
            hash_path(&paths.root, file, &mut hash)?;
            copy(&paths.root.join(file), &to.join(file)).with_context(|| format!("copying {file} to {to}"))?;
        }
        let paths = Paths { root: to.to_owned(), target: to.join("target"), cache: paths.cache.clone() };
        remove_others(to, Utf8Path::new(""), &files)?;
        Ok(Self { paths, hash: hex(&hash.finalize()) })
    }

    /// Changes the one line, so that it has `text`.
    ///
    /// # Errors
    /// When the text to find is not in the file exactly once.
    pub fn edit(&self, original: &Utf8Path, edit: &Edit, text: &str) -> Result<()> {
        let from = original.join(&edit.file);
        let before = fs::read_to_string(&from).with_context(|| format!("reading {from}"))?;
        let count = before.matches(&edit.find).count();
        ensure!(
            count == 1,
            "the suite's `bench.edit.find` stands {count} times in {}: write a text that is there once",
            edit.file
        );
        let after = before.replace(&edit.find, &edit.replace.replace(PLACE, text));
        let to = self.paths.root.join(&edit.file);
        fs::write(&to, after).with_context(|| format!("editing {to}"))
    }
}

/// The text that a running service shows after the edit.
pub(super) fn shown(edit: &Edit, text: &str) -> String {
    edit.shown.text.replace(PLACE, text)
}

/// The files of a workspace, sorted.
fn list(root: &Utf8Path) -> Result<BTreeSet<Utf8PathBuf>> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let text = Job::new(cmd!(sh, "git").args(words)).deadline(LIST).read();
    let text = text.with_context(|| format!("asking git which files belong to {root}"))?;
    let files = text.split('\0').filter(|file| !file.is_empty()).map(Utf8PathBuf::from);
    // Tracked files may have been removed, and a submodule is a folder.
    Ok(files.filter(|file| root.join(file).symlink_metadata().is_ok_and(|meta| !meta.is_dir())).collect())
}

fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let meta = from.symlink_metadata()?;
    if meta.is_symlink() {
        let target = from.read_link_utf8()?;
        if to.read_link_utf8().ok().as_ref() != Some(&target) {
            let _ = fs::remove_file(to);
            std::os::unix::fs::symlink(target, to)?;
        }
        return Ok(());
    }
    let content = fs::read(from)?;
    if to.is_symlink() || fs::read(to).ok().as_ref() != Some(&content) {
        let _ = fs::remove_file(to);
        fs::write(to, content)?;
    }
    Ok(fs::set_permissions(to, meta.permissions())?)
}

/// Removes what is not among `files`, the copy's target folder aside.
fn remove_others(root: &Utf8Path, below: &Utf8Path, files: &BTreeSet<Utf8PathBuf>) -> Result<()> {
    let folder = root.join(below);
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        let entry = entry.with_context(|| format!("listing {folder}"))?;
        let path = below.join(entry.file_name());
        if path == "target" || files.contains(&path) {
            continue;
        }
        let is_folder = entry.file_type().with_context(|| format!("looking at {}", entry.path()))?.is_dir();
        let has_files = files.range(path.join("")..).next().is_some_and(|file| file.starts_with(&path));
        if is_folder && has_files {
            remove_others(root, &path, files)?;
        } else if is_folder {
            fs::remove_dir_all(entry.path()).with_context(|| format!("removing {}", entry.path()))?;
        } else {
            fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Shown;

    fn git(root: &Utf8Path, words: &[&str]) {
        let sh = Shell::new().unwrap();
        sh.change_dir(root);
        Job::new(cmd!(sh, "git").args(words)).run().unwrap();
    }

    #[test]
    fn the_copy_follows_the_sources_and_the_sources_never_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().join("work");
        let to = root.join("target/bench/work");
        fs::create_dir_all(root.join("src/deep")).unwrap();
        git(&root, &["init", "--quiet"]);
        for (file, text) in [
            (".gitignore", "/target/\n"),
            ("src/a.rs", "const A: &str = \"dev\";\n"),
            ("src/deep/b", "b"),
            ("gone", "x"),
        ] {
            fs::write(root.join(file), text).unwrap();
        }
        git(&root, &["add", "."]);
        fs::write(root.join("untracked"), "new").unwrap();
        let paths = Paths { root: root.clone(), target: root.join("target"), cache: root.join("cache") };
        let first = Copy::make(&paths, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("untracked")).unwrap(), "new");
        fs::create_dir_all(to.join("target/debug")).unwrap();
        let time = |file: &str| to.join(file).metadata().unwrap().modified().unwrap();
        let before = time("src/deep/b");

        let edit = Edit {
            file: "src/a.rs".into(),
            find: "\"dev\"".into(),
            replace: "\"{edit}\"".into(),
            shown: Shown { node_port: 1, path: "/".into(), text: "r={edit}".into() },
        };
        first.edit(&root, &edit, "one").unwrap();
        // Each edit is one of the original, not of the edit before.
        first.edit(&root, &edit, "two").unwrap();
        assert_eq!(fs::read_to_string(to.join("src/a.rs")).unwrap(), "const A: &str = \"two\";\n");
        assert_eq!(fs::read_to_string(root.join("src/a.rs")).unwrap(), "const A: &str = \"dev\";\n");
        assert_eq!(shown(&edit, "two"), "r=two");

        fs::remove_file(root.join("gone")).unwrap();
        fs::write(to.join("stray"), "?").unwrap();
        fs::create_dir_all(to.join("empty/er")).unwrap();
        let second = Copy::make(&paths, &to).unwrap();
        assert_ne!(second.hash, first.hash);
        assert_eq!(fs::read_to_string(to.join("src/a.rs")).unwrap(), "const A: &str = \"dev\";\n", "as it was");
        assert_eq!(time("src/deep/b"), before, "what has not changed is not written");
        for (file, there) in [("gone", false), ("stray", false), ("empty", false), ("target/debug", true)] {
            assert_eq!(to.join(file).exists(), there, "{file}");
        }

        let twice = Edit { find: "A".into(), ..edit.clone() };
        fs::write(root.join("src/a.rs"), "A A\n").unwrap();
        let error = second.edit(&root, &twice, "x").unwrap_err().to_string();
        assert!(error.contains("stands 2 times in src/a.rs"), "{error}");
    }
}
