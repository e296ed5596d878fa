//! What an object needs on a cluster that has nothing but what the suite brings: its namespace, its kind, the
//! ServiceAccount, ConfigMaps, Secrets and claims of its pods, the StorageClass of a claim.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::subject::{Subject, close};
use crate::kubernetes::has_group;
use crate::plan::Object;
use crate::plan::object::{get, list, pod_spec_at};
use crate::suite::yaml::{Problem, Segment, did_you_mean};

/// Namespaces that a kind cluster has from the start.
pub(super) const NAMESPACES: [&str; 5] =
    ["default", "kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
/// The StorageClass that kind brings, which is the default one.
const STORAGE_CLASS: &str = "standard";

/// Something that a pod or a claim names.
struct Ref<'v> {
    kind: &'static str,
    name: &'v str,
    /// The key of it that is read.
    key: Option<&'v str>,
    /// Whether it is a part of another one: that the object is missing is told there.
    is_item: bool,
    way: Vec<Segment>,
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole && subject.elsewhere.is_none() {
        return Vec::new();
    }
    let made = MadeLater::of(subject.objects);
    let mut problems = Vec::new();
    // Of a part nobody knows who makes its namespaces and kinds.
    if subject.is_whole {
        problems.extend(namespaces(subject));
        problems.extend(kinds(subject, &made));
    }
    for &object in subject.objects {
        let mut refs = Vec::new();
        if let Some((path, spec)) = pod_spec_at(object) {
            refs_in(spec, &mut object.place(path), &mut refs);
        }
        let claims_at = match object.reference.kind.as_str() {
            "PersistentVolumeClaim" => &["spec"][..],
            "StatefulSet" => &["spec", "volumeClaimTemplates"],
            _ => &[],
        };
        if let (false, Some(claims)) = (claims_at.is_empty(), get(&object.value, claims_at)) {
            refs_in(claims, &mut object.place(claims_at), &mut refs);
        }
        for one in refs {
            problems.extend(missing(subject, &made, object, &one));
        }
    }
    problems
}

fn namespaces(subject: &Subject<'_>) -> Vec<Problem> {
    let mut users: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
    for &object in subject.objects.iter().filter(|object| !object.reference.namespace.is_empty()) {
        users.entry(&object.reference.namespace).or_default().push(object);
    }
    let known = subject.objects.iter().filter(|object| object.reference.kind == "Namespace");
    let known: Vec<&str> = known.map(|object| object.reference.name.as_str()).chain(NAMESPACES).collect();
    let mut problems = Vec::new();
    for (namespace, objects) in users {
        let Some(first) = objects.first().filter(|_| !known.contains(&namespace)) else { continue };
        let others = match objects.len() {
            1 => String::new(),
            count => format!(", and {} more objects lie in it", count - 1),
        };
        let message = format!("{}: no manifest makes the namespace `{namespace}`{others}", first.reference);
        let hint = close(namespace, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let hint = hint.or_else(|| Some("add a Namespace to the suite's manifests".to_owned()));
        problems.push(first.problem(subject.source(first), &["metadata", "namespace"], message).hint(hint));
    }
    problems
}

fn kinds(subject: &Subject<'_>, made: &MadeLater<'_>) -> Vec<Problem> {
    let of = |kind: &'static str| subject.objects.iter().filter(move |object| object.reference.kind == kind);
    let definitions = of("CustomResourceDefinition")
        .filter_map(|object| Some((object.text(&["spec", "group"])?, object.text(&["spec", "names", "kind"])?)));
    let defined: BTreeSet<(&str, &str)> = definitions.collect();
    let served: BTreeSet<&str> = of("APIService").filter_map(|object| object.text(&["spec", "group"])).collect();
    let mut problems = Vec::new();
    let mut told = BTreeSet::new();
    for &object in subject.objects {
        let (group, kind) = (object.api_group(), object.reference.kind.as_str());
        // A controller may define kinds by what objects of its own kinds say.
        let known =
            has_group(group) || served.contains(group) || defined.contains(&(group, kind)) || made.kinds.contains(kind);
        if known || !told.insert((group, kind)) {
            continue;
        }
        let message = format!("{}: nothing brings the kind {kind} of {group} to the cluster", object.reference);
        let names = defined.iter().map(|(_, kind)| *kind);
        let near = defined
            .iter()
            .find(|(_, other)| *other == kind)
            .map(|(group, _)| format!("its definition is of the group `{group}`"));
        let hint = near
            .or_else(|| close(kind, names).map(|near| format!("did you mean `{near}`?")))
            .or_else(|| Some("add its CustomResourceDefinition to the suite's manifests".to_owned()));
        problems.push(object.problem(subject.source(object), &["kind"], message).hint(hint));
    }
    problems
}

/// Everything that the specification of a pod or of a claim names and cannot do without.
fn refs_in<'v>(value: &'v Value, way: &mut Vec<Segment>, found: &mut Vec<Ref<'v>>) {
    if let Value::Sequence(items) = value {
        for (at, item) in items.iter().enumerate() {
            way.push(Segment::from(at));
            refs_in(item, way, found);
            way.pop();
        }
    }
    for (key, below) in value.as_mapping().into_iter().flatten() {
        let key = key.as_str().unwrap_or_default();
        let (kind, name) = match key {
            "configMap" | "configMapRef" | "configMapKeyRef" => ("ConfigMap", "name"),
            "secretRef" | "secretKeyRef" => ("Secret", "name"),
            "secret" if below.get("secretName").is_some() => ("Secret", "secretName"),
            "secret" => ("Secret", "name"),
            "persistentVolumeClaim" => ("PersistentVolumeClaim", "claimName"),
            "serviceAccountName" => ("ServiceAccount", ""),
            "priorityClassName" => ("PriorityClass", ""),
            "storageClassName" => ("StorageClass", ""),
            _ => ("", ""),
        };
        way.push(Segment::from(key));
        let named = if name.is_empty() { Some(below) } else { below.get(name) };
        let optional = below.get("optional").and_then(Value::as_bool) == Some(true);
        if let (false, false, Some(text)) = (kind.is_empty(), optional, named.and_then(Value::as_str)) {
            // A volume names the keys that become files.
            for (at, item) in list(below, &["items"]).iter().enumerate() {
                let way = [way.as_slice(), &crate::at!["items", at, "key"]].concat();
                let key = item.get("key").and_then(Value::as_str);
                found.push(Ref { kind, name: text, key, is_item: true, way });
            }
            let mut way = way.clone();
            way.extend((!name.is_empty()).then(|| Segment::from(name)));
            found.push(Ref { is_item: false, kind, name: text, key: below.get("key").and_then(Value::as_str), way });
        }
        refs_in(below, way, found);
        way.pop();
    }
}

