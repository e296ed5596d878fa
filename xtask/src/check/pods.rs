//! What makes pods, and which of them a selector means.

use serde_yaml::{Mapping, Value};

use super::subject::Subject;
use crate::plan::Object;
use crate::plan::object::{get, list, pod_spec_at};
use crate::suite::yaml::{Problem, Segment};

/// An object that makes pods.
pub(super) struct Pods<'a> {
    pub(super) object: &'a Object,
    /// The way to the pods' specification.
    pub(super) path: &'static [&'static str],
    pub(super) spec: &'a Value,
    /// The labels that the pods have. Every selector is compared with them, so that they are looked for once.
    pub(super) labels: Option<&'a Mapping>,
}

/// A port that a container declares.
pub(super) struct Port<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) number: u64,
}

/// Those among all objects.
pub(super) fn pods<'a>(subject: &Subject<'a>) -> Vec<Pods<'a>> {
    let of = |object: &'a Object| {
        let (path, spec) = pod_spec_at(object)?;
        let template = get(&object.value, &path[..path.len() - 1]);
        let labels = template.and_then(|template| get(template, &["metadata", "labels"])).and_then(Value::as_mapping);
        Some(Pods { object, path, spec, labels })
    };
    subject.objects.iter().copied().filter_map(of).collect()
}

impl<'a> Pods<'a> {
    pub(super) fn namespace(&self) -> &'a str {
        &self.object.reference.namespace
    }

    /// Whether the pods have all of these labels.
    pub(super) fn meets(&self, wanted: &Mapping) -> bool {
        self.labels.is_some_and(|labels| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
    }

    /// The containers with the way to each.
    pub(super) fn containers(&self) -> impl Iterator<Item = (Vec<Segment>, &'a Value)> {
        ["initContainers", "containers"].into_iter().flat_map(|key| {
            let place = self.object.place(self.path);
            list(self.spec, &[key]).iter().enumerate().map(move |(at, container)| {
                ([place.as_slice(), &[Segment::from(key), Segment::from(at)]].concat(), container)
            })
        })
    }

    /// All ports that the containers declare.
    pub(super) fn ports(&self) -> Vec<Port<'a>> {
        self.containers().flat_map(|(_, container)| ports(container)).collect()
    }

    /// A problem at `keys` below a place in the document.
    pub(super) fn problem(
        &self,
        subject: &Subject<'_>,
        place: &[Segment],
        keys: &[Segment],
        message: String,
    ) -> Problem {
        let path = [place, keys].concat();
        subject.source(self.object).problem_in(self.object.document, &path, message)
    }
}

/// The ports that a container declares.
pub(super) fn ports(container: &Value) -> impl Iterator<Item = Port<'_>> {
    list(container, &["ports"]).iter().filter_map(|port| {
        let number = port.get("containerPort")?.as_u64()?;
        Some(Port { name: port.get("name").and_then(Value::as_str), number })
    })
}

/// Those that a Service's selector means.
pub(super) fn selected<'p, 'a>(all: &'p [Pods<'a>], service: &Object) -> Vec<&'p Pods<'a>> {
    let Some(selector) = selector(service) else { return Vec::new() };
    all.iter().filter(|pods| pods.namespace() == service.reference.namespace && pods.meets(selector)).collect()
}

/// A Service's selector; none where it has none, and somebody else says where it sends to.
pub(super) fn selector(service: &Object) -> Option<&Mapping> {
    get(&service.value, &["spec", "selector"])?.as_mapping().filter(|selector| !selector.is_empty())
}
