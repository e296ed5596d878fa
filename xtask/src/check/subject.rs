//! What the rules look at.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde_yaml::Value;

use super::cargo::Packages;
use super::context::Context;
use super::ignore::Ignore;
use crate::dockerfile::{Dockerfile, Instruction};
use crate::image_name::full;
use crate::plan::Object;
use crate::plan::object::{list, pod_spec_at};
use crate::setup::catalog::Catalog;
use crate::suite::yaml::{Problem, Segment, Source, slips};
use crate::suite::{Image, Suite};

/// So many names at most are listed where another one is looked for.
const LISTED: usize = 8;

/// One of the suite's images, with what it is built from.
pub(super) struct Built<'a> {
    pub(super) image: &'a Image,
    /// Its place among the suite's images.
    pub(super) at: usize,
    pub(super) source: Source,
    pub(super) file: Dockerfile,
    /// The place of the stage that it is made of.
    pub(super) target: Option<usize>,
    pub(super) context: Context,
    /// The context's folder, as cargo tells its own.
    pub(super) folder: Utf8PathBuf,
}

/// The rest of a project of which a part is looked at. What is not in it may be all the same: only slips of what is
/// there are told for sure.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// Kinds and names of all objects that stand anywhere.
    pub(super) objects: BTreeSet<(String, String)>,
}

/// A container: the object that makes its pods, its place in the document, the pods' specification, and itself.
pub(super) type Use<'a> = (&'a Object, Vec<Segment>, &'a Value, &'a Value);

/// Everything that the rules look at.
pub(super) struct Subject<'a> {
    pub(super) root: &'a Utf8Path,
    pub(super) suite: &'a Suite,
    pub(super) catalog: &'a Catalog,
    /// Those whose Dockerfile is there.
    pub(super) built: Vec<Built<'a>>,
    /// The texts of all manifests.
    pub(super) sources: &'a BTreeMap<Utf8PathBuf, Source>,
    /// The objects of all manifests.
    pub(super) objects: &'a [&'a Object],
    /// Whether these are all: a manifest that cannot be read may hold anything.
    pub(super) is_whole: bool,
    /// Where only a part of a project is looked at: what is known of the rest.
    pub(super) elsewhere: Option<&'a Elsewhere>,
    /// The objects, by kind, namespace and name.
    pub(super) index: BTreeMap<(&'a str, &'a str, &'a str), &'a Object>,
    /// The containers of each image, by its whole reference.
    pub(super) uses: BTreeMap<String, Vec<Use<'a>>>,
    pub(super) packages: Packages,
}

pub(super) fn key(object: &Object) -> (&str, &str, &str) {
    let reference = &object.reference;
    (&reference.kind, &reference.namespace, &reference.name)
}

pub(super) fn index<'a>(objects: &[&'a Object]) -> BTreeMap<(&'a str, &'a str, &'a str), &'a Object> {
    objects.iter().map(|object| (key(object), *object)).collect()
}

pub(super) fn uses<'a>(objects: &[&'a Object]) -> BTreeMap<String, Vec<Use<'a>>> {
    let mut uses: BTreeMap<String, Vec<Use<'a>>> = BTreeMap::new();
    for &object in objects {
        for (place, spec, container) in containers(object) {
            if let Some(image) = container.get("image").and_then(Value::as_str) {
                uses.entry(full(image)).or_default().push((object, place, spec, container));
            }
        }
    }
    uses
}

