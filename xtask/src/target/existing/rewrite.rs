//! The manifests of a suite as a run applies them to a cluster that others use, too: what lies in namespaces lies in
//! the run's own, what is of the whole cluster has the run's name or is shared by all runs, and nothing takes a port of
//! the nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::{Mapping, Value};

use super::options::Reach;
use super::references::Spaces;
use super::spelled::as_kubectl_reads;
use crate::plan::object::{get, list};
use crate::plan::{Manifests, Object, ObjectRef};
use crate::suite::yaml::{Problem, Problems};

/// The label with the run's id on everything that is the run's alone.
pub(super) const RUN_LABEL: &str = "gateway-e2e.run";
/// Namespaces of the cluster's own.
const OF_CLUSTER: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
/// Kinds that are the same for all runs: applied once.
const SHARED: [&str; 6] =
    ["ClusterRole", "CustomResourceDefinition", "IngressClass", "PriorityClass", "RuntimeClass", "StorageClass"];
/// StorageClasses of this provisioner take volumes that somebody has made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// What only a Service that is reached from outside may say.
const OF_OUTSIDE: [&str; 8] = [
    "allocateLoadBalancerNodePorts",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "clusterIP",
    "clusterIPs",
];
/// The longest name of a namespace.
const LONGEST: usize = 63;

/// How they are to be.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// A text that no other run has.
    pub(super) id: &'a str,
    /// On every object.
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) reach: Reach,
    /// For claims whose own class is left out; none for the cluster's default.
    pub(super) storage_class: Option<&'a str>,
}

/// A Service that specs reach, as what a NodePort of the manifests leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// As in the manifests.
    pub(super) node_port: u16,
    pub(super) namespace: String,
    pub(super) service: String,
    /// The Service's own.
    pub(super) port: u16,
    /// The labels of its pods.
    pub(super) selector: BTreeMap<String, String>,
    /// The port of the pod: a number, or a name of one.
    pub(super) target: String,
}

/// What became of them.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) manifests: Manifests,
    /// What all runs share; it stands in the manifests, too, as what is applied apart.
    pub(super) shared: Vec<Object>,
    /// The run's name of each namespace of the manifests.
    pub(super) namespaces: BTreeMap<String, String>,
    pub(super) reached: Vec<Reached>,
    /// What is not applied, and why.
    pub(super) left_out: Vec<String>,
    /// How many claims take the cluster's storage in the place of volumes of the manifests.
    pub(super) claims: usize,
}

/// Rewrites `manifests`.
///
/// # Errors
/// What cannot be one run's alone: with file and line.
pub(super) fn rewrite(manifests: &Manifests, wanted: &Wanted<'_>) -> Result<Rewritten, Problems> {
    let spaces = spaces(manifests, wanted.id);
    let classes: BTreeSet<String> = manifests.all().filter(|object| is_unprovisioned(object)).map(name_of).collect();
    let rewriter = Rewriter { manifests, wanted, spaces: &spaces, classes };
    let mut out = Rewritten {
        manifests: Manifests { is_rewritten: true, ..manifests.clone() },
        shared: Vec::new(),
        namespaces: spaces.renamed.clone(),
        reached: Vec::new(),
        left_out: Vec::new(),
        claims: 0,
    };
    let mut problems = Vec::new();
    for (file, objects) in &manifests.objects {
        let mut new = Vec::new();
        for object in objects {
            match rewriter.object(object, &mut out) {
                Ok(object) => new.extend(object),
                Err(problem) => problems.push(problem),
            }
        }
        out.manifests.objects.insert(file.clone(), new);
    }
    out.manifests.apart = out.shared.iter().map(|object| object.reference.clone()).collect();
    Problems(problems).into_result().map(|()| out)
}

fn name_of(object: &Object) -> String {
    object.reference.name.clone()
}

/// The name of something of the run's alone.
pub(super) fn in_run(name: &str, id: &str) -> String {
    let room = LONGEST - id.len() - 1;
    let name: String = name.chars().take(room).collect();
    format!("{}-{id}", name.trim_end_matches(['-', '.']))
}

/// A StorageClass whose volumes are made by hand, as the manifests' own PersistentVolumes are.
fn is_unprovisioned(object: &Object) -> bool {
    object.reference.kind == "StorageClass" && object.text(&["provisioner"]) == Some(NO_PROVISIONER)
}

