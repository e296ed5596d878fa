//! Pods that may do more than they need.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::pods::{Pods, pods};
use super::rbac::rules_of;
use super::subject::Subject;
use crate::image_name::{full, split_tag};
use crate::plan::object::get;
use crate::suite::yaml::Problem;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let there: BTreeSet<String> = subject.there().iter().map(|reference| full(reference)).collect();
    let mut problems = Vec::new();
    for pods in pods(subject) {
        for (place, container) in pods.containers() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            let lacks = lacks(&pods, container);
            if !lacks.is_empty() {
                let (what, how): (Vec<&str>, Vec<&str>) = lacks.into_iter().unzip();
                let message = format!("{}, container {name} {}", pods.object.reference, what.join(", "));
                let hint = Some(format!("in its securityContext: {}", how.join(", ")));
                problems.push(pods.problem(subject, &place, &crate::at!["name"], message).hint(hint));
            }
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let is_latest = !image.contains('@') && split_tag(image).1.is_none_or(|tag| tag == "latest");
            if !image.is_empty() && is_latest && !there.contains(&full(image)) {
                let message = format!(
                    "{}, container {name}: `{image}` is another image as soon as its publisher has a new one",
                    pods.object.reference
                );
                let hint = Some("name a version, or a digest".to_owned());
                problems.push(pods.problem(subject, &place, &crate::at!["image"], message).hint(hint));
            }
        }
        problems.extend(token(subject, &pods));
    }
    problems
}

/// What a container may do, and what forbids it.
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
fn lacks(pods: &Pods<'_>, container: &Value) -> Vec<(&'static str, &'static str)> {
    let own = |key: &str| get(container, &["securityContext", key]);
    let of_pod = |key: &str| get(pods.spec, &["securityContext", key]);
    let either = |key: &str| own(key).or_else(|| of_pod(key));
    let mut lacks = Vec::new();
    if own("privileged").and_then(Value::as_bool) == Some(true) {
        lacks.push(("is privileged: it may do all that its node may", "privileged: false"));
    }
    let is_root = either("runAsUser").and_then(Value::as_u64) == Some(0);
    let is_other = either("runAsNonRoot").and_then(Value::as_bool) == Some(true)
        || either("runAsUser").and_then(Value::as_u64).is_some_and(|user| user != 0);
    if is_root {
        lacks.push(("runs as root", "runAsUser: 65532, runAsNonRoot: true"));
    } else if !is_other {
        lacks.push(("may run as root", "runAsNonRoot: true"));
    }
    if own("readOnlyRootFilesystem").and_then(Value::as_bool) != Some(true) {
        lacks.push(("may write to its root file system", "readOnlyRootFilesystem: true"));
    }
    lacks
}

/// A token that is mounted, and that nothing gives a right to.
fn token(subject: &Subject<'_>, pods: &Pods<'_>) -> Option<Problem> {
    if !subject.is_whole {
        return None;
    }
    let name = pods.spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
    let account = subject.find("ServiceAccount", pods.namespace(), name);
    // That there is no such account is told by itself.
    if name != "default" && account.is_none() {
        return None;
    }
    let says = |value: Option<&Value>| value.and_then(|value| value.get("automountServiceAccountToken")?.as_bool());
    let is_mounted = says(Some(pods.spec)).or_else(|| says(account.map(|account| &account.value))).unwrap_or(true);
    if !is_mounted || !rules_of(subject, pods.namespace(), name).is_empty() || is_bound_elsewhere(subject, name) {
        return None;
    }
    let message = format!(
        "{}: the token of the ServiceAccount `{name}` is mounted, and no role gives it a right",
        pods.object.reference
    );
    let hint = Some("write `automountServiceAccountToken: false`".to_owned());
    let place = pods.object.place(pods.path);
    let key = if pods.spec.get("automountServiceAccountToken").is_some() {
        "automountServiceAccountToken"
    } else {
        "containers"
    };
    let path = [place.as_slice(), &crate::at![key]].concat();
    Some(subject.source(pods.object).key_problem_in(pods.object.document, &path, message).hint(hint))
}

/// Whether a role that no manifest has is bound to an account of this name.
fn is_bound_elsewhere(subject: &Subject<'_>, name: &str) -> bool {
    let bindings = subject.objects.iter().filter(|object| object.reference.kind.ends_with("RoleBinding"));
    bindings
        .flat_map(|object| crate::plan::object::list(&object.value, &["subjects"]))
        .any(|one| one.get("name").and_then(Value::as_str) == Some(name))
}
