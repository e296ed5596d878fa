//! An image that is on the node and asked of a registry all the same.
//! <https://kubernetes.io/docs/concepts/containers/images/#imagepullpolicy-defaulting>

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::subject::{Subject, containers};
use crate::image_name::{full, split_tag};
use crate::suite::yaml::{Problem, Segment, Source};

/// What is right for an image that is there.
const POLICY: &str = "IfNotPresent";

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let there: BTreeSet<String> = subject.there().iter().map(|reference| full(reference)).collect();
    let mut problems = Vec::new();
    for &object in subject.objects {
        for (place, _, container) in containers(object) {
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            if !there.contains(&full(image)) {
                continue;
            }
            let is_latest = !image.contains('@') && split_tag(image).1.is_none_or(|tag| tag == "latest");
            let on_node = format!("image `{image}` is on the node, and a registry is asked for it");
            let place = |key: &str| [place.as_slice(), &[Segment::from(key)]].concat();
            let source = subject.source(object);
            match container.get("imagePullPolicy").and_then(Value::as_str) {
                Some("Always") => {
                    let message = format!("{on_node}: its imagePullPolicy is Always");
                    let problem = source.problem_in(object.document, &place("imagePullPolicy"), message);
                    let hint = Some(format!("write `{POLICY}`"));
                    problems.push(problem.hint(hint).replace("Always", POLICY));
                }
                None if is_latest => {
                    let message = format!("{on_node}: without an imagePullPolicy the tag `latest` means Always");
                    let problem = source.key_problem_in(object.document, &place("image"), message);
                    let hint = Some(format!("write `imagePullPolicy: {POLICY}`, or another tag"));
                    let right = ahead_of(source, problem.line, problem.column, "image:");
                    problems.push(problem.hint(hint).replace("image:", &right));
                }
                _ => {}
            }
        }
    }
    problems
}

/// The policy, put ahead of `key`, which stands there: on a line of its own, or in braces beside it.
fn ahead_of(source: &Source, line: usize, column: usize, key: &str) -> String {
    let text = source.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let before: String = text.chars().take(column.saturating_sub(1)).collect();
    if before.contains(|c: char| c != ' ' && c != '-') {
        format!("imagePullPolicy: {POLICY}, {key}")
    } else {
        format!("imagePullPolicy: {POLICY}\n{}{key}", " ".repeat(before.chars().count()))
    }
}