fn spaces(manifests: &Manifests, id: &str) -> Spaces {
    let mut spaces = Spaces::default();
    for object in manifests.all() {
        let ObjectRef { kind, name, .. } = &object.reference;
        let namespace = namespace(manifests, object);
        let used = if kind == "Namespace" { name } else { &namespace };
        if !used.is_empty() && !OF_CLUSTER.contains(&used.as_str()) {
            spaces.renamed.insert(used.clone(), in_run(used, id));
        }
        match kind.as_str() {
            "Service" => drop(spaces.services.insert((namespace, name.clone()))),
            "ServiceAccount" => drop(spaces.accounts.insert((namespace, name.clone()))),
            _ => {}
        }
    }
    spaces
}

/// The namespace of an object; empty where it has none. Of a custom kind its definition tells.
fn namespace(manifests: &Manifests, object: &Object) -> String {
    if !object.reference.namespace.is_empty() {
        return object.reference.namespace.clone();
    }
    let defines = |definition: &&Object| {
        definition.reference.kind == "CustomResourceDefinition"
            && definition.text(&["spec", "scope"]) == Some("Namespaced")
            && definition.text(&["spec", "group"]) == Some(object.api_group())
            && definition.text(&["spec", "names", "kind"]) == Some(&object.reference.kind)
    };
    manifests.all().find(defines).map(|_| "default".to_owned()).unwrap_or_default()
}

struct Rewriter<'a> {
    manifests: &'a Manifests,
    wanted: &'a Wanted<'a>,
    spaces: &'a Spaces,
    /// The StorageClasses that are left out.
    classes: BTreeSet<String>,
}