/// What is made by something that runs in the cluster.
pub(super) struct MadeLater<'a> {
    /// Texts of objects of custom kinds: a controller makes what they name.
    named: BTreeSet<&'a str>,
    /// Those of them under a key `kind` further down.
    kinds: BTreeSet<&'a str>,
    /// The resources that somebody may create.
    created: BTreeSet<&'a str>,
}

impl<'a> MadeLater<'a> {
    pub(super) fn of(objects: &'a [&'a Object]) -> MadeLater<'a> {
        let mut made = MadeLater { named: BTreeSet::new(), kinds: BTreeSet::new(), created: BTreeSet::new() };
        for object in objects {
            if !has_group(object.api_group()) {
                all_texts(&object.value, &mut made.named);
                kinds_in(object.value.get("spec"), &mut made.kinds);
            }
            if matches!(object.reference.kind.as_str(), "Role" | "ClusterRole") {
                for rule in list(&object.value, &["rules"]) {
                    let texts = |key: &str| list(rule, &[key]).iter().filter_map(Value::as_str);
                    if texts("verbs").any(|verb| verb == "create" || verb == "*") {
                        made.created.extend(texts("resources"));
                    }
                }
            }
        }
        made
    }

    /// Whether an object of a custom kind says this name: its controller may fill what is called so.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.named.contains(name)
    }

    pub(super) fn may_create(&self, kind: &str) -> bool {
        let plural = format!("{}s", kind.to_lowercase());
        self.created.contains(plural.as_str()) || self.created.contains("*")
    }
}

fn all_texts<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => drop(found.insert(text)),
        Value::Sequence(items) => items.iter().for_each(|item| all_texts(item, found)),
        Value::Mapping(items) => items.iter().for_each(|(_, item)| all_texts(item, found)),
        _ => {}
    }
}

/// The texts under keys `kind`.
fn kinds_in<'v>(value: Option<&'v Value>, found: &mut BTreeSet<&'v str>) {
    match value {
        Some(Value::Sequence(items)) => items.iter().for_each(|item| kinds_in(Some(item), found)),
        Some(Value::Mapping(items)) => {
            for (key, below) in items {
                if key.as_str() == Some("kind") {
                    found.extend(below.as_str());
                }
                kinds_in(Some(below), found);
            }
        }
        _ => {}
    }
}

