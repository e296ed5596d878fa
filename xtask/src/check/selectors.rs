//! Selectors that select nothing.

use serde_yaml::{Mapping, Value};

use super::made::MadeLater;
use super::pods::{Pods, pods, selector};
use super::{Subject, close};
use crate::plan::Object;
use crate::plan::object::get;
use crate::suite::yaml::{Problem, Segment};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let pods = pods(subject);
    let may_be_made = !subject.is_whole || MadeLater::of(subject.objects).may_create("Pod");
    let mut problems: Vec<Problem> = pods.iter().filter_map(|pods| own(subject, pods)).collect();
    for &object in subject.objects {
        let (path, wanted): (&[&str], _) = match object.reference.kind.as_str() {
            "Service" => (&["spec", "selector"], selector(object)),
            "PodDisruptionBudget" => {
                let path: &[&str] = &["spec", "selector", "matchLabels"];
                (path, get(&object.value, path).and_then(Value::as_mapping).filter(|labels| !labels.is_empty()))
            }
            _ => continue,
        };
        let Some(wanted) = wanted else { continue };
        let is_met = |pods: &&Pods<'_>| pods.namespace() == object.reference.namespace && meets(pods, wanted);
        if !pods.iter().any(|pods| is_met(&pods)) {
            problems.extend(unmet(subject, object, path, wanted, &pods, may_be_made));
        }
    }
    problems
}

fn meets(pods: &Pods<'_>, wanted: &Mapping) -> bool {
    pods.labels().is_some_and(|labels| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// A workload that does not select its own pods.
fn own(subject: &Subject<'_>, pods: &Pods<'_>) -> Option<Problem> {
    let object = pods.object;
    if !matches!(object.reference.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") {
        return None;
    }
    let wanted = get(&object.value, &["spec", "selector", "matchLabels"])?.as_mapping()?;
    let labels = pods.labels();
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
    path: &[&str],
    wanted: &Mapping,
    pods: &[Pods<'_>],
    may_be_made: bool,
) -> Option<Problem> {
    let me = &object.reference;
    let here = || pods.iter().filter(|pods| pods.namespace() == me.namespace);
    // One label is wrong, the others are right: or its value is a slip.
    let mut near = None;
    for (key, value) in wanted {
        let (Some(key), Some(value)) = (key.as_str(), value.as_str()) else { continue };
        let rest = |pods: &&Pods<'_>| {
            let others = wanted.iter().filter(|(other, _)| other.as_str() != Some(key));
            let mut others = others.map(|(key, value)| pods.labels().and_then(|labels| labels.get(key)) == Some(value));
            others.all(|is_met| is_met)
        };
        let values: Vec<&str> = here()
            .filter(rest)
            .filter_map(|pods| pods.labels()?.get(key)?.as_str())
            .filter(|other| *other != value)
            .collect();
        let slip = close(value, values.iter().copied());
        // Of a part of a project the pods may be elsewhere.
        let is_sure = wanted.len() > 1 && subject.elsewhere.is_none();
        if let Some(other) = slip.or_else(|| values.first().copied().filter(|_| is_sure)) {
            near = Some((key.to_owned(), value.to_owned(), other.to_owned(), slip.is_some()));
            break;
        }
    }
    if near.is_none() && may_be_made {
        return None;
    }
    let elsewhere = pods.iter().find(|pods| meets(pods, wanted)).map(|pods| pods.namespace());
    let key = near.as_ref().map(|(key, ..)| key.clone());
    let path = [object.place(path), key.iter().map(|key| Segment::from(key.as_str())).collect()].concat();
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
