//! A project without a suite: the Dockerfiles and manifests that lie in it, what they are taken for, and what is wrong
//! with them for sure.
//!
//! What the tree does not tell is not guessed: who makes a file before a build, which namespaces a cluster has, what is
//! installed there. Such things are noted, and never told as mistakes.

mod builds;
mod contexts;
mod images;
pub(super) mod render;
pub(super) mod tree;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde::Serialize;
use serde_yaml::Value;

use super::cargo::Packages;
use super::dockerfile;
use super::kind_config;
use super::rules::{self, Finding, Knows, RULES};
use super::subject::{Built, Elsewhere, Subject, index, uses};
use crate::dockerfile::script;
use crate::kustomize::is_kustomization;
use crate::plan::Object;
use crate::plan::object::parse_all;
use crate::setup::catalog::Catalog;
use crate::suite::yaml::{Problem, Source};
use crate::suite::{Cluster, Image, Manifests, Suite};

use contexts::Chosen;
use render::{Kustomization, Tools};
use tree::{Tree, within};

/// So many kustomizations and charts are rendered; each costs a process.
const RENDERED: usize = 60;
/// So many things that are not known are told of one Dockerfile.
const TOLD: usize = 5;

/// What a file or folder was taken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Taken {
    /// Relative to the project.
    pub path: Utf8PathBuf,
    /// What it was taken for, and why.
    pub as_what: String,
}

/// What a scan has found.
#[derive(Debug, Default)]
pub struct Scanned {
    pub findings: Vec<Finding>,
    /// In the order of their paths.
    pub taken: Vec<Taken>,
    /// What could not be looked at or is not known.
    pub notes: Vec<String>,
}

/// Looks at everything below `root`.
///
/// # Errors
/// When cargo cannot be asked. What is wrong with the project is the result.
pub fn scan(root: &Utf8Path) -> Result<Scanned> {
    let tree = Tree::read(root);
    let mut scanned = Scanned::default();
    for (folder, why) in &tree.unreadable {
        scanned.notes.push(format!("{folder}: cannot look into it: {why}"));
    }
    let dockerfiles: Vec<Utf8PathBuf> = tree.files.iter().filter(|file| is_dockerfile(file)).cloned().collect();
    let (builds, manifests) = rayon::join(|| builds::find(&tree), || Manifest::read_all(&tree));
    let builds = contexts::choose(&tree, &dockerfiles, &builds);
    dockerfiles_of(&tree, &builds, &mut scanned)?;
    manifests_of(&tree, manifests, &builds, &mut scanned);
    let place = |finding: &Finding| {
        let Problem { file, line, column, message, .. } = &finding.problem;
        (file.clone(), *line, *column, message.clone())
    };
    scanned.findings.sort_by_cached_key(place);
    scanned.findings.dedup();
    scanned.taken.sort();
    scanned.notes.sort();
    scanned.notes.dedup();
    Ok(scanned)
}

fn is_dockerfile(file: &Utf8Path) -> bool {
    let Some(name) = file.file_name() else { return false };
    let lower = name.to_lowercase();
    let is_named = |base: &str| {
        lower == base
            || lower.strip_prefix(base).is_some_and(|rest| rest.starts_with('.'))
            || lower.ends_with(&format!(".{base}"))
    };
    let of_other = [
        ".dockerignore",
        ".containerignore",
        ".j2",
        ".tmpl",
        ".tpl",
        ".template",
        ".in",
        ".erb",
        ".md",
        ".orig",
        ".rej",
        ".swp",
        ".bak",
    ];
    // A program's source that is about such files.
    let of_code = [".c", ".cs", ".go", ".h", ".java", ".js", ".lua", ".php", ".py", ".rb", ".rs", ".ts", ".vim"];
    let is_code = name == lower && of_code.iter().any(|ending| lower.ends_with(ending));
    (is_named("dockerfile") || is_named("containerfile"))
        && !is_code
        && !of_other.iter().any(|ending| lower.ends_with(ending))
}

/// A path of the project for people: the project's own folder is `.`.
fn shown(path: &Utf8Path) -> &Utf8Path {
    if path.as_str().is_empty() { Utf8Path::new(".") } else { path }
}