fn missing(subject: &Subject<'_>, made: &MadeLater<'_>, object: &Object, one: &Ref<'_>) -> Option<Problem> {
    let me = &object.reference;
    let is_cluster_wide = matches!(one.kind, "PriorityClass" | "StorageClass");
    let namespace = if is_cluster_wide { "" } else { me.namespace.as_str() };
    // What the system's own namespaces hold is not known.
    if one.name.is_empty() || (namespace != "default" && NAMESPACES.contains(&namespace)) {
        return None;
    }
    if let Some(found) = subject.find(one.kind, namespace, one.name) {
        return key(subject, made, object, one, found);
    }
    if one.is_item {
        return None;
    }
    let is_given = matches!(
        (one.kind, one.name),
        ("ServiceAccount", "default")
            | ("ConfigMap", "kube-root-ca.crt")
            | ("PriorityClass", "system-cluster-critical" | "system-node-critical")
            | ("StorageClass", STORAGE_CLASS)
    );
    // A claim takes a volume of its class that is there, whether anything is called so or not.
    let is_there = || {
        let volumes = subject.objects.iter().filter(|volume| volume.reference.kind == "PersistentVolume");
        one.kind == "StorageClass"
            && volumes.into_iter().any(|volume| volume.text(&["spec", "storageClassName"]) == Some(one.name))
    };
    let of_template = || {
        let sets = subject
            .objects
            .iter()
            .filter(|set| set.reference.kind == "StatefulSet" && set.reference.namespace == namespace);
        sets.flat_map(|set| list(&set.value, &["spec", "volumeClaimTemplates"]))
            .filter_map(|claim| get(claim, &["metadata", "name"])?.as_str())
            .any(|claim| one.name.starts_with(&format!("{claim}-")))
    };
    if is_given || made.named.contains(one.name) || (one.kind == "PersistentVolumeClaim" && of_template()) || is_there()
    {
        return None;
    }
    let names = || {
        subject
            .index
            .range((one.kind, namespace, "")..)
            .take_while(|((kind, space, _), _)| *kind == one.kind && *space == namespace)
            .map(|((_, _, name), _)| *name)
            .chain((one.kind == "StorageClass").then_some(STORAGE_CLASS))
    };
    let near = close(one.name, names());
    let is_sure = match subject.elsewhere {
        None => near.is_some() || !made.may_create(one.kind),
        Some(elsewhere) => near.is_some_and(|near| elsewhere.is_slip(one.kind, one.name, near)),
    };
    if !is_sure {
        return None;
    }
    let elsewhere = || {
        let mut others = subject.index.keys().filter(|(kind, _, name)| *kind == one.kind && *name == one.name);
        others.next().map(|(_, namespace, _)| format!("there is one in the namespace `{namespace}`"))
    };
    let all = || {
        let names: Vec<&str> = names().take(8).collect();
        (!names.is_empty()).then(|| format!("there are: {}", names.join(", ")))
    };
    let hint = did_you_mean(one.name, names()).or_else(elsewhere).or_else(all);
    let hint = hint.or_else(|| Some(format!("add the {} to the suite's manifests", one.kind)));
    let message = format!("{me} needs the {} `{}`, and no manifest makes it", one.kind, one.name);
    Some(subject.source(object).problem_in(object.document, &one.way, message).hint(hint))
}

/// The keys of a ConfigMap or Secret.
pub(super) fn keys(object: &Object) -> Vec<&str> {
    let maps = ["data", "stringData", "binaryData"].into_iter().filter_map(|key| object.value.get(key)?.as_mapping());
    maps.flat_map(|map| map.keys().filter_map(Value::as_str)).collect()
}

/// What is wrong with the key that is read of a ConfigMap or Secret that is there.
fn key(subject: &Subject<'_>, made: &MadeLater<'_>, object: &Object, one: &Ref<'_>, found: &Object) -> Option<Problem> {
    let wanted = one.key.filter(|_| !made.named.contains(one.name))?;
    let keys = keys(found);
    // An empty one is filled by somebody.
    if keys.is_empty() || keys.contains(&wanted) {
        return None;
    }
    let message = format!("{} needs the key `{wanted}` of {}, which has none", object.reference, found.reference);
    let hint = close(wanted, keys.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    let hint = hint.or_else(|| Some(format!("it has: {}", keys.join(", "))));
    let mut way = one.way.clone();
    way.pop();
    way.push(Segment::from("key"));
    Some(subject.source(object).problem_in(object.document, &way, message).hint(hint))
}
