//! The Kubernetes objects of a manifest, as far as a plan needs to know them.

use std::collections::BTreeMap;
use std::fmt;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::at;
use crate::suite::yaml::{Problem, Source};

/// Which object is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// As in its manifest: `Deployment`.
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One object of a manifest.
#[derive(Debug, Clone)]
pub struct Object {
    /// The file it stands in.
    pub file: Utf8PathBuf,
    /// Which of the file's documents it is, from 0.
    pub document: usize,
    /// The API group with version: `apps/v1`.
    pub api_version: String,
    /// What it is called.
    pub reference: ObjectRef,
    /// The whole object.
    pub value: Value,
}

impl Object {
    /// The API group, empty for the core group.
    pub fn api_group(&self) -> &str {
        self.api_version.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// A text at this way into the object.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        get(&self.value, path)?.as_str()
    }
}

/// The value at this way of keys.
pub(crate) fn get<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The elements of the sequence at this way of keys; none where there is none.
pub(crate) fn list<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    get(value, path).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
}

/// The specification of the pods that an object makes, and the way to it; none where it makes none.
pub(crate) fn pod_spec_at(object: &Object) -> Option<(&'static [&'static str], &Value)> {
    let path: &[&str] = match object.reference.kind.as_str() {
        "Pod" => &["spec"],
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            &["spec", "template", "spec"]
        }
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return None,
    };
    Some((path, get(&object.value, path)?))
}

/// Who answers at each NodePort: the Service, with the name of its port where it has one.
pub fn node_ports(objects: &[Object]) -> BTreeMap<u16, String> {
    let mut names = BTreeMap::new();
    for service in objects.iter().filter(|object| object.reference.kind == "Service") {
        for port in list(&service.value, &["spec", "ports"]) {
            let number = port.get("nodePort").and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
            let Some(number) = number else { continue };
            let service = &service.reference.name;
            let name = match port.get("name").and_then(Value::as_str) {
                Some(port) => format!("{service}, port {port}"),
                None => service.clone(),
            };
            names.insert(number, name);
        }
    }
    names
}

/// All objects of one manifest, `List`s taken apart.
///
/// # Errors
/// Text that is no YAML, or a document that is no object: kind, apiVersion and metadata.name are required.
pub fn parse(source: &Source) -> Result<Vec<Object>, Problem> {
    let mut objects = Vec::new();
    for (document, deserializer) in serde_yaml::Deserializer::from_str(&source.text).enumerate() {
        let value = Value::deserialize(deserializer).map_err(|error| source.syntax_problem(&error))?;
        if value.is_null() {
            continue;
        }
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == "List" {
            for item in list(&value, &["items"]) {
                objects.push(object(source, document, item.clone())?);
            }
        } else {
            objects.push(object(source, document, value)?);
        }
    }
    Ok(objects)
}

fn object(source: &Source, document: usize, value: Value) -> Result<Object, Problem> {
    let required = |path: &[&str]| {
        let text = get(&value, path).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| {
            let message = format!("a document without `{}`: not a Kubernetes object", path.join("."));
            source.problem_in(document, &at![], message)
        })
    };
    let api_version = required(&["apiVersion"])?;
    let kind = required(&["kind"])?;
    let name = required(&["metadata", "name"])?;
    let namespace = get(&value, &["metadata", "namespace"]).and_then(Value::as_str).unwrap_or_default();
    let namespace = if namespace.is_empty() && is_namespaced(&kind) { "default" } else { namespace };
    Ok(Object {
        file: source.file.clone(),
        document,
        api_version,
        reference: ObjectRef { kind, namespace: namespace.to_owned(), name },
        value,
    })
}

/// Whether objects of this kind that name no namespace land in `default`. Of kinds that Kubernetes does not have
/// itself nothing is assumed.
fn is_namespaced(kind: &str) -> bool {
    matches!(
        kind,
        "ConfigMap"
            | "CronJob"
            | "DaemonSet"
            | "Deployment"
            | "Endpoints"
            | "EndpointSlice"
            | "Event"
            | "HorizontalPodAutoscaler"
            | "Ingress"
            | "Job"
            | "Lease"
            | "LimitRange"
            | "NetworkPolicy"
            | "PersistentVolumeClaim"
            | "Pod"
            | "PodDisruptionBudget"
            | "ReplicaSet"
            | "ReplicationController"
            | "ResourceQuota"
            | "Role"
            | "RoleBinding"
            | "Secret"
            | "Service"
            | "ServiceAccount"
            | "StatefulSet"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_become_objects() {
        let text = "\
# nothing but a comment
---
apiVersion: v1
kind: Namespace
metadata: {name: one}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: one}}
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}
---
";
        let objects = parse(&Source::new("m.yaml", text)).unwrap();
        let names: Vec<String> = objects.iter().map(|object| object.reference.to_string()).collect();
        assert_eq!(names, ["Namespace one", "Secret one/s", "Deployment default/d"]);
        assert_eq!((objects[2].api_group(), objects[0].api_group()), ("apps", ""));
        assert_eq!((objects[0].document, objects[1].document), (0, 1));
    }

    #[test]
    fn a_node_port_has_the_name_of_its_service() {
        let text = "\
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {ports: [{name: http, port: 80, nodePort: 30001}, {port: 81}, {port: 82, nodePort: 30003}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {ports: [{nodePort: 30004}]}
";
        let names = node_ports(&parse(&Source::new("m.yaml", text)).unwrap());
        assert_eq!(names, BTreeMap::from([(30001, "shop, port http".to_owned()), (30003, "shop".to_owned())]));
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_line() {
        for (text, line, message) in [
            ("apiVersion: v1\nkind: Pod\nmetadata: {}\n", 1, "metadata.name"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\n\nname: x\n", 6, "apiVersion"),
            ("a: [\n", 2, "did not find expected node content"),
        ] {
            let problem = parse(&Source::new("m.yaml", text)).unwrap_err();
            assert_eq!(problem.line, line, "{problem}");
            assert!(problem.message.contains(message), "{problem}");
        }
    }
}
