//! What would go wrong, before it costs minutes: read off the parsed suite, its Dockerfiles, its
//! manifests and Cargo's metadata, without an engine or a cluster.
//!
//! Each rule is a file. No rule names a file or a value of this project.

pub mod allow;
mod bench_edit;
mod cargo;
mod cluster;
mod context;
mod copies;
mod declared;
mod dockerfile;
pub mod fix;
mod host_layout;
mod ignore;
mod image_paths;
mod images;
mod kind_config;
mod kustomized;
mod layout;
mod limits;
mod made;
mod order;
mod packages;
mod pods;
mod ports;
mod pull_policy;
mod rbac;
mod rego;
mod rules;
pub mod scan;
mod schema;
mod security;
mod selectors;
mod services;
mod specs;
mod subject;
#[cfg(test)]
mod tests;
mod volumes;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::dockerfile::Dockerfile;
use crate::plan::{self, BuildMode, Object};
use crate::setup::catalog::Catalog;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, did_you_mean, read_file};
use crate::target::kind::LAYOUT;
use crate::target::processes;

use kustomized::Kustomized;
use rules::RULES;
use subject::{Built, Subject, index, uses};

pub use cargo::Packages;
pub use rules::{Class, Finding, NOT_RENDERED, SUITE, Severity, classes, explain, first_sentence, ids};

/// Looks for all that is wrong with `suite`, errors and warnings alike.
///
/// # Errors
/// When cargo cannot be asked. What the rules find is the result.
pub fn check(root: &Utf8Path, suite: &Suite) -> Result<Vec<Problem>> {
    Ok(findings(root, suite)?.into_iter().map(|finding| finding.problem).collect())
}

/// As [`check`], each with its class; in the order of files and lines.
///
/// # Errors
/// As [`check`].
pub fn findings(root: &Utf8Path, suite: &Suite) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut add = |class: Class, problems: Vec<Problem>| {
        found.extend(problems.into_iter().map(|problem| Finding { class, problem }));
    };
    let mut packages = Packages::read(root)?;
    add(rules::CARGO, std::mem::take(&mut packages.problems));
    let mut problems = Vec::new();
    let catalog = catalog(root, &mut problems);
    let mut unread = Vec::new();
    let built = built(root, suite, &mut problems, &mut unread);
    add(rules::DOCKERFILE, unread);
    problems.extend(packages.named(suite));
    problems.extend(dependencies(root, suite));
    problems.extend(specs::check(root, suite));
    let mut is_whole = true;
    let kustomized = Kustomized::all(root, suite);
    let mut sources = plan::read_manifests(root, suite).unwrap_or_else(|missing| {
        problems.extend(missing.0.into_iter().filter(|problem| !is_explained(suite, problem, &kustomized)));
        is_whole = false;
        BTreeMap::new()
    });
    add(rules::SUITE, problems);
    let mut groups = Vec::new();
    if is_whole {
        let (parsed, problems) = plan::parse_groups(suite, &sources);
        groups = parsed;
        let unrendered = plan::unrendered(suite, &sources);
        is_whole = problems.is_empty() && unrendered.is_empty();
        add(rules::MANIFEST, problems);
        add(rules::NOT_RENDERED, unrendered);
    }
    for mut one in kustomized {
        add(rules::MANIFEST, std::mem::take(&mut one.problems));
        if !groups.is_empty() {
            one.trace(&mut groups, &mut sources);
        }
    }
    if is_whole && let Err(problems) = plan::derive_groups(suite, &sources, &groups, BuildMode::Host, &LAYOUT) {
        add(rules::PLAN, problems.0);
    }
    if is_whole && suite.processes.is_some() {
        add(rules::SUITE, processes::problems(root, suite, &sources));
    }
    let objects: Vec<&Object> = groups.iter().flatten().collect();
    let uses = uses(&objects);
    let index = index(&objects);
    let (sources, objects, catalog) = (&sources, &objects, &catalog);
    let subject =
        Subject { root, suite, catalog, built, sources, objects, is_whole, elsewhere: None, index, uses, packages };
    for rule in RULES {
        add(rule.class, (rule.check)(&subject));
    }
    let place = |finding: &Finding| {
        let Problem { file, line, column, message, .. } = &finding.problem;
        (file.clone(), *line, *column, message.clone())
    };
    found.sort_by_cached_key(place);
    found.dedup();
    Ok(found)
}

/// Whether a kustomization that cannot be rendered says itself what is wrong with it.
fn is_explained(suite: &Suite, problem: &Problem, kustomized: &[Kustomized]) -> bool {
    let is_here = |one: &&Kustomized| {
        let place = one.place(suite);
        (&place.file, place.line, place.column) == (&problem.file, problem.line, problem.column)
    };
    kustomized.iter().find(is_here).is_some_and(|one| !one.problems.is_empty())
}

