//! Selectors that select nothing.

use serde_yaml::{Mapping, Value};

use super::made::{MadeLater, NAMESPACES};
use super::pods::{Pods, pods};
use super::subject::{Subject, close};
use crate::plan::Object;
use crate::plan::object::{get, list};
use crate::suite::yaml::{Problem, Segment};

/// A selector that somebody writes of other pods than his own.
struct Wanted<'a> {
    /// Where its labels stand.
    path: Vec<Segment>,
    labels: &'a Mapping,
    /// Whether the pods may lie in any namespace.
    is_everywhere: bool,
    /// Whether it may select nothing.
    is_free: bool,
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let pods = pods(subject);
    let may_be_made = !subject.is_whole || MadeLater::of(subject.objects).may_create("Pod");
    let mut problems: Vec<Problem> = pods.iter().filter_map(|pods| own(subject, pods)).collect();
    // What selects the same as such a workload is right, or as wrong as that.
    let wrong: Vec<(&Pods<'_>, &Mapping)> = pods
        .iter()
        .filter(|pods| own(subject, pods).is_some())
        .filter_map(|pods| Some((pods, get(&pods.object.value, &["spec", "selector", "matchLabels"])?.as_mapping()?)))
        .collect();
    for &object in subject.objects {
        for wanted in wanted(object) {
            let is_same = |(pods, labels): &(&Pods<'_>, &Mapping)| {
                is_near(object, &wanted, pods)
                    && wanted.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            };
            if wrong.iter().any(is_same) {
                continue;
            }
            let is_met = |pods: &&Pods<'_>| pods.meets(wanted.labels) && is_near(object, &wanted, pods);
            if !pods.iter().any(|pods| is_met(&pods)) {
                problems.extend(unmet(subject, object, &wanted, &pods, may_be_made || wanted.is_free));
            }
        }
        if object.reference.kind == "NetworkPolicy" {
            problems.extend(namespaces(subject, object));
        }
    }
    problems
}

/// Whether pods lie where a selector of this object looks for them.
fn is_near(object: &Object, wanted: &Wanted<'_>, pods: &Pods<'_>) -> bool {
    wanted.is_everywhere || pods.namespace() == object.reference.namespace
}

/// The selectors of an object that mean pods of others, each by its labels.
fn wanted(object: &Object) -> Vec<Wanted<'_>> {
    let of = |path: &[&str]| {
        let labels = get(&object.value, path)?.as_mapping().filter(|labels| !labels.is_empty())?;
        Some(Wanted { path: object.place(path), labels, is_everywhere: false, is_free: false })
    };
    match object.reference.kind.as_str() {
        "Service" => of(&["spec", "selector"]).into_iter().collect(),
        "PodDisruptionBudget" => of(&["spec", "selector", "matchLabels"]).into_iter().collect(),
        "NetworkPolicy" => of(&["spec", "podSelector", "matchLabels"]).into_iter().chain(peers(object)).collect(),
        _ => Vec::new(),
    }
}

/// Whom a NetworkPolicy lets in and out. Such pods need not be on this cluster.
fn peers(object: &Object) -> Vec<Wanted<'_>> {
    let mut all = Vec::new();
    for (place, peer) in of_policy(object) {
        let labels = get(peer, &["podSelector", "matchLabels"]).and_then(Value::as_mapping);
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            let path = [place, crate::at!["podSelector", "matchLabels"].to_vec()].concat();
            let is_everywhere = peer.get("namespaceSelector").is_some();
            all.push(Wanted { path, labels, is_everywhere, is_free: true });
        }
    }
    all
}

/// The peers of a NetworkPolicy, and where each stands.
fn of_policy(object: &Object) -> Vec<(Vec<Segment>, &Value)> {
    let mut all = Vec::new();
    for (rules, key) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in list(&object.value, &["spec", rules]).iter().enumerate() {
            for (number, peer) in list(rule, &[key]).iter().enumerate() {
                all.push(([object.place(&["spec", rules]), crate::at![at, key, number].to_vec()].concat(), peer));
            }
        }
    }
    all
}

