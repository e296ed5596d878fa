//! An image that a manifest uses and that nobody builds, has on the node, or could pull.

use super::Subject;
use crate::plan::object::{list, pod_spec_at};
use crate::suite::yaml::{Problem, Segment, nearest};

/// Containers of a pod, by their lists in its specification.
pub(super) const LISTS: [&str; 2] = ["containers", "initContainers"];

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let built: Vec<&str> = subject.suite.images.iter().map(|image| image.reference.as_str()).collect();
    let preloaded = subject
        .suite
        .cluster
        .preload
        .iter()
        .filter_map(|name| subject.catalog.pieces.iter().find(|piece| piece.name == *name)?.replaces.as_deref());
    let there: Vec<&str> = built.iter().copied().chain(preloaded).collect();
    let mut problems = Vec::new();
    for (source, object) in &subject.objects {
        let Some((path, spec)) = pod_spec_at(object) else { continue };
        for key in LISTS {
            for (at, container) in list(spec, &[key]).iter().enumerate() {
                let Some(image) = container.get("image").and_then(serde_yaml::Value::as_str) else { continue };
                if there.contains(&image) {
                    continue;
                }
                let policy = container.get("imagePullPolicy").and_then(serde_yaml::Value::as_str);
                let why = if image.starts_with("localhost/") {
                    "no registry has a name under localhost/"
                } else if policy == Some("Never") {
                    "its imagePullPolicy is Never"
                } else if same_program(image, &there).is_some() {
                    "a registry would have to have it"
                } else {
                    continue;
                };
                let hint = same_program(image, &there)
                    .or_else(|| nearest(image, there.iter().copied()))
                    .map(|near| format!("did you mean `{near}`?"))
                    .or_else(|| Some(format!("there are {}", there.join(", "))));
                let mut path: Vec<Segment> = path.iter().map(|key| Segment::from(*key)).collect();
                path.extend([Segment::from(key), Segment::from(at), Segment::from("image")]);
                let message = format!("image `{image}` is built by no part of the suite and is not on the node; {why}");
                problems.push(source.problem_in(object.document, &path, message).hint(hint));
            }
        }
    }
    problems
}

/// The one of `there` with the same tag whose last name is, or ends in, that of `image`: a name that
/// lost its registry or its prefix.
fn same_program<'a>(image: &str, there: &[&'a str]) -> Option<&'a str> {
    let parts = |reference: &str| {
        let last = reference.rsplit('/').next().unwrap_or_default().to_owned();
        let (name, tag) =
            last.split_once(':').map_or((last.clone(), String::new()), |(n, t)| (n.to_owned(), t.to_owned()));
        (name, tag)
    };
    let (name, tag) = parts(image);
    there.iter().copied().find(|other| {
        let (other_name, other_tag) = parts(other);
        let ends = |long: &str, short: &str| long == short || long.ends_with(&format!("-{short}"));
        other_tag == tag && (ends(&other_name, &name) || ends(&name, &other_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_lost_its_prefix_is_recognised() {
        let there = ["localhost/kubernaut-gateway:e2e-test", "docker.io/library/redis:7"];
        assert_eq!(same_program("gateway:e2e-test", &there), Some(there[0]));
        assert_eq!(same_program("kubernaut-gateway:e2e-test", &there), Some(there[0]));
        assert_eq!(same_program("gateway:other", &there), None);
        assert_eq!(same_program("docker.io/prom/alertmanager:v0.28", &there), None);
    }
}
