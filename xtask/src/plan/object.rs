//! The Kubernetes objects of a manifest, as far as a plan needs to know them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::kubernetes::kind_of_group;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Problems, Segment, Source};

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
    /// Which of the file's documents it is in, from 0.
    pub document: usize,
    /// Where it is in that document: nothing for the document itself, else the way to an item of a list.
    pub item: Vec<Segment>,
    /// The API group with version: `apps/v1`.
    pub api_version: String,
    /// What it is called.
    pub reference: ObjectRef,
    /// The whole object.
    pub value: Value,
    /// Whether another program has printed it: what stands in the file may be written otherwise, or be changed.
    pub is_rendered: bool,
}

impl Object {
    /// The API group, empty for the core group.
    pub fn api_group(&self) -> &str {
        self.api_version.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The place of `keys` of this object in its document.
    pub fn place(&self, keys: &[&str]) -> Vec<Segment> {
        self.item.iter().cloned().chain(keys.iter().map(|key| Segment::from(*key))).collect()
    }

    /// A problem of this object at `keys`, with its file and line.
    pub fn problem(&self, source: &Source, keys: &[&str], message: impl Into<String>) -> Problem {
        source.problem_in(self.document, &self.place(keys), message)
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
pub fn node_ports<'a>(objects: impl IntoIterator<Item = &'a Object>) -> BTreeMap<u16, String> {
    let mut names = BTreeMap::new();
    for service in objects.into_iter().filter(|object| object.reference.kind == "Service") {
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

/// The manifests of a suite as they were at one moment: what a run applies and compares is all of the same moment, also
/// where a file is edited meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The texts, by path.
    pub sources: BTreeMap<Utf8PathBuf, Source>,
    /// The objects of each.
    pub objects: BTreeMap<Utf8PathBuf, Vec<Object>>,
    /// Whether the objects are others than the texts say, as a target wants them: what is applied are these.
    pub is_rewritten: bool,
    /// Objects that the target itself applies and removes.
    pub apart: BTreeSet<ObjectRef>,
}

impl Manifests {
    /// Takes the texts apart.
    ///
    /// # Errors
    /// As [`parse`], for every file.
    pub fn new(sources: BTreeMap<Utf8PathBuf, Source>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut objects = BTreeMap::new();
        for (file, source) in &sources {
            match parse(source) {
                Ok(found) => drop(objects.insert(file.clone(), found)),
                Err(problem) => problems.push(problem),
            }
        }
        Problems(problems).into_result().map(|()| Self { sources, objects, ..Self::default() })
    }

    /// Reads those of `suite`, whose files are below `root`.
    ///
    /// # Errors
    /// Files that cannot be read or parsed, and kustomizations that cannot be rendered.
    pub fn read(root: &Utf8Path, suite: &Suite) -> Result<Self, Problems> {
        let texts = super::read_manifests(root, suite)?;
        Problems(super::unrendered(suite, &texts)).into_result()?;
        Self::new(texts)
    }

    /// All objects of all files.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().flatten()
    }

    /// The objects of these texts, in their order.
    pub fn of<'a>(&'a self, texts: impl IntoIterator<Item = &'a Utf8PathBuf>) -> impl Iterator<Item = &'a Object> {
        texts.into_iter().filter_map(|text| self.objects.get(text)).flatten()
    }

    /// `file:line:column: message` for something that is wrong with `object`.
    pub fn problem(&self, object: &Object, keys: &[&str], message: impl Into<String>) -> Problem {
        let source = self.sources.get(&object.file).cloned().unwrap_or_else(|| Source::new(object.file.clone(), ""));
        object.problem(&source, keys, message)
    }
}

/// All objects of one manifest, lists taken apart.
///
/// # Errors
/// Text that is no YAML, a key that stands twice in a mapping, or a document that is no object: kind, apiVersion and
/// metadata.name are required.
pub fn parse(source: &Source) -> Result<Vec<Object>, Problem> {
    let mut objects = Vec::new();
    for (document, deserializer) in serde_yaml::Deserializer::from_str(&source.text).enumerate() {
        let read = Value::deserialize(deserializer).map_err(|error| source.syntax_problem(&error));
        let mut value = read.map_err(|problem| template_problem(source).unwrap_or(problem))?;
        if value.is_null() {
            continue;
        }
        // As kubectl does it.
        value.apply_merge().map_err(|error| source.problem_in(document, &[], error.to_string()))?;
        take_apart(source, document, Vec::new(), value, &mut objects)?;
    }
    Ok(objects)
}

/// As [`parse`], of a file that nobody said to be a manifest: the objects that are in it, and the first mistake of its
/// syntax. What is no object, or has no name yet, is left out.
pub(crate) fn parse_all(source: &Source) -> (Vec<Object>, Option<Problem>) {
    let mut objects = Vec::new();
    for (document, deserializer) in serde_yaml::Deserializer::from_str(&source.text).enumerate() {
        let mut value = match Value::deserialize(deserializer) {
            Ok(value) => value,
            Err(error) => return (objects, Some(source.syntax_problem(&error))),
        };
        if value.is_mapping() && value.apply_merge().is_ok() {
            // The items of a list before one that is none are objects all the same.
            let _ = take_apart(source, document, Vec::new(), value, &mut objects);
        }
    }
    (objects, None)
}

/// Adds `value`, or where it is a list its items: a `List`, or one of a kind (`DeploymentList`), whose items need not
/// say what they are.
fn take_apart(
    source: &Source,
    document: usize,
    item: Vec<Segment>,
    mut value: Value,
    objects: &mut Vec<Object>,
) -> Result<(), Problem> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    let Some(of) = kind.strip_suffix("List").filter(|_| value.get("items").is_some_and(Value::is_sequence)) else {
        objects.push(object(source, document, item, value)?);
        return Ok(());
    };
    let items = value.get_mut("items").and_then(Value::as_sequence_mut).map(std::mem::take).unwrap_or_default();
    for (at, mut value) in items.into_iter().enumerate() {
        if let (Some(map), false) = (value.as_mapping_mut(), of.is_empty()) {
            for (key, default) in [("kind", of), ("apiVersion", api_version.as_str())] {
                map.entry(key.into()).or_insert_with(|| default.into());
            }
        }
        let place = item.iter().cloned().chain([Segment::from("items"), Segment::from(at)]).collect();
        take_apart(source, document, place, value, objects)?;
    }
    Ok(())
}

fn object(source: &Source, document: usize, item: Vec<Segment>, value: Value) -> Result<Object, Problem> {
    let required = |path: &[&str]| {
        let text = get(&value, path).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| {
            if let Some(problem) = to_be_rendered(source, document, &item, &value) {
                return problem;
            }
            let what = if item.is_empty() { "a document" } else { "an item of a list" };
            let message = format!("{what} without `{}`: not a Kubernetes object", path.join("."));
            source.problem_in(document, &item, message)
        })
    };
    let api_version = required(&["apiVersion"])?;
    let kind = required(&["kind"])?;
    let name = required(&["metadata", "name"])?;
    let namespace = get(&value, &["metadata", "namespace"]).and_then(Value::as_str).unwrap_or_default();
    let namespace = if namespace.is_empty() && is_namespaced(&api_version, &kind) { "default" } else { namespace };
    let reference = ObjectRef { kind, namespace: namespace.to_owned(), name };
    Ok(Object { file: source.file.clone(), document, item, api_version, reference, value, is_rendered: false })
}

