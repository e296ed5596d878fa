//! The cluster's part of a suite: kind's configuration, and the pieces of the set-up that it names.

use camino::Utf8Path;

use super::subject::{Subject, listed};
use crate::plan::object::list;
use crate::setup::catalog::{FILE, Kind};
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean};
use crate::suite::{SUITES, Suite};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let cluster = &subject.suite.cluster;
    let mut problems = Vec::new();
    problems.extend(configuration(subject));
    problems.extend(other_suite(subject));
    problems.extend(piece(subject, &crate::at!["cluster", "node"], &cluster.node));
    for (at, name) in cluster.preload.iter().enumerate() {
        problems.extend(piece(subject, &crate::at!["cluster", "preload", at], name));
    }
    problems
}

/// Another suite whose cluster has the same name: they would take it from each other.
fn other_suite(subject: &Subject<'_>) -> Option<Problem> {
    let suite = subject.suite;
    let is_same = |other: &String| {
        *other != suite.name
            && Source::read(subject.root, &Utf8Path::new(SUITES).join(format!("{other}.yaml")))
                .and_then(|source| source.parse::<serde_yaml::Value>())
                .is_ok_and(|value| value["cluster"]["name"].as_str() == Some(&suite.cluster.name))
    };
    let other = Suite::names(subject.root).into_iter().find(is_same)?;
    let message = format!("the cluster of the suite `{other}` has the name `{}`, too", suite.cluster.name);
    let hint = "give each suite a cluster of its own name".to_owned();
    Some(suite.source.problem(&crate::at!["cluster", "name"], message).hint(Some(hint)))
}

/// Files of the project that the nodes are to see, and that are there under nearly the same path. An engine refuses to
/// start a node without them, or makes an empty folder.
fn mounts(subject: &Subject<'_>, source: &Source, config: &serde_yaml::Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (node, value) in list(config, &["nodes"]).iter().enumerate() {
        for (at, mount) in list(value, &["extraMounts"]).iter().enumerate() {
            let Some(path) = mount.get("hostPath").and_then(serde_yaml::Value::as_str) else { continue };
            if path.starts_with(['/', '~']) || path.contains('$') || subject.root.join(path).exists() {
                continue;
            }
            let near = crate::plan::neighbours(subject.root, Utf8Path::new(path));
            let near = || near.iter().map(String::as_str);
            if super::subject::close(path, near()).is_some() {
                let place = crate::at!["nodes", node, "extraMounts", at, "hostPath"];
                let message = format!("`{path}`: there is no such file or folder");
                problems.push(source.problem(&place, message).meant(path, near()));
            }
        }
    }
    problems
}

fn configuration(subject: &Subject<'_>) -> Vec<Problem> {
    let config = &subject.suite.cluster.config;
    let at = crate::at!["cluster", "config"];
    match Source::read(subject.root, config) {
        Ok(source) => match source.parse::<serde_yaml::Value>() {
            Ok(value) => {
                let mut problems = mounts(subject, &source, &value);
                problems.extend(super::kind_config::check(&source, &subject.suite.cluster.name, value));
                problems
            }
            Err(problem) => vec![problem],
        },
        Err(problem) => {
            let folder = config.parent().unwrap_or(Utf8Path::new(""));
            let near = crate::plan::neighbours(subject.root, config);
            let names: Vec<String> =
                near.iter().filter_map(|path| Utf8Path::new(path).file_name().map(str::to_owned)).collect();
            let hint = did_you_mean(config.as_str(), near.iter().map(String::as_str))
                .or_else(|| listed(folder, &names).filter(|_| folder != ""));
            vec![subject.suite.source.problem(&at, format!("`{config}`: {}", problem.message)).hint(hint)]
        }
    }
}

/// A piece that the nodes run or have from the start: an image that is listed.
fn piece(subject: &Subject<'_>, at: &[Segment], name: &str) -> Option<Problem> {
    let images =
        || subject.catalog.pieces.iter().filter(|piece| piece.kind == Kind::Image).map(|piece| piece.name.as_str());
    if images().any(|image| image == name) {
        return None;
    }
    let listed: Vec<&str> = images().collect();
    let hint = did_you_mean(name, images())
        .or_else(|| (!listed.is_empty()).then(|| format!("there are: {}", listed.join(", "))))
        .or_else(|| Some(format!("list it in {FILE}")));
    let message = format!("{} lists no image `{name}`", subject.catalog.file());
    Some(subject.suite.source.problem(at, message).hint(hint))
}