/// The files that a suite is read from, in which comments may allow something.
pub fn files(root: &Utf8Path, suite: &Suite) -> BTreeSet<Utf8PathBuf> {
    let kustomized = Kustomized::all(root, suite);
    let kustomized = kustomized.iter().flat_map(Kustomized::files).cloned();
    let manifests = suite.manifests.iter().flat_map(|group| group.files.iter().cloned());
    let dockerfiles = suite.images.iter().map(|image| image.dockerfile.clone());
    let policies = suite.services.iter().flat_map(|service| &service.policies).map(|policy| policy.file.clone());
    let own = [suite.source.file.clone(), suite.cluster.config.clone()];
    manifests.chain(kustomized).chain(dockerfiles).chain(policies).chain(own).collect()
}

/// The list of the set-up's pieces; an empty one where it cannot be read.
fn catalog(root: &Utf8Path, problems: &mut Vec<Problem>) -> Catalog {
    Catalog::read(root).unwrap_or_else(|error| {
        let (file, message) = (crate::setup::catalog::FILE.into(), format!("{error:#}"));
        problems.push(Problem { file, line: 0, column: 0, message, ..Problem::default() });
        Catalog::default()
    })
}

/// The images whose Dockerfiles can be read; what is wrong with the paths of the others, and what keeps theirs from it.
fn built<'a>(
    root: &Utf8Path,
    suite: &'a Suite,
    problems: &mut Vec<Problem>,
    unread: &mut Vec<Problem>,
) -> Vec<Built<'a>> {
    let mut all = Vec::new();
    for (at, image) in suite.images.iter().enumerate() {
        // Any bytes may stand in a Dockerfile's strings.
        let text = match read_file(&root.join(&image.dockerfile)) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => {
                let path = crate::at!["images", at, "dockerfile"];
                let why = format!("cannot read it: {error}");
                problems.push(plan::unusable(root, suite, &path, &image.dockerfile, &why));
                continue;
            }
        };
        if !root.join(&image.context).is_dir() {
            let path = crate::at!["images", at, "context"];
            problems.push(plan::unusable(root, suite, &path, &image.context, "there is no such folder"));
            continue;
        }
        let built = Built::new(root, image, at, text);
        let wrong = dockerfile::check(&built, false);
        if !wrong.is_empty() {
            unread.extend(wrong);
            continue;
        }
        if let (None, Some(name)) = (built.target, &image.target) {
            let path = crate::at!["images", at, "target"];
            let hint = did_you_mean(name, built.file.stages.iter().filter_map(|stage| stage.name.as_deref()));
            let message = format!("{} has no stage `{name}`", built.source.file);
            problems.push(suite.source.problem(&path, message).hint(hint));
        }
        problems.extend(stage(suite, &built));
        all.push(built);
    }
    all
}

/// What is wrong with the stage that the suite says is replaced by a build on the host.
fn stage(suite: &Suite, built: &Built<'_>) -> Option<Problem> {
    let (name, target) = (built.image.stage.as_deref()?, built.target?);
    if built.compiles().is_some() {
        return None;
    }
    let file = &built.source.file;
    let path = crate::at!["images", built.at, "stage"];
    if built.file.stage(name) == Some(target) {
        let message = format!("the image is the stage `{name}` itself: nothing can stand in for it");
        let hint = "name the stage that its binaries are copied from".to_owned();
        return Some(suite.source.problem(&path, message).hint(Some(hint)));
    }
    let message = match built.file.stage(name) {
        Some(_) => format!("the image needs nothing of the stage `{name}` of {file}"),
        None => format!("{file} has no stage `{name}`"),
    };
    let needed = built.file.needed(target, None).0.into_iter().filter(|stage| *stage != target);
    let names: Vec<&str> = needed.filter_map(|stage| built.file.stages[stage].name.as_deref()).collect();
    let listed = || format!("it needs {}", if names.is_empty() { "no other stage".into() } else { names.join(", ") });
    Some(suite.source.problem(&path, message).meant(name, names.iter().copied()).or_hint(listed))
}

/// What is wrong with the stage that all images share.
fn dependencies(root: &Utf8Path, suite: &Suite) -> Option<Problem> {
    let dependencies = suite.build.as_ref()?.dependencies.as_ref()?;
    let place = |key: &str| crate::at!["build", "dependencies", key].to_vec();
    let text = match read_file(&root.join(&dependencies.dockerfile)) {
        Ok(text) => text,
        Err(error) => {
            let why = format!("cannot read it: {error}");
            return Some(plan::unusable(root, suite, &place("dockerfile"), &dependencies.dockerfile, &why));
        }
    };
    let file = Dockerfile::parse(&String::from_utf8_lossy(&text));
    let name = dependencies.target.as_str();
    if file.stages.is_empty() || file.stage(name).is_some() {
        return None;
    }
    let message = format!("{} has no stage `{name}`", dependencies.dockerfile);
    let names = file.stages.iter().filter_map(|stage| stage.name.as_deref());
    Some(suite.source.problem(&place("target"), message).meant(name, names))
}
