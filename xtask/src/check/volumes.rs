//! Volumes that are mounted and not there, or there and not mounted, and files that a mounted one does not have.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_yaml::Value;

use super::made::{MadeLater, keys};
use super::pods::{Pods, pods};
use super::subject::{Subject, close};
use crate::plan::Object;
use crate::plan::object::{get, list};
use crate::suite::yaml::{Problem, Segment};

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
    problems.extend(files(subject));
    problems
}

/// Files that a container is told of and that lie in a mounted ConfigMap or Secret, which has no such key. Nothing else
/// can put them there: such a mount is read only.
fn files(subject: &Subject<'_>) -> Vec<Problem> {
    let made = MadeLater::of(subject.objects);
    let mut problems = Vec::new();
    for pods in pods(subject) {
        for (place, container) in pods.containers() {
            for (way, path) in told_paths(container) {
                let mounts = mounts(container).map(|(_, _, mount)| mount);
                let within = mounts.filter_map(|mount| {
                    let rest = path.strip_prefix(mount.get("mountPath")?.as_str()?).ok()?;
                    Some((rest, mount))
                });
                let Some((rest, mount)) = within.min_by_key(|(rest, _)| rest.as_str().len()) else { continue };
                if rest == "" || mount.get("subPath").is_some() || mount.get("subPathExpr").is_some() {
                    continue;
                }
                let name = mount.get("name").and_then(Value::as_str).unwrap_or_default();
                let Some((volume, object)) = source(subject, &pods, name) else { continue };
                let keys = keys(object);
                // An empty one is filled by somebody.
                if keys.is_empty() || made.is_named(&object.reference.name) || object.text(&["type"]) == Some(TOKEN) {
                    continue;
                }
                let items = list(volume, &["items"]);
                let paths = items.iter().filter_map(|item| item.get("path")?.as_str());
                let files: Vec<&str> = if items.is_empty() { keys } else { paths.collect() };
                let near = close(rest.as_str(), files.iter().copied());
                let is_sure = subject.elsewhere.is_none() || near.is_some();
                if !is_sure || files.iter().any(|file| Utf8Path::new(file).starts_with(rest)) {
                    continue;
                }
                let called = container.get("name").and_then(Value::as_str).unwrap_or_default();
                let message = format!(
                    "{}, container {called}: `{path}` is in the volume `{name}`, and {} gives it no file `{rest}`",
                    pods.object.reference, object.reference
                );
                let hint = near.map(|near| format!("did you mean `{near}`?"));
                let hint = hint.or_else(|| Some(format!("it has: {}", files.join(", "))));
                problems.push(pods.problem(subject, &place, &way, message).hint(hint));
            }
        }
    }
    problems
}

/// The type of a Secret whose keys the API server adds.
const TOKEN: &str = "kubernetes.io/service-account-token";

/// The absolute paths that the arguments and the environment of a container name, alone or behind a `=`, and where.
fn told_paths<'v>(container: &'v Value) -> Vec<(Vec<Segment>, &'v Utf8Path)> {
    let words = ["command", "args"].into_iter().flat_map(|key| {
        let words = list(container, &[key]).iter().enumerate();
        words.map(move |(at, word)| (crate::at![key, at].to_vec(), Some(word)))
    });
    let variables = list(container, &["env"]).iter().enumerate();
    let variables = variables.map(|(at, variable)| (crate::at!["env", at, "value"].to_vec(), variable.get("value")));
    let path = |(way, text): (Vec<Segment>, Option<&'v Value>)| {
        let text = text?.as_str()?;
        let path = if text.starts_with('/') { text } else { text.split_once('=')?.1 };
        let is_plain = path.starts_with('/')
            && !path
                .contains(|c: char| c.is_whitespace() || matches!(c, '$' | '*' | '?' | '[' | '{' | ',' | ':' | ';'));
        is_plain.then(|| (way, Utf8Path::new(path)))
    };
    words.chain(variables).filter_map(path).collect()
}

/// The volume of this name and the ConfigMap or Secret that it shows, where it is but one and the manifests make it.
fn source<'a>(subject: &Subject<'a>, pods: &Pods<'a>, name: &str) -> Option<(&'a Value, &'a Object)> {
    let volumes = list(pods.spec, &["volumes"]).iter();
    let volume = volumes.into_iter().find(|volume| volume.get("name").and_then(Value::as_str) == Some(name))?;
    [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")].into_iter().find_map(
        |(key, kind, named)| {
            let below = volume.get(key)?;
            Some((below, subject.find(kind, pods.namespace(), below.get(named)?.as_str()?)?))
        },
    )
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
