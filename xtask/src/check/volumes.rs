//! Volumes that are mounted and not there, or there and not mounted.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::Subject;
use super::pods::{Pods, pods};
use crate::plan::object::{get, list};
use crate::suite::yaml::Problem;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pods in pods(subject) {
        let volumes: Vec<&str> = volumes(&pods).collect();
        // A claim of a StatefulSet's takes the place of the template's volume of its name.
        let own: Vec<&str> = list(pods.spec, &["volumes"])
            .iter()
            .map(|volume| volume.get("name").and_then(Value::as_str).unwrap_or_default())
            .collect();
        for (at, name) in own.iter().enumerate() {
            if !name.is_empty() && own[..at].contains(name) {
                let message = format!("{}: two volumes have the name `{name}`", pods.object.reference);
                let place = pods.object.place(pods.path);
                problems.push(pods.problem(subject, &place, &crate::at!["volumes", at, "name"], message));
            }
        }
        for (place, container) in pods.containers() {
            let called = container.get("name").and_then(Value::as_str).unwrap_or_default();
            let mut taken = BTreeMap::new();
            for (key, at, mount) in mounts(container) {
                let name = mount.get("name").and_then(Value::as_str).unwrap_or_default();
                if !name.is_empty() && !volumes.contains(&name) {
                    let message = format!("{}, container {called}: there is no volume `{name}`", pods.object.reference);
                    let problem = pods.problem(subject, &place, &crate::at![key, at, "name"], message);
                    problems.push(problem.meant(name, volumes.iter().copied()));
                }
                let path = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
                if !path.is_empty() && taken.insert(path.trim_end_matches('/'), at).is_some() {
                    let message =
                        format!("{}, container {called}: two volumes are mounted at {path}", pods.object.reference);
                    problems.push(pods.problem(subject, &place, &crate::at![key, at, "mountPath"], message));
                }
            }
        }
    }
    problems
}

/// Volumes that no container mounts.
pub(super) fn unused(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pods in pods(subject) {
        let mounted: Vec<&str> = pods
            .containers()
            .flat_map(|(_, container)| mounts(container).filter_map(|(_, _, mount)| mount.get("name")?.as_str()))
            .collect();
        for (at, volume) in list(pods.spec, &["volumes"]).iter().enumerate() {
            let Some(name) = volume.get("name").and_then(Value::as_str) else { continue };
            if !mounted.contains(&name) {
                let message = format!("{}: no container mounts the volume `{name}`", pods.object.reference);
                let place = pods.object.place(pods.path);
                let problem = pods.problem(subject, &place, &crate::at!["volumes", at, "name"], message);
                problems.push(problem.hint(Some("mount it, or remove it".to_owned())));
            }
        }
    }
    problems
}

/// The names of the volumes that the pods have: their own, and those that a StatefulSet makes of its claims.
fn volumes<'a>(pods: &Pods<'a>) -> impl Iterator<Item = &'a str> {
    let own = list(pods.spec, &["volumes"]).iter().filter_map(|volume| volume.get("name")?.as_str());
    let claims = list(&pods.object.value, &["spec", "volumeClaimTemplates"]).iter();
    own.chain(claims.filter_map(|claim| get(claim, &["metadata", "name"])?.as_str()))
}

/// The key that each stands under, its place there, and itself.
fn mounts(container: &Value) -> impl Iterator<Item = (&'static str, usize, &Value)> {
    ["volumeMounts", "volumeDevices"]
        .into_iter()
        .flat_map(|key| list(container, &[key]).iter().enumerate().map(move |(at, mount)| (key, at, mount)))
}
