//! An image that a manifest uses and that nobody builds, has on the node, or could pull; and one that is built and used
//! by nothing.

use std::collections::BTreeSet;

use super::subject::{Subject, containers};
use crate::image_name::{full, split_tag};
use crate::plan::Object;
use crate::suite::yaml::{Problem, Segment, nearest};

/// Images that nobody has.
pub(super) fn unknown(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let there: Vec<String> = subject.there();
    let whole: BTreeSet<String> = there.iter().map(|reference| full(reference)).collect();
    let used = used(subject);
    // What nothing uses is what somebody may have meant.
    let unused: Vec<&str> = there.iter().map(String::as_str).filter(|one| !used.contains(&full(one))).collect();
    for &object in subject.objects {
        for (place, _, container) in containers(object) {
            let Some(image) = container.get("image").and_then(serde_yaml::Value::as_str) else { continue };
            if whole.contains(&full(image)) {
                continue;
            }
            let policy = container.get("imagePullPolicy").and_then(serde_yaml::Value::as_str);
            let near = same_program(image, &unused);
            let why = if image.starts_with("localhost/") {
                "no registry has a name under localhost/"
            } else if policy == Some("Never") {
                "its imagePullPolicy is Never"
            } else if near.is_some() {
                "a registry would have to have it"
            } else {
                continue;
            };
            let hint = near
                .or_else(|| nearest(image, there.iter().map(String::as_str)))
                .map(|near| format!("did you mean `{near}`?"))
                .or_else(|| (!there.is_empty()).then(|| format!("there are {}", there.join(", "))));
            let path = [place.as_slice(), &[Segment::from("image")]].concat();
            let message = format!("image `{image}` is built by no part of the suite and is not on the node; {why}");
            problems.push(subject.source(object).problem_in(object.document, &path, message).hint(hint));
        }
    }
    problems
}

/// The images that are built for nothing, where there are manifests that could use them.
pub(super) fn unused(subject: &Subject<'_>) -> Vec<Problem> {
    // A manifest that cannot be read may use any.
    if !subject.is_whole {
        return Vec::new();
    }
    let used = used(subject);
    let names: BTreeSet<&str> = subject.objects.iter().copied().flat_map(images).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (at, image) in subject.suite.images.iter().enumerate() {
        if used.contains(&full(&image.reference)) {
            continue;
        }
        let names: Vec<&str> = names.iter().copied().collect();
        let message = format!("image `{}` is built, and no manifest uses `{}`", image.name, image.reference);
        let last = |reference: &str| full(split_tag(reference).0).rsplit('/').next().map(str::to_owned);
        let same_name = || names.iter().copied().find(|name| last(name) == last(&image.reference));
        let near = same_program(&image.reference, &names).or_else(same_name);
        let hint = near.or_else(|| nearest(&image.reference, names.iter().copied())).map_or_else(
            || "use it, or remove it".to_owned(),
            |near| format!("`{near}`, which a manifest uses, is nearly it"),
        );
        let path = crate::at!["images", at, "reference"];
        problems.push(subject.suite.source.problem(&path, message).hint(Some(hint)));
    }
    problems
}

fn images(object: &Object) -> impl Iterator<Item = &str> {
    containers(object).into_iter().filter_map(|(_, _, container)| container.get("image")?.as_str())
}

/// All images that are used, in whole references: by containers, by texts (an operator is told them in its arguments),
/// and by other images' Dockerfiles.
fn used(subject: &Subject<'_>) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for &object in subject.objects {
        all_texts(&object.value, &mut texts);
    }
    let of_files = subject.built.iter().filter_map(|built| Some(built.file.needed(built.target?, None).1)).flatten();
    let mut used: BTreeSet<String> = of_files.map(|name| full(&name)).collect();
    used.extend(subject.objects.iter().copied().flat_map(images).map(full));
    used.extend(
        subject
            .suite
            .images
            .iter()
            .filter(|image| texts.iter().any(|text| text.contains(&image.reference)))
            .map(|image| full(&image.reference)),
    );
    used
}

fn all_texts<'v>(value: &'v serde_yaml::Value, found: &mut BTreeSet<&'v str>) {
    match value {
        // The image of a container is looked at by itself: `app:10` is not `app:1`.
        serde_yaml::Value::String(text) => drop(found.insert(text)),
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| all_texts(item, found)),
        serde_yaml::Value::Mapping(items) => {
            items.iter().filter(|(key, _)| key.as_str() != Some("image")).for_each(|(_, item)| all_texts(item, found));
        }
        _ => {}
    }
}

/// The one of `there` whose last name is, or ends in, that of `image`: a name that lost its registry or its prefix, or
/// has another tag.
fn same_program<'a>(image: &str, there: &[&'a str]) -> Option<&'a str> {
    let parts = |reference: &str| {
        let whole = full(reference);
        let (name, tag) = split_tag(&whole);
        let last = name.rsplit('/').next().unwrap_or(name).to_owned();
        (name.to_owned(), last, tag.unwrap_or_default().to_owned())
    };
    let (name, last, tag) = parts(image);
    let ends = |long: &str, short: &str| long == short || long.ends_with(&format!("-{short}"));
    there.iter().copied().find(|other| {
        let (other_name, other_last, other_tag) = parts(other);
        other_name == name || (other_tag == tag && (ends(&other_last, &last) || ends(&last, &other_last)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_lost_its_prefix_is_recognised() {
        let there = ["localhost/acme-shop:test", "docker.io/library/redis:7"];
        for (image, expected) in [
            ("shop:test", Some(there[0])),
            ("acme-shop:test", Some(there[0])),
            ("localhost/acme-shop:1", Some(there[0])),
            ("shop:other", None),
            ("redis:6", Some(there[1])),
            ("docker.io/prom/alertmanager:v0.28", None),
        ] {
            assert_eq!(same_program(image, &there), expected, "{image}");
        }
    }
}