impl<'a> Built<'a> {
    /// The image that is built from the Dockerfile's `text`.
    pub(super) fn new(root: &Utf8Path, image: &'a Image, at: usize, text: String) -> Built<'a> {
        let folder = root.join(&image.context);
        let args: Vec<(String, String)> = image.args.clone().into_iter().collect();
        let file = Dockerfile::parse_with(&text, &args);
        let ignore = Ignore::read(root, &image.context, &image.dockerfile);
        let real = folder.canonicalize_utf8().unwrap_or_else(|_| folder.clone());
        Built {
            image,
            at,
            source: Source::new(image.dockerfile.clone(), text),
            target: file.target(image),
            file,
            context: Context::new(folder, ignore),
            folder: real,
        }
    }

    /// The place of the stage that compiles the image's binaries.
    pub(super) fn compiles(&self) -> Option<usize> {
        self.file.compiles(self.target?, self.image.stage.as_deref())
    }

    /// What is wrong with a Dockerfile that has no FROM.
    pub(super) fn without_stages(&self) -> Option<Problem> {
        let hint = Some("begin it with FROM".to_owned());
        self.file.stages.is_empty().then(|| self.on_line(1, "no stage: there is no FROM".into(), hint))
    }

    /// The instructions of the stages that the image needs.
    pub(super) fn instructions(&self) -> impl Iterator<Item = &Instruction> {
        let stages = self.target.map(|target| self.file.needed(target, None).0).unwrap_or_default();
        stages.into_iter().flat_map(|stage| &self.file.stages[stage].instructions)
    }

    /// A path of this machine, relative to the context; none where it lies outside.
    pub(super) fn in_context(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        path.strip_prefix(&self.folder).map(Utf8Path::to_owned).ok()
    }

    /// A problem on a line of the Dockerfile.
    pub(super) fn on_line(&self, line: usize, message: String, hint: Option<String>) -> Problem {
        Problem { file: self.source.file.clone(), line, column: 1, message, hint, fix: None }
    }
}

impl Elsewhere {
    /// Whether `wrong` is a slip of the object `near` for sure: there is no `wrong` anywhere, and it is no other one of
    /// a series (`config-1`, `config-2`).
    pub(super) fn is_slip(&self, kind: &str, wrong: &str, near: &str) -> bool {
        let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        !self.objects.contains(&(kind.to_owned(), wrong.to_owned())) && letters(wrong) != letters(near)
    }
}

impl<'a> Subject<'a> {
    /// The text that an object stands in.
    pub(super) fn source(&self, object: &Object) -> &'a Source {
        self.sources.get(&object.file).unwrap_or(&self.suite.source)
    }

    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&'a Object> {
        self.index.get(&(kind, namespace, name)).copied()
    }

    /// The references of the images that are on the node without a registry.
    pub(super) fn there(&self) -> Vec<String> {
        let built = self.suite.images.iter().map(|image| image.reference.clone());
        let preload = self.suite.cluster.preload.iter();
        let preloaded =
            preload.filter_map(|name| self.catalog.pieces.iter().find(|piece| piece.name == *name)?.replaces.clone());
        built.chain(preloaded).collect()
    }
}

/// The containers that an object's pods have: the place of each in the document, the pods' specification, itself.
pub(super) fn containers(object: &Object) -> Vec<(Vec<Segment>, &Value, &Value)> {
    let Some((path, spec)) = pod_spec_at(object) else { return Vec::new() };
    let mut all = Vec::new();
    for key in ["containers", "initContainers"] {
        for (at, container) in list(spec, &[key]).iter().enumerate() {
            let place = [object.place(path), vec![Segment::from(key), Segment::from(at)]].concat();
            all.push((place, spec, container));
        }
    }
    all
}

/// The one of `right` that `wrong` is a slip of.
pub(super) fn close<'n>(wrong: &str, right: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    slips(wrong, right).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// `folder/ has a, b`; none where it has nothing, or so much that a few names of it tell nothing.
pub(super) fn listed(folder: &Utf8Path, names: &[String]) -> Option<String> {
    let shown: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.starts_with('.')).collect();
    let folder = folder.as_str().trim_end_matches('/');
    let folder = if folder.is_empty() { "the root".to_owned() } else { format!("{folder}/") };
    (!shown.is_empty() && shown.len() <= LISTED).then(|| format!("{folder} has {}", shown.join(", ")))
}
