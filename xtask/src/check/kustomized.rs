//! Groups that kustomize makes: what is wrong with their kustomizations as they stand, and where in the project the
//! objects stand that come out of them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::scan::render::Kustomization;
use super::scan::tree::Tree;
use crate::kustomize::kustomization_in;
use crate::plan::Object;
use crate::plan::object::parse_all;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Source};

/// A folder that the suite has rendered.
#[derive(Debug)]
pub(super) struct Kustomized {
    /// The place of its group in the suite.
    group: usize,
    /// Its own kustomization.
    file: Utf8PathBuf,
    /// All files that the objects stand in, and the kustomizations.
    sources: BTreeMap<Utf8PathBuf, Source>,
    /// The objects as they stand there.
    raw: Vec<Object>,
    /// Of the paths that the kustomizations name.
    pub(super) problems: Vec<Problem>,
}

impl Kustomized {
    /// Those of a suite, as far as they can be read.
    pub(super) fn all(root: &Utf8Path, suite: &Suite) -> Vec<Kustomized> {
        let groups = suite.manifests.iter().enumerate();
        groups.filter_map(|(at, group)| Kustomized::read(root, at, group.kustomize.as_ref()?)).collect()
    }

    fn read(root: &Utf8Path, group: usize, folder: &Utf8Path) -> Option<Kustomized> {
        let tree = Tree::unlisted(root);
        let file = kustomization_in(root, folder)?;
        let mut kustomized =
            Kustomized { group, file, sources: BTreeMap::new(), raw: Vec::new(), problems: Vec::new() };
        let mut open = vec![folder.to_owned()];
        let mut seen = BTreeSet::new();
        // Folders that bring each other end here, and fail in kustomize.
        while let Some(path) = open.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            if !root.join(&path).is_dir() {
                if let Some(text) = tree.text(&path) {
                    let source = Source::new(path.clone(), text);
                    kustomized.raw.extend(parse_all(&source).0);
                    kustomized.sources.insert(path, source);
                }
                continue;
            }
            let read = kustomization_in(root, &path).and_then(|file| Kustomization::read(&tree, &file));
            let Some((kustomization, problems)) = read else { continue };
            kustomized.problems.extend(problems);
            let text = tree.text(&kustomization.file).unwrap_or_default();
            kustomized.sources.insert(kustomization.file.clone(), Source::new(kustomization.file.clone(), text));
            open.extend(kustomization.brings);
        }
        Some(kustomized)
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        self.sources.keys()
    }

    /// Where the suite names it.
    pub(super) fn place(&self, suite: &Suite) -> Problem {
        suite.source.problem(&crate::at!["manifests", self.group, "kustomize"], "")
    }

    /// Puts the objects that were rendered where they stand in the project: in their files, or where none has them (as
    /// those that a generator makes) in the kustomization.
    pub(super) fn trace(self, groups: &mut [Vec<Object>], sources: &mut BTreeMap<Utf8PathBuf, Source>) {
        for object in groups[self.group].iter_mut().filter(|object| object.is_rendered) {
            (object.document, object.item) = (0, Vec::new());
            match self.origin(object) {
                Some(origin) => {
                    object.file.clone_from(&origin.file);
                    (object.document, object.item) = (origin.document, origin.item.clone());
                }
                None => object.file.clone_from(&self.file),
            }
        }
        sources.extend(self.sources);
    }

    /// The object that `rendered` was: of its kind, and of its name but for what kustomize puts before and behind it.
    fn origin(&self, rendered: &Object) -> Option<&Object> {
        let (kind, name) = (&rendered.reference.kind, &rendered.reference.name);
        let same_kind = self.raw.iter().filter(|raw| raw.reference.kind == *kind);
        let fits = same_kind.filter(|raw| name.contains(raw.reference.name.as_str()));
        fits.max_by_key(|raw| raw.reference.name.len())
    }
}
