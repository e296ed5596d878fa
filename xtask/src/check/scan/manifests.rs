//! Kubernetes objects that stand in a project's files.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde_yaml::Value;

use super::contexts::Chosen;
use super::found::{Scanned, Taken, count, empty_suite, judge, shown};
use super::render::{self, Kustomization};
use super::rendered::{Group, Rendered, Whole};
use super::tree::Tree;
use super::{builds, images};
use crate::check::cargo::Packages;
use crate::check::kind_config;
use crate::check::rules::{self, Finding};
use crate::check::subject::{Elsewhere, Subject, index, uses};
use crate::kustomize::is_kustomization;
use crate::plan::Object;
use crate::plan::object::parse_all;
use crate::setup::catalog::Catalog;
use crate::suite::Manifests;
use crate::suite::yaml::{Problem, Source};

/// A YAML file with Kubernetes objects, of kustomize, or of a chart's values.
pub(super) struct Manifest {
    source: Source,
    /// The objects that could be read, and what is wrong with the rest.
    objects: Vec<Object>,
    problem: Option<Problem>,
    images: Vec<images::Use>,
}

impl Manifest {
    /// Those of the whole tree, in the order of their names.
    pub(super) fn read_all(tree: &Tree) -> Vec<Manifest> {
        let is_yaml =
            |file: &&Utf8PathBuf| matches!(file.extension(), Some("yaml" | "yml")) && !builds::is_recipe(file);
        tree.files.par_iter().filter(is_yaml).filter_map(|file| Manifest::read(tree, file)).collect()
    }

    fn read(tree: &Tree, file: &Utf8Path) -> Option<Manifest> {
        let text = tree.text(file)?;
        let images = images::uses(file, &text);
        let source = Source::new(file, text);
        let is_other = is_kustomization(file) || !source.text.contains("apiVersion") || !source.text.contains("kind");
        if is_other {
            return (!images.is_empty()).then_some(Manifest { source, objects: Vec::new(), problem: None, images });
        }
        let (objects, problem) = parse_all(&source);
        Some(Manifest { source, objects, problem, images })
    }

    /// Whether the text is filled in by another program first, as its objects tell: `{{ x }}` is a mapping with a mapping
    /// as its key.
    fn has_placeholders(&self) -> bool {
        let is_one = |name: &str| name.contains("{{") || name.contains('$') || name.contains('<');
        self.objects.iter().any(|object| {
            is_one(&object.reference.name) || is_one(&object.reference.namespace) || has_placeholder(&object.value)
        })
    }

    /// As [`Manifest::has_placeholders`], of a text that is no YAML: by its marks, or by a placeholder in the line with
    /// the mistake.
    fn is_template(&self, problem: &Problem) -> bool {
        let marks = ["{{", "{%", "<%", "#@", "[["];
        let line = self.source.text.lines().nth(problem.line.saturating_sub(1)).unwrap_or_default();
        let placeholder = |mark: char| {
            let inside = line.split(mark).skip(1);
            inside.into_iter().any(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        };
        marks.iter().any(|mark| self.source.text.contains(mark))
            || ['{', '<', '@', '%', '$'].into_iter().any(placeholder)
    }
}

fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('<') && text.ends_with('>') && !text.contains('\n'),
        Value::Sequence(items) => items.iter().any(has_placeholder),
        Value::Mapping(items) => items.iter().any(|(key, item)| is_filled_in(key) || has_placeholder(item)),
        _ => false,
    }
}

/// Whether a key is one of another program's: `{{ x }}`, or the `(expression)` of one that compares objects.
fn is_filled_in(key: &Value) -> bool {
    key.is_mapping() || key.as_str().is_some_and(|key| key.starts_with('(') && key.ends_with(')'))
}

