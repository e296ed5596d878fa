//! What comes out of kustomizations and charts, traced back to the files that it stands in.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::found::{Taken, count, shown};
use super::render::{Kustomization, Tools};
use super::tree::Tree;
use crate::plan::Object;
use crate::plan::object::parse_all;
use crate::suite::yaml::{Problem, Source};

/// So many kustomizations and charts are rendered; each costs a process.
const RENDERED: usize = 60;

/// Objects that are applied together.
pub(super) struct Group {
    /// The folder that they are rendered from; none where they stand in files as they are.
    pub(super) of: Option<Utf8PathBuf>,
    pub(super) sources: BTreeMap<Utf8PathBuf, Source>,
    pub(super) objects: Vec<Object>,
}

/// What comes out of kustomizations and charts.
#[derive(Default)]
pub(super) struct Rendered {
    pub(super) groups: Vec<Group>,
    pub(super) taken: Vec<Taken>,
    /// Of those that cannot be rendered whatever is done before.
    pub(super) problems: Vec<Problem>,
}

impl Rendered {
    pub(super) fn of(tree: &Tree, whole: &Whole<'_>) -> Rendered {
        let tools = Tools::find();
        let charts = whole.charts.iter().map(Utf8PathBuf::as_path).map(Target::Chart);
        let targets: Vec<Target<'_>> =
            whole.kustomizations.iter().copied().map(Target::Kustomization).chain(charts).collect();
        let one = |(at, target): (usize, &Target<'_>)| {
            let (what, folder) = match target {
                Target::Kustomization(one) => ("kustomization", one.folder.as_path()),
                Target::Chart(folder) => ("chart", *folder),
            };
            let outcome = match target {
                _ if at >= RENDERED => Err(format!("{RENDERED} others were")),
                Target::Kustomization(one) => one.render(tree, &tools),
                Target::Chart(folder) => tools.helm(&tree.root.join(folder)),
            };
            let group = outcome.map(|text| match target {
                Target::Kustomization(one) => whole.of_kustomization(tree, one, &text),
                Target::Chart(folder) => of_chart(tree, folder, &text),
            });
            let as_what = match &group {
                Ok(group) => format!("{what}, rendered: {}", count(group.objects.len(), "object")),
                Err(why) => format!("{what}, not rendered: {why}"),
            };
            let problem = match (target, &group) {
                (Target::Kustomization(one), Err(said)) => one.refused(said),
                _ => None,
            };
            (group.ok(), Taken { path: shown(folder).to_owned(), as_what }, problem)
        };
        let done: Vec<(Option<Group>, Taken, Option<Problem>)> = targets.par_iter().enumerate().map(one).collect();
        let mut rendered = Rendered::default();
        for (group, taken, problem) in done {
            rendered.groups.extend(group);
            rendered.taken.push(taken);
            rendered.problems.extend(problem);
        }
        rendered
    }
}

#[derive(Clone, Copy)]
enum Target<'a> {
    Kustomization(&'a Kustomization),
    Chart(&'a Utf8Path),
}

/// What rendered objects are traced back to.
pub(super) struct Whole<'a> {
    /// Those that no other one uses.
    pub(super) kustomizations: Vec<&'a Kustomization>,
    pub(super) charts: &'a BTreeSet<Utf8PathBuf>,
    /// The objects of the files that kustomizations bring, by kind and name.
    pub(super) raw: BTreeMap<(String, String), Vec<Object>>,
    pub(super) sources: BTreeMap<Utf8PathBuf, Source>,
}

impl Whole<'_> {
    /// The objects that kustomize printed, each at the place where it stands in the project: its file, or where none
    /// has it under its name the kustomization.
    fn of_kustomization(&self, tree: &Tree, kustomization: &Kustomization, text: &str) -> Group {
        let file = &kustomization.file;
        let own = Source::new(file.clone(), tree.text(file).unwrap_or_default());
        let of = Some(kustomization.folder.clone());
        let mut group = Group { of, sources: BTreeMap::from([(file.clone(), own)]), objects: Vec::new() };
        let (objects, _) = parse_all(&Source::new(file.clone(), text));
        for mut object in objects {
            let key = (object.reference.kind.clone(), object.reference.name.clone());
            let near = |one: &&Object| {
                let shared = one.file.components().zip(file.components()).take_while(|(one, other)| one == other);
                shared.count()
            };
            let origin = self.raw.get(&key).and_then(|found| found.iter().max_by_key(near));
            (object.document, object.item, object.is_rendered) = (0, Vec::new(), true);
            if let Some(origin) = origin
                && let Some(source) = self.sources.get(&origin.file)
            {
                object.file.clone_from(&origin.file);
                (object.document, object.item) = (origin.document, origin.item.clone());
                group.sources.entry(origin.file.clone()).or_insert_with(|| source.clone());
            }
            group.objects.push(object);
        }
        group
    }
}

/// The objects that Helm printed, each in the file of the chart that it came from. Its lines are known where that file is
/// no template.
fn of_chart(tree: &Tree, folder: &Utf8Path, text: &str) -> Group {
    let mut group = Group { of: Some(folder.to_owned()), sources: BTreeMap::new(), objects: Vec::new() };
    let mut stand: BTreeMap<Utf8PathBuf, Vec<Object>> = BTreeMap::new();
    for document in text.split("\n---") {
        let origin = document.lines().find_map(|line| line.strip_prefix("# Source: ")?.split_once('/'));
        let file = folder.join(origin.map_or("Chart.yaml", |(_, file)| file));
        let document = document.trim_start_matches("---");
        let (objects, _) = parse_all(&Source::new(file.clone(), document));
        let raw = stand.entry(file.clone()).or_insert_with(|| {
            let text = tree.text(&file).filter(|text| !text.contains("{{")).unwrap_or_default();
            let source = Source::new(file.clone(), text);
            let (raw, _) = parse_all(&source);
            group.sources.insert(file, source);
            raw
        });
        group.objects.extend(objects.into_iter().map(|object| {
            let same = |one: &&Object| {
                one.reference.kind == object.reference.kind && one.reference.name == object.reference.name
            };
            let (document, item) =
                raw.iter().find(same).map(|one| (one.document, one.item.clone())).unwrap_or_default();
            Object { document, item, is_rendered: true, ..object }
        }));
    }
    group
}
