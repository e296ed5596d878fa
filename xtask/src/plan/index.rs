//! Which group of a suite has which object, and what is waited for in each.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::object::{Object, ObjectRef};
use crate::image_name::full;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Problems, Source};

/// Who has what.
pub(super) struct Index {
    /// The group that has an object.
    pub(super) objects: BTreeMap<ObjectRef, usize>,
    /// The group that defines a custom kind.
    pub(super) kinds: BTreeMap<(String, String), usize>,
    /// The same, by the plural.
    pub(super) plurals: BTreeMap<(String, String), usize>,
    /// The suite's image of a reference.
    pub(super) images: BTreeMap<String, String>,
    /// What is waited for in each group, and by which step.
    pub(super) workloads: Vec<Vec<(ObjectRef, String)>>,
}

impl Index {
    pub(super) fn new(
        suite: &Suite,
        manifests: &BTreeMap<Utf8PathBuf, Source>,
        groups: &[Vec<Object>],
    ) -> Result<Self, Problems> {
        let images = suite.images.iter().map(|image| (full(&image.reference), image.name.clone()));
        let mut index = Self {
            objects: BTreeMap::new(),
            kinds: BTreeMap::new(),
            plurals: BTreeMap::new(),
            images: images.collect(),
            workloads: name_workloads(groups),
        };
        let mut problems: Vec<Problem> = Vec::new();
        let mut first: BTreeMap<&ObjectRef, &Object> = BTreeMap::new();
        for (at, objects) in groups.iter().enumerate() {
            for object in objects {
                if let Some(other) = first.insert(&object.reference, object) {
                    let message = format!("{} stands here a second time", object.reference);
                    let hint = Some(format!("the first is in {}", other.file));
                    let source = manifests.get(&object.file).unwrap_or(&suite.source);
                    problems.push(object.problem(source, &["metadata", "name"], message).hint(hint));
                }
                index.objects.insert(object.reference.clone(), at);
                if object.reference.kind == DEFINITION
                    && let Some(group) = object.text(&["spec", "group"])
                    && let Some(kind) = object.text(&["spec", "names", "kind"])
                    && let Some(plural) = object.text(&["spec", "names", "plural"])
                {
                    index.kinds.insert((group.to_owned(), kind.to_owned()), at);
                    index.plurals.insert((group.to_owned(), plural.to_owned()), at);
                }
            }
        }
        Problems(problems).into_result().map(|()| index)
    }
}

pub(super) const DEFINITION: &str = "CustomResourceDefinition";

/// `ready:<name>`, with kind and namespace where the name is not enough to tell workloads apart.
fn name_workloads(groups: &[Vec<Object>]) -> Vec<Vec<(ObjectRef, String)>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in groups.iter().flatten().filter(|object| is_workload(&object.reference)) {
        *counts.entry(&object.reference.name).or_default() += 1;
    }
    let id = |reference: &ObjectRef| {
        if counts.get(reference.name.as_str()) == Some(&1) {
            format!("ready:{}", reference.name)
        } else {
            format!("ready:{}/{}/{}", reference.namespace, reference.kind.to_lowercase(), reference.name)
        }
    };
    let of_group = |objects: &Vec<Object>| {
        let references = objects.iter().map(|object| &object.reference).filter(|reference| is_workload(reference));
        references.map(|reference| (reference.clone(), id(reference))).collect()
    };
    groups.iter().map(of_group).collect()
}

fn is_workload(reference: &ObjectRef) -> bool {
    let kinds = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Pod"];
    kinds.contains(&reference.kind.as_str())
}
