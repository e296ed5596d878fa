//! Objects of one group that stand before what they cannot be applied without: they are applied in the order of the
//! files and of the documents in them.

use std::collections::{BTreeMap, BTreeSet};

use super::subject::Subject;
use crate::plan::Object;
use crate::suite::yaml::Problem;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut by_file: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
    for &object in subject.objects {
        by_file.entry(object.file.as_str()).or_default().push(object);
    }
    let mut problems = Vec::new();
    for group in &subject.suite.manifests {
        let objects: Vec<&Object> =
            group.sources().filter_map(|file| by_file.get(file.as_str())).flatten().copied().collect();
        // What is brought behind its first user, by what it is called.
        let mut behind: BTreeMap<String, &Object> = BTreeMap::new();
        let mut told: BTreeSet<String> = BTreeSet::new();
        let mut found = Vec::new();
        for object in objects.into_iter().rev() {
            for (need, path) in needs(object) {
                if let Some(brought) = behind.get(&need) {
                    let message =
                        format!("{} is applied before {}, which it needs", object.reference, brought.reference);
                    let place =
                        if brought.file == object.file { String::new() } else { format!(" of {}", brought.file) };
                    let hint = Some(format!("put {}{place} before it", brought.reference));
                    found.push((need, object.problem(subject.source(object), path, message).hint(hint)));
                }
            }
            if let Some(name) = brings(object) {
                behind.insert(name, object);
            }
        }
        // The first user of each says enough.
        for (need, problem) in found.into_iter().rev() {
            if told.insert(need) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// What this object brings that others cannot be applied without.
fn brings(object: &Object) -> Option<String> {
    let me = &object.reference;
    match me.kind.as_str() {
        "Namespace" => Some(format!("namespace {}", me.name)),
        "CustomResourceDefinition" => {
            Some(format!("kind {} {}", object.text(&["spec", "group"])?, object.text(&["spec", "names", "kind"])?))
        }
        "ServiceAccount" => Some(format!("account {}/{}", me.namespace, me.name)),
        _ => None,
    }
}

/// What this object cannot be applied without, and where it says so. A pod is refused without its ServiceAccount; a
/// workload's pods are tried again.
fn needs(object: &Object) -> Vec<(String, &'static [&'static str])> {
    let me = &object.reference;
    let mut needs: Vec<(String, &'static [&'static str])> = vec![
        (format!("namespace {}", me.namespace), &["metadata", "namespace"]),
        (format!("kind {} {}", object.api_group(), me.kind), &["kind"]),
    ];
    if me.kind == "Pod"
        && let Some(account) = object.text(&["spec", "serviceAccountName"])
    {
        needs.push((format!("account {}/{account}", me.namespace), &["spec", "serviceAccountName"]));
    }
    needs
}