impl Rewriter<'_> {
    /// The object as it is applied; none where it is not.
    fn object(&self, object: &Object, out: &mut Rewritten) -> Result<Option<Object>, Problem> {
        let mut object = object.clone();
        if let Some(source) = self.manifests.sources.get(&object.file).filter(|_| !object.is_rendered) {
            as_kubectl_reads(&mut object, source);
        }
        let namespace = namespace(self.manifests, &object);
        let kind = object.reference.kind.clone();
        let refuse = |keys: &[&str], why: String| Err(self.manifests.problem(&object, keys, why));
        if kind == "PersistentVolume" || is_unprovisioned(&object) {
            out.left_out.push(format!("{}: its storage is that of a cluster of our own", object.reference));
            return Ok(None);
        }
        if OF_CLUSTER.contains(&namespace.as_str())
            || (kind == "Namespace" && OF_CLUSTER.contains(&name_of(&object).as_str()))
        {
            let why =
                format!("{} lies in a namespace of the cluster's own, where a run changes nothing", object.reference);
            return refuse(&["metadata", "namespace"], why);
        }
        if kind == "APIService" {
            let why =
                format!("{} is of the whole cluster, and its name cannot be that of one run alone", object.reference);
            return refuse(&["metadata", "name"], why);
        }
        let mut value = object.value.clone();
        self.rename(&mut value);
        if namespace.is_empty() && SHARED.contains(&kind.as_str()) {
            if value != object.value {
                let why =
                    format!("{} is shared by all runs, and refers to a namespace of one of them", object.reference);
                return refuse(&[], why);
            }
            out.shared.push(object.clone());
            return Ok(Some(object));
        }
        if namespace.is_empty() {
            let name = match self.spaces.of(&object.reference.name).filter(|_| kind == "Namespace") {
                Some(name) => name.to_owned(),
                None => in_run(&object.reference.name, self.wanted.id),
            };
            set(&mut value, &["metadata", "name"], name.as_str().into());
            object.reference.name = name;
        } else {
            let name = self.spaces.of(&namespace).unwrap_or(&namespace).to_owned();
            set(&mut value, &["metadata", "namespace"], name.as_str().into());
            object.reference.namespace = name;
        }
        for (key, label) in self.wanted.labels {
            set(&mut value, &["metadata", "labels", key], label.as_str().into());
        }
        match kind.as_str() {
            "Service" => self.service(&object.reference, &mut value, out),
            "PersistentVolumeClaim" => self.claim(&mut value, out),
            "StatefulSet" => {
                let claims = value.get_mut("spec").and_then(|spec| spec.get_mut("volumeClaimTemplates"));
                for claim in claims.and_then(Value::as_sequence_mut).into_iter().flatten() {
                    self.claim(claim, out);
                }
            }
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => self.webhooks(&mut value),
            _ => {}
        }
        object.value = value;
        Ok(Some(object))
    }

    /// Names of namespaces, wherever the API or a text has them.
    fn rename(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(new) = self.spaces.in_text(text) {
                    *text = new;
                }
            }
            Value::Sequence(items) => {
                // As two words of a command line.
                for at in 1..items.len() {
                    let is_option =
                        |text: &str| text == "-n" || (text.starts_with("--") && text.ends_with("namespace"));
                    if items[at - 1].as_str().is_some_and(is_option) {
                        self.rename_whole(&mut items[at]);
                    }
                }
                items.iter_mut().for_each(|item| self.rename(item));
            }
            Value::Mapping(map) => {
                // A variable of a container.
                let name = map.get("name").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
                // A term of a selector.
                let selects = map.get("key").and_then(Value::as_str) == Some("kubernetes.io/metadata.name");
                for (key, value) in map {
                    match key.as_str().unwrap_or_default() {
                        "namespace" | "kubernetes.io/metadata.name" => self.rename_whole(value),
                        "value" if name.ends_with("NAMESPACE") => self.rename_whole(value),
                        "namespaces" => self.rename_items(value),
                        "values" if selects => self.rename_items(value),
                        _ => {}
                    }
                    self.rename(value);
                }
            }
            _ => {}
        }
    }

    fn rename_items(&self, value: &mut Value) {
        value.as_sequence_mut().into_iter().flatten().for_each(|item| self.rename_whole(item));
    }

    fn rename_whole(&self, value: &mut Value) {
        if let Some(name) = value.as_str().and_then(|name| self.spaces.of(name)) {
            *value = name.into();
        }
    }

    /// Fixed ports of the nodes are nobody's; how specs reach what is behind them is noted.
    fn service(&self, reference: &ObjectRef, value: &mut Value, out: &mut Rewritten) {
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let selector = get(value, &["spec", "selector"]).and_then(Value::as_mapping);
        let selector: BTreeMap<String, String> =
            selector.into_iter().flatten().map(|(key, value)| (text(Some(key)), text(Some(value)))).collect();
        let number = |port: &Value, key: &str| port.get(key)?.as_u64().and_then(|number| u16::try_from(number).ok());
        let before = out.reached.len();
        for port in list(value, &["spec", "ports"]) {
            let (Some(node_port), Some(own)) = (number(port, "nodePort"), number(port, "port")) else { continue };
            let target = Some(text(port.get("targetPort"))).filter(|target| !target.is_empty());
            out.reached.push(Reached {
                node_port,
                namespace: reference.namespace.clone(),
                service: reference.name.clone(),
                port: own,
                selector: selector.clone(),
                target: target.unwrap_or_else(|| own.to_string()),
            });
        }
        let is_reached = out.reached.len() > before;
        let Some(spec) = value.get_mut("spec").and_then(Value::as_mapping_mut) else { return };
        for port in spec.get_mut("ports").and_then(Value::as_sequence_mut).into_iter().flatten() {
            if let Some(port) = port.as_mapping_mut() {
                port.remove("nodePort");
            }
        }
        let is_outside = matches!(spec.get("type").and_then(Value::as_str), Some("NodePort" | "LoadBalancer"));
        if !is_outside {
            return;
        }
        for key in OF_OUTSIDE {
            spec.remove(key);
        }
        let kind = match self.wanted.reach {
            Reach::NodePort if is_reached => "NodePort",
            Reach::LoadBalancer if is_reached => "LoadBalancer",
            _ => "ClusterIP",
        };
        spec.insert("type".into(), kind.into());
    }

    /// A claim for a volume that is left out takes the cluster's storage.
    fn claim(&self, value: &mut Value, out: &mut Rewritten) {
        let Some(spec) = value.get_mut("spec").and_then(Value::as_mapping_mut) else { return };
        let class = spec.get("storageClassName").and_then(Value::as_str);
        let by_hand = class.is_some_and(|class| class.is_empty() || self.classes.contains(class));
        if by_hand || spec.contains_key("volumeName") {
            spec.remove("volumeName");
            match self.wanted.storage_class {
                Some(class) => drop(spec.insert("storageClassName".into(), class.into())),
                None => drop(spec.remove("storageClassName")),
            }
            out.claims += 1;
        }
    }

    /// Webhooks are asked of what the run makes, and of nothing else.
    fn webhooks(&self, value: &mut Value) {
        for webhook in value.get_mut("webhooks").and_then(Value::as_sequence_mut).into_iter().flatten() {
            set(webhook, &["namespaceSelector", "matchLabels", RUN_LABEL], self.wanted.id.into());
        }
    }
}

/// Puts `new` at the way `path` of keys, and makes the mappings on it.
fn set(value: &mut Value, path: &[&str], new: Value) {
    let Some((last, above)) = path.split_last() else { return };
    let mut at = value;
    for key in above {
        let Some(map) = at.as_mapping_mut() else { return };
        at = map.entry((*key).into()).or_insert_with(|| Value::Mapping(Mapping::new()));
        if at.is_null() {
            *at = Value::Mapping(Mapping::new());
        }
    }
    if let Some(map) = at.as_mapping_mut() {
        map.insert((*last).into(), new);
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
