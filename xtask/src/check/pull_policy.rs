//! An image that is on the node and asked of a registry all the same.
//! <https://kubernetes.io/docs/concepts/containers/images/#imagepullpolicy-defaulting>

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::{Subject, containers};
use crate::image_name::{full, split_tag};
use crate::suite::yaml::{Problem, Segment};

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
            let (key, why) = match container.get("imagePullPolicy").and_then(Value::as_str) {
                Some("Always") => ("imagePullPolicy", "its imagePullPolicy is Always"),
                None if is_latest => ("image", "without an imagePullPolicy the tag `latest` means Always"),
                _ => continue,
            };
            let message = format!("image `{image}` is on the node, and a registry is asked for it: {why}");
            let hint = if key == "image" {
                "write `imagePullPolicy: IfNotPresent`, or another tag"
            } else {
                "write `IfNotPresent`"
            };
            let path = [place.as_slice(), &[Segment::from(key)]].concat();
            let problem = subject.source(object).problem_in(object.document, &path, message);
            problems.push(problem.hint(Some(hint.to_owned())));
        }
    }
    problems
}