/// Looks at the Dockerfiles, those of each Cargo workspace together.
fn dockerfiles_of(tree: &Tree, builds: &[Chosen], scanned: &mut Scanned) -> Result<()> {
    let suite = empty_suite();
    let mut built = Vec::new();
    for (at, chosen) in builds.iter().enumerate() {
        let Some(text) = tree.text(&chosen.image.dockerfile) else {
            scanned
                .notes
                .push(format!("{}: a link, too long, or not to be read; not looked at", chosen.image.dockerfile));
            continue;
        };
        built.push((chosen, Built::new(&tree.root, &chosen.image, at, text)));
    }
    let recipes = Recipes::default();
    let made: Vec<BTreeSet<Utf8PathBuf>> = built
        .par_iter()
        .map(|(chosen, built)| {
            contexts::made_before(tree, built, chosen.said.is_some(), &|name| recipes.mention(tree, name))
        })
        .collect();
    let mut by_workspace: BTreeMap<Option<Utf8PathBuf>, Vec<Built<'_>>> = BTreeMap::new();
    for ((chosen, mut built), made) in built.into_iter().zip(made) {
        let image = &chosen.image;
        let called =
            if chosen.images.is_empty() { String::new() } else { format!(", image {}", chosen.images.join(", ")) };
        let why = match &chosen.said {
            Some((file, line)) => format!("{file}:{line}"),
            None => "by what it copies".to_owned(),
        };
        let target = image.target.as_ref().map_or_else(String::new, |target| format!(", target {target}"));
        let as_what = format!("Dockerfile, context {} ({why}){target}{called}", shown(&image.context));
        scanned.taken.push(Taken { path: image.dockerfile.clone(), as_what });
        if !made.is_empty() {
            let names: Vec<&str> = made.iter().take(TOLD).map(|path| path.as_str()).collect();
            let more = made
                .len()
                .checked_sub(TOLD)
                .filter(|more| *more > 0)
                .map_or_else(String::new, |more| format!(" and {more} more"));
            let names = names.join(", ");
            scanned
                .notes
                .push(format!("{}: not in the tree, made before the build perhaps: {names}{more}", image.dockerfile));
        }
        let unread = dockerfile::check(&built, true);
        if !unread.is_empty() {
            scanned.findings.extend(unread.into_iter().map(|problem| Finding { class: rules::DOCKERFILE, problem }));
            continue;
        }
        if built.file.stages.is_empty() {
            scanned.notes.push(format!("{}: it has no FROM; not looked at", image.dockerfile));
            continue;
        }
        built.context.assume(made);
        by_workspace.entry(workspace(tree, &built)).or_default().push(built);
    }
    let elsewhere = Elsewhere::default();
    let catalog = Catalog::default();
    let sources = BTreeMap::new();
    for (folder, built) in by_workspace {
        let mut packages = match &folder {
            Some(folder) => Packages::read(&tree.root.join(folder))?,
            None => Packages::default(),
        };
        let wrong = std::mem::take(&mut packages.problems);
        if let (Some(folder), Some(problem)) = (&folder, wrong.first()) {
            scanned.notes.push(format!("{}: {}", folder.join("Cargo.toml"), problem.message));
        }
        let subject = Subject {
            root: &tree.root,
            suite: &suite,
            catalog: &catalog,
            built,
            sources: &sources,
            objects: &[],
            is_whole: false,
            elsewhere: Some(&elsewhere),
            index: BTreeMap::new(),
            uses: BTreeMap::new(),
            packages,
        };
        judge(&subject, &mut scanned.findings);
    }
    Ok(())
}

/// The recipes' texts, read when they are first asked for.
#[derive(Default)]
struct Recipes(std::sync::OnceLock<Vec<String>>);

impl Recipes {
    /// Whether a recipe that is no Dockerfile speaks of a file of this name.
    fn mention(&self, tree: &Tree, name: &str) -> bool {
        let texts = self.0.get_or_init(|| {
            let files = tree.files.par_iter().filter(|file| builds::is_recipe(file));
            files.filter_map(|file| tree.text(file)).collect()
        });
        !name.is_empty() && texts.iter().any(|text| text.contains(name))
    }
}

/// The Cargo workspace that a Dockerfile compiles: the folder of the manifest in its context, or beside it.
fn workspace(tree: &Tree, built: &Built<'_>) -> Option<Utf8PathBuf> {
    if !built.instructions().any(|run| !script::builds(run).is_empty()) {
        return None;
    }
    let context = within("".into(), built.image.context.as_str())?;
    let beside = built.image.dockerfile.parent().map(Utf8Path::to_owned);
    let has_manifest = |folder: &Utf8PathBuf| tree.root.join(folder).join("Cargo.toml").is_file();
    [Some(context), beside].into_iter().flatten().find(has_manifest)
}

fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for rule in RULES.iter().filter(|rule| rule.knows == Knows::Part) {
        let found = (rule.check)(subject).into_iter();
        findings.extend(found.map(|problem| Finding { class: rule.class, problem }));
    }
}

/// A suite that says nothing.
fn empty_suite() -> Suite {
    let (name, phase, node) = (String::new(), String::new(), String::new());
    Suite {
        name: name.clone(),
        phases: Vec::new(),
        cluster: Cluster { name, config: Utf8PathBuf::new(), node, preload: Vec::new(), phase },
        build: None,
        images: Vec::<Image>::new(),
        manifests: Vec::new(),
        processes: None,
        services: Vec::new(),
        specs: None,
        access: None,
        steps: BTreeMap::new(),
        keep: Default::default(),
        bench: None,
        source: Source::default(),
    }
}

/// A YAML file with Kubernetes objects, of kustomize, or of a chart's values.
struct Manifest {
    source: Source,
    /// The objects that could be read, and what is wrong with the rest.
    objects: Vec<Object>,
    problem: Option<Problem>,
    images: Vec<images::Use>,
}

impl Manifest {
    /// Those of the whole tree, in the order of their names.
    fn read_all(tree: &Tree) -> Vec<Manifest> {
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

/// Objects that are applied together.
struct Group {
    /// The folder that they are rendered from; none where they stand in files as they are.
    of: Option<Utf8PathBuf>,
    sources: BTreeMap<Utf8PathBuf, Source>,
    objects: Vec<Object>,
}

fn manifests_of(tree: &Tree, manifests: Vec<Manifest>, builds: &[Chosen], scanned: &mut Scanned) {
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

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
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

/// What comes out of kustomizations and charts.
#[derive(Default)]
struct Rendered {
    groups: Vec<Group>,
    taken: Vec<Taken>,
    /// Of those that cannot be rendered whatever is done before.
    problems: Vec<Problem>,
}

impl Rendered {
    fn of(tree: &Tree, whole: &Whole<'_>) -> Rendered {
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
struct Whole<'a> {
    /// Those that no other one uses.
    kustomizations: Vec<&'a Kustomization>,
    charts: &'a BTreeSet<Utf8PathBuf>,
    /// The objects of the files that kustomizations bring, by kind and name.
    raw: BTreeMap<(String, String), Vec<Object>>,
    sources: BTreeMap<Utf8PathBuf, Source>,
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
