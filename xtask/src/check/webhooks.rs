//! Admission webhooks: the API server refuses what they guard until the pods behind them answer.

use serde_yaml::Value;

use super::pods::{pods, selected};
use super::subject::Subject;
use crate::plan::Object;
use crate::plan::object::{get, list};
use crate::plan::webhook::{guards, plurals};
use crate::suite::yaml::{Problem, Segment};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole {
        return Vec::new();
    }
    let plurals = plurals(subject.objects.iter().copied());
    let pods = pods(subject);
    let mut problems = Vec::new();
    for &object in subject.objects {
        if !matches!(object.reference.kind.as_str(), "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration")
        {
            continue;
        }
        for (at, webhook) in list(&object.value, &["webhooks"]).iter().enumerate() {
            let Some(service) = get(webhook, &["clientConfig", "service"]) else { continue };
            let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default();
            let place = [object.place(&["webhooks"]), crate::at![at, "clientConfig", "service"].to_vec()].concat();
            let problem = |key: &str, message: String| {
                let path = [place.as_slice(), &[Segment::from(key)]].concat();
                subject.source(object).problem_in(object.document, &path, message)
            };
            let Some(found) = subject.find("Service", text("namespace"), text("name")) else {
                let elsewhere =
                    subject.index.keys().find(|(kind, _, name)| *kind == "Service" && *name == text("name"));
                let message = format!(
                    "{}: no manifest makes the Service `{}` in `{}`, which is asked",
                    object.reference,
                    text("name"),
                    text("namespace")
                );
                problems.push(match elsewhere {
                    Some((_, namespace, _)) => problem("namespace", message).meant(text("namespace"), [*namespace]),
                    None => {
                        let names = subject.index.keys().filter(|(kind, ..)| *kind == "Service");
                        problem("name", message).meant(text("name"), names.map(|(_, _, name)| *name))
                    }
                });
                continue;
            };
            let port = service.get("port").and_then(Value::as_u64).unwrap_or(443);
            let ports: Vec<u64> =
                list(&found.value, &["spec", "ports"]).iter().filter_map(|port| port.get("port")?.as_u64()).collect();
            if !ports.is_empty() && !ports.contains(&port) {
                let all: Vec<String> = ports.iter().map(u64::to_string).collect();
                let message = format!("{}: {} has no port {port}, which is asked", object.reference, found.reference);
                problems.push(problem("port", message).hint(Some(format!("it has {}", all.join(", ")))));
            }
            let fails = webhook.get("failurePolicy").and_then(Value::as_str) != Some("Ignore");
            let Some(group) = group_of(subject, object).filter(|_| fails) else { continue };
            let behind = selected(&pods, found);
            // Its pods have to be in the same group: what another one has is ready before.
            if !behind.iter().any(|pods| group_of(subject, pods.object) == Some(group)) {
                continue;
            }
            for &guarded in subject.objects {
                let is_applied_after = is_after(subject, group, object, guarded);
                if group_of(subject, guarded) == Some(group) && is_applied_after && guards(webhook, guarded, &plurals) {
                    let message = format!(
                        "{} is guarded by {}, whose pods cannot answer before its group is applied",
                        guarded.reference, object.reference
                    );
                    let hint = Some("put it into a group of its own".to_owned());
                    problems.push(guarded.problem(subject.source(guarded), &["kind"], message).hint(hint));
                }
            }
        }
    }
    problems
}

/// The group of the suite that has an object.
fn group_of(subject: &Subject<'_>, object: &Object) -> Option<usize> {
    subject.suite.manifests.iter().position(|group| group.sources().any(|file| *file == object.file))
}

/// Whether an object of a group is applied after another one of it.
fn is_after(subject: &Subject<'_>, group: usize, first: &Object, second: &Object) -> bool {
    let group = &subject.suite.manifests[group];
    let place = |object: &Object| (group.sources().position(|file| *file == object.file), object.document);
    place(second) > place(first)
}