pub(super) fn look_at(tree: &Tree, manifests: Vec<Manifest>, builds: &[Chosen], scanned: &mut Scanned) {
    let charts = charts(tree);
    let in_chart =
        |file: &Utf8Path| file.ancestors().skip(1).find(|folder| charts.contains(*folder)).map(Utf8Path::to_owned);
    let (mut kustomizations, problems) = kustomizations(tree);
    scanned.findings.extend(problems.into_iter().map(|problem| Finding { class: rules::MANIFEST, problem }));
    let of_kustomize: BTreeSet<Utf8PathBuf> = kustomizations.iter().flat_map(|one| one.brings.clone()).collect();
    let patches: BTreeSet<Utf8PathBuf> = kustomizations.iter().flat_map(|one| one.changes.clone()).collect();
    let with_kustomization: BTreeSet<Utf8PathBuf> = kustomizations.iter().map(|one| one.folder.clone()).collect();
    // Where each object stands, whatever brings it.
    let mut raw: BTreeMap<(String, String), Vec<Object>> = BTreeMap::new();
    let mut elsewhere = Elsewhere::default();
    let mut plain: BTreeMap<Utf8PathBuf, Group> = BTreeMap::new();
    let mut sources: BTreeMap<Utf8PathBuf, Source> = BTreeMap::new();
    let mut named = Vec::new();
    for manifest in manifests {
        let file = manifest.source.file.clone();
        named.extend(manifest.images.iter().cloned());
        for object in &manifest.objects {
            let reference = &object.reference;
            elsewhere.objects.insert((reference.kind.clone(), reference.name.clone()));
        }
        let of_chart = in_chart(&file).is_some();
        let is_template =
            manifest.problem.as_ref().map_or_else(|| manifest.has_placeholders(), |wrong| manifest.is_template(wrong));
        if is_template && !of_chart {
            scanned.notes.push(format!("{file}: a template, not looked at before it is filled in"));
        }
        if is_template || of_chart {
            continue;
        }
        if let Some(problems) = of_kind(&manifest.source) {
            scanned.taken.push(Taken { path: file.clone(), as_what: "kind's configuration".to_owned() });
            scanned.findings.extend(problems.into_iter().map(|problem| Finding { class: rules::CLUSTER, problem }));
        }
        scanned.findings.extend(manifest.problem.map(|problem| Finding { class: rules::MANIFEST, problem }));
        if manifest.objects.is_empty() {
            continue;
        }
        if patches.contains(&file) {
            continue;
        }
        if !of_kustomize.contains(&file) && file.parent().is_some_and(|folder| with_kustomization.contains(folder)) {
            scanned.notes.push(format!("{file}: brought by no kustomization, not looked at"));
            continue;
        }
        if of_kustomize.contains(&file) {
            for object in manifest.objects {
                let key = (object.reference.kind.clone(), object.reference.name.clone());
                raw.entry(key).or_default().push(object);
            }
            sources.insert(file, manifest.source);
            continue;
        }
        let folder = file.parent().unwrap_or(Utf8Path::new("")).to_owned();
        let group =
            plain.entry(folder).or_insert_with(|| Group { of: None, sources: BTreeMap::new(), objects: Vec::new() });
        group.objects.extend(manifest.objects);
        group.sources.insert(file, manifest.source);
    }
    let slips = images::slips(builds, &named);
    scanned.findings.extend(slips.into_iter().map(|problem| Finding { class: rules::IMAGE_UNKNOWN, problem }));
    for (folder, group) in &plain {
        let (files, objects) = (group.sources.len(), group.objects.len());
        let as_what = format!("manifests, {} in {}", count(objects, "object"), count(files, "file"));
        scanned.taken.push(Taken { path: shown(folder).to_owned(), as_what });
    }
    let mut groups: Vec<Group> = plain.into_values().collect();
    let wholes = render::wholes(&mut kustomizations);
    let kustomizations = wholes.into_iter().map(|at| &kustomizations[at]).collect();
    let rendered = Rendered::of(tree, &Whole { kustomizations, charts: &charts, raw, sources });
    groups.extend(rendered.groups);
    scanned.taken.extend(rendered.taken);
    scanned.findings.extend(rendered.problems.into_iter().map(|problem| Finding { class: rules::MANIFEST, problem }));
    let found: Vec<Vec<Finding>> = groups.par_iter().map(|group| of_group(tree, group, &elsewhere)).collect();
    // What many kustomizations bring is wrong once.
    let mut told = BTreeSet::new();
    for (group, found) in groups.iter().zip(found) {
        for mut finding in found {
            let Problem { file, line, column, .. } = &finding.problem;
            if let Some(folder) = &group.of {
                if *line > 0 && !told.insert((finding.class.id, file.clone(), *line, *column)) {
                    continue;
                }
                finding.problem.message.push_str(&format!(", as {} is rendered", shown(folder)));
            }
            scanned.findings.push(finding);
        }
    }
}

/// What is wrong with kind's configuration; none where the text is another one, or is filled in first.
fn of_kind(source: &Source) -> Option<Vec<Problem>> {
    if !source.text.contains(kind_config::API_VERSION) || source.text.contains('$') {
        return None;
    }
    let config = source.parse::<Value>().ok()?;
    let is_it = config.get("apiVersion").and_then(Value::as_str) == Some(kind_config::API_VERSION)
        && config.get("kind").and_then(Value::as_str) == Some("Cluster");
    let name = config.get("name").and_then(Value::as_str).unwrap_or("kind").to_owned();
    (is_it && !has_placeholder(&config)).then(|| kind_config::check(source, &name, config))
}

/// The folders of charts that are part of no other one.
fn charts(tree: &Tree) -> BTreeSet<Utf8PathBuf> {
    let all: BTreeSet<Utf8PathBuf> = tree
        .files
        .iter()
        .filter(|file| file.file_name() == Some("Chart.yaml"))
        .filter_map(|file| file.parent().map(Utf8Path::to_owned))
        .collect();
    let is_part = |folder: &Utf8PathBuf| folder.ancestors().skip(1).any(|above| all.contains(above));
    all.iter().filter(|folder| !is_part(folder)).cloned().collect()
}

fn kustomizations(tree: &Tree) -> (Vec<Kustomization>, Vec<Problem>) {
    let files: Vec<&Utf8PathBuf> = tree.files.iter().filter(|file| is_kustomization(file)).collect();
    let read: Vec<(Kustomization, Vec<Problem>)> =
        files.par_iter().filter_map(|file| Kustomization::read(tree, file)).collect();
    let (all, problems): (Vec<Kustomization>, Vec<Vec<Problem>>) = read.into_iter().unzip();
    (all, problems.into_iter().flatten().collect())
}

/// What the rules find in objects that are applied together.
fn of_group(tree: &Tree, group: &Group, elsewhere: &Elsewhere) -> Vec<Finding> {
    let mut suite = empty_suite();
    // Nobody knows in which order files are applied: each is looked at by itself.
    suite.manifests = group
        .sources
        .keys()
        .map(|file| Manifests {
            name: file.to_string(),
            files: vec![file.clone()],
            kustomize: None,
            needs: Vec::new(),
            phase: String::new(),
        })
        .collect();
    let objects: Vec<&Object> = group.objects.iter().collect();
    let subject = Subject {
        root: &tree.root,
        suite: &suite,
        catalog: &Catalog::default(),
        built: Vec::new(),
        sources: &group.sources,
        objects: &objects,
        is_whole: false,
        elsewhere: Some(elsewhere),
        index: index(&objects),
        uses: uses(&objects),
        packages: Packages::default(),
    };
    let mut findings = Vec::new();
    judge(&subject, &mut findings);
    findings
}