/// What is wrong with a document that is no object as it stands, where it is meant for another tool than `kubectl apply`.
fn to_be_rendered(source: &Source, document: usize, item: &[Segment], value: &Value) -> Option<Problem> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let at = |keys: &[&str], message: String, hint: &str| {
        let path: Vec<Segment> = item.iter().cloned().chain(keys.iter().map(|key| Segment::from(*key))).collect();
        Some(source.problem_in(document, &path, message).hint(Some(hint.to_owned())))
    };
    let kind = text("kind");
    let of_kustomize = text("apiVersion").starts_with("kustomize.config.k8s.io/");
    if of_kustomize || matches!(source.file.file_stem(), Some("kustomization" | "Kustomization")) {
        let message = format!("a file for kustomize ({}), which `kubectl apply -f` does not take", source.file);
        return at(&[], message, "name its folder as the group's `kustomize`, in place of the file");
    }
    if get(value, &["metadata", "generateName"]).is_some() {
        let message = format!("{kind} has a `generateName`, which `kubectl apply` refuses");
        return at(&["metadata", "generateName"], message, "write a `name` in its place");
    }
    template_problem(source)
}

/// Where the text is a template of Helm's: no manifest before it is filled in.
fn template_problem(source: &Source) -> Option<Problem> {
    let marks = |line: &str| {
        let inside = line.split_once("{{").map_or("", |(_, inside)| inside);
        let begins = ["if ", "range ", "with ", "end ", "end}", "include ", "define ", "template ", "else"];
        let inside = inside.trim_start_matches('-').trim_start();
        [".Values", ".Release", ".Chart", ".Capabilities"].iter().any(|name| inside.contains(name))
            || begins.iter().any(|begin| inside.starts_with(begin))
    };
    let line = source.text.lines().position(marks)?;
    let message = "a template of Helm's, which `kubectl` does not take as it stands".to_owned();
    let hint = Some("write what `helm template` prints into a file, and name that one".to_owned());
    Some(Problem { file: source.file.clone(), line: line + 1, column: 1, message, hint, fix: None })
}

