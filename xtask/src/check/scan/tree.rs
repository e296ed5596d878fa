//! Which files a project has: those that git knows or would take, else all that lie in the folder. Links are not
//! followed, so that nothing goes in a cycle.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Job;
use rayon::prelude::*;
use xshell::{Shell, cmd};

/// Folders whose content belongs to somebody else, or is wrong on purpose.
const NOT_OURS: [&str; 9] =
    [".git", ".hg", ".svn", ".terraform", ".venv", "__pycache__", "node_modules", "testdata", "third_party"];
/// What tells that a folder holds nothing that was written here: a cache, packages of Python, of Go, another checkout.
const MARKS: [&str; 4] = ["CACHEDIR.TAG", "pyvenv.cfg", "modules.txt", ".git"];
/// A text that is longer is no manifest or recipe.
const LONGEST_BYTES: u64 = 4 << 20;
const GIT_DEADLINE: Duration = Duration::from_secs(20);

/// The files of a project, each relative to its root.
#[derive(Debug, Default)]
pub(in crate::check) struct Tree {
    pub(super) root: Utf8PathBuf,
    /// In the order of their names.
    pub(super) files: Vec<Utf8PathBuf>,
    /// Folders that could not be read, and why.
    pub(super) unreadable: Vec<(Utf8PathBuf, String)>,
    /// Whether git told them: what is not there may be something that it ignores.
    pub(super) is_checkout: bool,
}

impl Tree {
    /// A project whose files are not listed, for what knows which ones it reads.
    pub(in crate::check) fn unlisted(root: &Utf8Path) -> Tree {
        Tree { root: root.to_owned(), ..Tree::default() }
    }

    pub(super) fn read(root: &Utf8Path) -> Tree {
        let mut tree = Tree { root: root.to_owned(), ..Tree::default() };
        match of_git(root) {
            Some(files) => {
                tree.files = files;
                tree.is_checkout = true;
            }
            None => walk(root, Utf8Path::new("")).into_iter().for_each(|found| match found {
                Ok(file) => tree.files.push(file),
                Err(unreadable) => tree.unreadable.push(unreadable),
            }),
        }
        tree.files.retain(|file| !is_not_ours(file));
        // Many of them: their texts are compared, which is cheaper than parts of paths.
        tree.files.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        tree
    }

    /// The text of a file: none where it is a link, cannot be read, or is too long. Other bytes than UTF-8 are replaced.
    pub(in crate::check) fn text(&self, file: &Utf8Path) -> Option<String> {
        let path = self.root.join(file);
        let meta = path.symlink_metadata().ok()?;
        if !meta.is_file() || meta.len() > LONGEST_BYTES {
            return None;
        }
        let text = std::fs::read(path).ok()?;
        Some(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Those of `paths`, relative to the root, that git ignores.
    pub(super) fn ignored(&self, paths: &[Utf8PathBuf]) -> Vec<Utf8PathBuf> {
        if !self.is_checkout || paths.is_empty() {
            return Vec::new();
        }
        let Ok(sh) = Shell::new() else { return Vec::new() };
        let root = &self.root;
        let ask = cmd!(sh, "git -C {root} check-ignore --no-index -z --stdin");
        let names = paths.iter().flat_map(|path| [path.as_str(), "\0"]).collect::<String>();
        // It fails where it ignores none of them.
        let told = Job::new(ask).deadline(GIT_DEADLINE).stdin(names).output();
        let told = told.map(|told| told.stdout).unwrap_or_default();
        told.split('\0').filter(|path| !path.is_empty()).map(Utf8PathBuf::from).collect()
    }
}

fn is_not_ours(file: &Utf8Path) -> bool {
    file.parent().is_some_and(|folder| folder.as_str().split('/').any(|part| NOT_OURS.contains(&part)))
}

/// What git has, and what it would take; none where it has nothing to say here.
fn of_git(root: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
    let sh = Shell::new().ok()?;
    let list = cmd!(sh, "git -C {root} -c core.fsmonitor=false ls-files --cached --others --exclude-standard -z");
    let told = Job::new(list).deadline(GIT_DEADLINE).read().ok()?;
    let files: Vec<Utf8PathBuf> = told.split('\0').filter(|path| !path.is_empty()).map(Utf8PathBuf::from).collect();
    (!files.is_empty()).then_some(files)
}

/// A file, or a folder that cannot be read and why.
type Found = Result<Utf8PathBuf, (Utf8PathBuf, String)>;

fn walk(root: &Utf8Path, folder: &Utf8Path) -> Vec<Found> {
    let entries = match root.join(folder).read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) => return vec![Err((folder.to_owned(), error.to_string()))],
    };
    let (mut folders, mut found) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
        // Of the root itself it is known that it is meant.
        if MARKS.contains(&name) && !folder.as_str().is_empty() {
            return Vec::new();
        }
        if kind.is_dir() && !NOT_OURS.contains(&name) {
            folders.push(path);
        } else if kind.is_file() {
            found.push(Ok(path));
        }
    }
    found.extend(folders.into_par_iter().flat_map_iter(|folder| walk(root, &folder)).collect::<Vec<_>>());
    found
}

/// `path` as it is meant in `folder`, relative to the project; none where it leads out of it.
pub(in crate::check) fn within(folder: &Utf8Path, path: &str) -> Option<Utf8PathBuf> {
    let mut parts: Vec<&str> = folder.as_str().split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!path.starts_with('/')).then(|| parts.join("/").into())
}
