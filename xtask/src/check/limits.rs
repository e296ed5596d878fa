//! Limits below requests, which no API server takes.

use serde_yaml::Value;

use super::pods::pods;
use super::schema::quantity;
use super::subject::Subject;
use crate::plan::object::get;
use crate::suite::yaml::Problem;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pods in pods(subject) {
        for (place, container) in pods.containers() {
            let limits = get(container, &["resources", "limits"]).and_then(Value::as_mapping);
            for (resource, limit) in limits.into_iter().flatten() {
                let Some(resource) = resource.as_str() else { continue };
                let Some(request) = get(container, &["resources", "requests", resource]) else { continue };
                let (Some(most), Some(least)) = (number(limit), number(request)) else { continue };
                if most < least {
                    let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
                    let message = format!(
                        "{}, container {name}: the limit of {resource} is {}, and {} is requested",
                        pods.object.reference,
                        text(limit),
                        text(request)
                    );
                    let keys = crate::at!["resources", "limits", resource];
                    problems.push(pods.problem(subject, &place, &keys, message));
                }
            }
        }
    }
    problems
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| quantity(value.as_str()?))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.as_f64().unwrap_or_default().to_string(), str::to_owned)
}