/// Whether objects of this kind that name no namespace land in `default`. Of kinds that Kubernetes does not have
/// itself nothing is assumed.
fn is_namespaced(api_version: &str, kind: &str) -> bool {
    kind_of_group(api_version, kind).is_some_and(|kind| kind.is_namespaced)
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
    fn a_list_of_a_kind_and_lists_in_lists_are_taken_apart() {
        let text = "\
apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: DeploymentList
    items: [{metadata: {name: a}}, {metadata: {name: b, namespace: two}}]
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
";
        let source = Source::new("m.yaml", text);
        let objects = parse(&source).unwrap();
        let names: Vec<String> = objects.iter().map(|object| object.reference.to_string()).collect();
        assert_eq!(names, ["Deployment default/a", "Deployment two/b", "ConfigMap default/c"]);
        assert_eq!(objects[1].api_version, "apps/v1");
        let problem = objects[2].problem(&source, &["metadata", "name"], "no");
        assert_eq!((problem.line, problem.column), (7, 56), "{problem}");
    }

    #[test]
    fn what_kubectl_merges_is_merged() {
        let text = "\
base: &base {restartPolicy: Always, serviceAccountName: one}
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {<<: *base, containers: []}
";
        let objects = parse(&Source::new("m.yaml", text)).unwrap();
        assert_eq!(objects[0].text(&["spec", "serviceAccountName"]), Some("one"));
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
            ("apiVersion: v1\n{{- with .Values.x }}\nkind: Pod\n{{- end }}\n", 2, "a template of Helm's"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Release.Name }} }\n", 3, "a template of Helm's"),
            ("apiVersion: kustomize.config.k8s.io/v1\nkind: Component\n", 1, "a file for kustomize (m.yaml)"),
            ("apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: p-\n", 4, "Pod has a `generateName`"),
            ("apiVersion: v1\nkind: Pod\nkind: Job\nmetadata: {name: p}\n", 1, "duplicate"),
            ("apiVersion: v1\nkind: List\nitems:\n  - {apiVersion: v1, kind: Pod}\n", 4, "an item of a list"),
        ] {
            let problem = parse(&Source::new("m.yaml", text)).unwrap_err();
            assert_eq!(problem.line, line, "{problem}");
            assert!(problem.message.contains(message), "{problem}");
        }
    }
}
