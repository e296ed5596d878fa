//! A build context: the folder that COPY reads from, without what does not get in. Nothing outside of it is looked at.

use std::collections::{BTreeSet, VecDeque};

use camino::{Utf8Path, Utf8PathBuf};

use super::ignore::Ignore;
use crate::dockerfile::pattern::{Stars, is_pattern, matches};
use crate::suite::yaml::slips;

/// So many symbolic links are followed on one path; more go in a cycle.
const LINKS: usize = 40;
/// So many entries of one folder are compared with a name that is not there.
const NEIGHBOURS: usize = 1000;

#[derive(Debug)]
pub(super) struct Context {
    folder: Utf8PathBuf,
    pub(super) ignore: Ignore,
    /// Paths that are not there and that a step before the build may make.
    made: BTreeSet<Utf8PathBuf>,
}

/// What is there under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// It is there, and an ignore file keeps it out.
    Ignored,
    File,
    Folder,
}

impl Context {
    pub(super) fn new(folder: Utf8PathBuf, ignore: Ignore) -> Context {
        Context { folder, ignore, made: BTreeSet::new() }
    }

    /// As if a step before the build made `paths`, each relative to the context.
    pub(super) fn assume(&mut self, paths: BTreeSet<Utf8PathBuf>) {
        self.made = paths;
    }

    /// Whether nothing is known of `path`, but that somebody may make it.
    pub(super) fn may_be_made(&self, path: &Utf8Path) -> bool {
        self.made.contains(path)
    }

    /// `path` of a COPY as it is meant: below the context, with or without a slash in front, and however many `..`.
    pub(super) fn clean(path: &str) -> Utf8PathBuf {
        let path = crate::dockerfile::join("/".into(), path);
        path.strip_prefix("/").map(Utf8Path::to_owned).unwrap_or_default()
    }

    /// What is at `path`, relative to the context. Links are followed as if the context were all there is.
    pub(super) fn find(&self, path: &Utf8Path) -> Found {
        let Some(real) = self.resolve(path) else { return Found::Nothing };
        let is_folder = real.is_dir();
        if path.as_str().is_empty() {
            return Found::Folder;
        }
        if self.ignore.excludes(path) && !(is_folder && self.ignore.keeps_below(path)) {
            return Found::Ignored;
        }
        if is_folder { Found::Folder } else { Found::File }
    }

    /// The paths that are there and that `path`, which is not, is a slip of in one of its parts; the nearest first.
    pub(super) fn slips_of(&self, path: &Utf8Path) -> Vec<Utf8PathBuf> {
        let mut folder = Utf8PathBuf::new();
        let mut parts = path.components();
        let wrong = parts.by_ref().find(|part| {
            let next = folder.join(part);
            let is_there = self.resolve(&next).is_some();
            if is_there {
                folder = next;
            }
            !is_there
        });
        let Some(wrong) = wrong else { return Vec::new() };
        let names = self.names(&folder);
        let mut near: Vec<(usize, &str)> = slips(wrong.as_str(), names.iter().map(String::as_str)).collect();
        near.sort_by_key(|(distance, _)| *distance);
        let rest = parts.as_path();
        let whole =
            |name: &str| if rest.as_str().is_empty() { folder.join(name) } else { folder.join(name).join(rest) };
        near.into_iter().map(|(_, name)| whole(name)).filter(|path| self.find(path) != Found::Nothing).collect()
    }

    /// The names in the folder `path`; not all of them where there are very many.
    pub(super) fn names(&self, path: &Utf8Path) -> Vec<String> {
        let Some(real) = self.resolve(path) else { return Vec::new() };
        let entries = real.read_dir_utf8().into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.take(NEIGHBOURS).map(|entry| entry.file_name().to_owned()).collect();
        names.sort();
        names
    }

    /// The paths that a pattern of COPY fits, ignored ones among them.
    pub(super) fn glob(&self, pattern: &Utf8Path) -> Vec<Utf8PathBuf> {
        let mut found = vec![Utf8PathBuf::new()];
        for part in pattern.components().map(|part| part.as_str().to_owned()) {
            let mut next = Vec::new();
            for folder in found {
                if !is_pattern(&part) {
                    next.push(folder.join(&part));
                    continue;
                }
                let entries = self.resolve(&folder).and_then(|real| real.read_dir_utf8().ok());
                let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name().to_owned());
                next.extend(names.filter(|name| matches(&part, name, Stars::Single)).map(|name| folder.join(name)));
            }
            found = next;
        }
        found.retain(|path| self.resolve(path).is_some());
        found.sort();
        found
    }

    /// Where `path` really lies, if there is something.
    fn resolve(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let mut open: VecDeque<String> = path.components().map(|part| part.as_str().to_owned()).collect();
        let mut real = Utf8PathBuf::new();
        let mut links = 0;
        while let Some(part) = open.pop_front() {
            match part.as_str() {
                "/" => real = Utf8PathBuf::new(),
                "." => {}
                ".." => drop(real.pop()),
                part => {
                    let here = self.folder.join(&real).join(part);
                    if here.symlink_metadata().ok()?.is_symlink() {
                        links += 1;
                        let to = here.read_link_utf8().ok().filter(|_| links <= LINKS)?;
                        for part in to.components().rev() {
                            open.push_front(part.as_str().to_owned());
                        }
                    } else {
                        real.push(part);
                    }
                }
            }
        }
        let real = self.folder.join(real);
        real.exists().then_some(real)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn nothing_outside_of_the_context_is_seen() {
        let (_dir, root) = tree(&[("in/conf/a.yaml", ""), ("out/b.yaml", ""), ("in/skip/c.yaml", "")]);
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join("in").join(at)).unwrap();
        link("../../out", "up");
        link("/conf", "absolute");
        link(".", "conf/self");
        link("two", "one");
        link("one", "two");
        let context = Context::new(root.join("in"), Ignore::parse("skip"));
        for (path, found) in [
            ("conf/a.yaml", Found::File),
            ("/conf", Found::Folder),
            ("../../conf/a.yaml", Found::File),
            ("..", Found::Folder),
            ("", Found::Folder),
            ("absolute/a.yaml", Found::File),
            ("conf/self/self/self/a.yaml", Found::File),
            ("up/b.yaml", Found::Nothing),
            ("one", Found::Nothing),
            ("skip/c.yaml", Found::Ignored),
            ("conf/a.yaml/x", Found::Nothing),
        ] {
            assert_eq!(context.find(&Context::clean(path)), found, "{path}");
        }
        for (path, right) in [
            ("conf/xyz.yaml", None),
            ("conf/aa.yaml", Some("conf/a.yaml")),
            ("cnof/a.yaml", Some("conf/a.yaml")),
            ("cnof/xyz.yaml", None),
            ("nothing", None),
        ] {
            assert_eq!(
                context.slips_of(Utf8Path::new(path)).into_iter().next(),
                right.map(Utf8PathBuf::from),
                "{path}"
            );
        }
        let glob = |pattern: &str| context.glob(Utf8Path::new(pattern)).len();
        assert_eq!((glob("co*/*.yaml"), glob("*/a.yaml"), glob("[x]*"), glob("conf/*")), (1, 2, 0, 2));
    }
}