/// Namespaces that a NetworkPolicy means by a slip of a label.
fn namespaces(subject: &Subject<'_>, object: &Object) -> Vec<Problem> {
    const NAME: &str = "kubernetes.io/metadata.name";
    let there = || subject.objects.iter().filter(|object| object.reference.kind == "Namespace");
    let mut problems = Vec::new();
    for (place, peer) in of_policy(object) {
        let labels = get(peer, &["namespaceSelector", "matchLabels"]).and_then(Value::as_mapping);
        for (key, value) in labels.into_iter().flatten() {
            let (Some(key), Some(value)) = (key.as_str(), value.as_str()) else { continue };
            let mut known: Vec<&str> =
                there().filter_map(|one| get(&one.value, &["metadata", "labels", key])?.as_str()).collect();
            if key == NAME {
                known.extend(there().map(|one| one.reference.name.as_str()));
                known.extend(NAMESPACES);
            }
            if !known.contains(&value) && close(value, known.iter().copied()).is_some() {
                let message = format!("{} selects namespaces with {key}={value}, and there is none", object.reference);
                let path = [place.clone(), crate::at!["namespaceSelector", "matchLabels", key].to_vec()].concat();
                let problem = subject.source(object).problem_in(object.document, &path, message);
                problems.push(problem.meant(value, known));
            }
        }
    }
    problems
}

/// A workload that does not select its own pods.
fn own(subject: &Subject<'_>, pods: &Pods<'_>) -> Option<Problem> {
    let object = pods.object;
    if !matches!(object.reference.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") {
        return None;
    }
    let wanted = get(&object.value, &["spec", "selector", "matchLabels"])?.as_mapping()?;
    let labels = pods.labels;
    let (key, value) = wanted.iter().find(|(key, value)| labels.and_then(|labels| labels.get(key)) != Some(value))?;
    let (key, value) = (key.as_str()?, value.as_str().unwrap_or_default());
    let has = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let message = format!("{} selects pods with {key}={value}, and its own are not such", object.reference);
    let hint = match has {
        Some(has) => format!("they have {key}={has}"),
        None => format!("add `{key}: {value}` to the template's labels"),
    };
    let path = [object.place(&["spec", "selector", "matchLabels"]), vec![Segment::from(key)]].concat();
    Some(subject.source(object).problem_in(object.document, &path, message).hint(Some(hint)))
}

/// What is wrong with a selector that no pods meet, where it is wrong for sure.
fn unmet(
    subject: &Subject<'_>,
    object: &Object,
    selector: &Wanted<'_>,
    pods: &[Pods<'_>],
    may_be_made: bool,
) -> Option<Problem> {
    let (me, wanted) = (&object.reference, selector.labels);
    let here = || pods.iter().filter(|pods| is_near(object, selector, pods));
    // One label is wrong, the others are right: or its value is a slip.
    let mut near = None;
    for (key, value) in wanted {
        let (Some(key), Some(value)) = (key.as_str(), value.as_str()) else { continue };
        let rest = |pods: &&Pods<'_>| {
            let others = wanted.iter().filter(|(other, _)| other.as_str() != Some(key));
            let mut others = others.map(|(key, value)| pods.labels.and_then(|labels| labels.get(key)) == Some(value));
            others.all(|is_met| is_met)
        };
        let values: Vec<&str> = here()
            .filter(rest)
            .filter_map(|pods| pods.labels?.get(key)?.as_str())
            .filter(|other| *other != value)
            .collect();
        let slip = close(value, values.iter().copied());
        // Of a part of a project the pods may be elsewhere, as those may that need not be there.
        let is_sure = wanted.len() > 1 && subject.elsewhere.is_none() && !selector.is_free;
        if let Some(other) = slip.or_else(|| values.first().copied().filter(|_| is_sure)) {
            near = Some((key.to_owned(), value.to_owned(), other.to_owned(), slip.is_some()));
            break;
        }
    }
    if near.is_none() && may_be_made {
        return None;
    }
    let elsewhere = pods.iter().find(|pods| pods.meets(wanted)).map(|pods| pods.namespace());
    let key = near.as_ref().map(|(key, ..)| key.clone());
    let path = [selector.path.clone(), key.iter().map(|key| Segment::from(key.as_str())).collect()].concat();
    let labels: Vec<String> = wanted
        .iter()
        .map(|(key, value)| format!("{}={}", key.as_str().unwrap_or("?"), value.as_str().unwrap_or("?")))
        .collect();
    let message = format!("{me} selects pods with {}, and nothing makes such", labels.join(","));
    let problem = subject.source(object).problem_in(object.document, &path, message);
    Some(match near {
        Some((_, value, other, true)) => problem.meant(&value, [other.as_str()]),
        Some((key, _, other, false)) => problem.hint(Some(format!("there are some with {key}={other}"))),
        None => {
            let hint = elsewhere.map(|namespace| format!("there are such in the namespace `{namespace}`"));
            let all: Vec<String> = here().take(4).map(|pods| pods.object.reference.to_string()).collect();
            let hint = hint.or_else(|| (!all.is_empty()).then(|| format!("there are the pods of {}", all.join(", "))));
            problem.hint(hint)
        }
    })
}
