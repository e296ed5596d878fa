//! What a signal is about, and the kinds of objects that the gateway knows by itself.

use std::collections::BTreeMap;

/// The kind of a target that names no object.
pub const UNKNOWN_KIND: &str = "Unknown";

/// An object, as a signal or an owner reference names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As the API spells it.
    pub kind: String,
    /// The object's name, or the alert's for [`UNKNOWN_KIND`].
    pub name: String,
    /// Empty if cluster-scoped.
    pub namespace: String,
    /// Such as `apps/v1`, where it is known.
    pub api_version: Option<String>,
    /// Whether it is only a Pod that tells of its node, and the node is meant.
    pub means_its_node: bool,
}

/// A kind of the API server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// As the API spells it.
    pub kind: &'static str,
    /// In URLs.
    pub plural: &'static str,
    /// Empty for the core group.
    pub group: &'static str,
    /// Without the group.
    pub version: &'static str,
    /// Whether its objects lie in a namespace.
    pub namespaced: bool,
    /// Whether its objects may have a controller that owns them.
    pub owned: bool,
}

const fn owned(kind: &'static str, plural: &'static str, group: &'static str) -> BuiltIn {
    BuiltIn { kind, plural, group, version: "v1", namespaced: true, owned: true }
}

const fn cluster_scoped(kind: &'static str, plural: &'static str, group: &'static str) -> BuiltIn {
    BuiltIn { kind, plural, group, version: "v1", namespaced: false, owned: false }
}

/// What nothing is learnt of by reading: no controller of the API server's own owns them.
const fn unowned(kind: &'static str, plural: &'static str, group: &'static str, version: &'static str) -> BuiltIn {
    BuiltIn { kind, plural, group, version, namespaced: true, owned: false }
}

const BUILT_IN: &[BuiltIn] = &[
    owned("Pod", "pods", ""),
    owned("ReplicationController", "replicationcontrollers", ""),
    owned("Service", "services", ""),
    owned("DaemonSet", "daemonsets", "apps"),
    owned("Deployment", "deployments", "apps"),
    owned("ReplicaSet", "replicasets", "apps"),
    owned("StatefulSet", "statefulsets", "apps"),
    owned("CronJob", "cronjobs", "batch"),
    owned("Job", "jobs", "batch"),
    unowned("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2"),
    unowned("PersistentVolumeClaim", "persistentvolumeclaims", "", "v1"),
    unowned("PodDisruptionBudget", "poddisruptionbudgets", "policy", "v1"),
    unowned("ResourceQuota", "resourcequotas", "", "v1"),
    cluster_scoped("Namespace", "namespaces", ""),
    cluster_scoped("Node", "nodes", ""),
    cluster_scoped("PersistentVolume", "persistentvolumes", ""),
    cluster_scoped("CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io"),
    cluster_scoped("PriorityClass", "priorityclasses", "scheduling.k8s.io"),
    cluster_scoped("StorageClass", "storageclasses", "storage.k8s.io"),
];

/// The labels that name a target. Those that only an exporter writes about others come first; a `pod`, `node` or
/// `service` may be the exporter's own.
const TARGET_LABELS: [(&str, &str); 13] = [
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("job_name", "Job"),
    ("cronjob", "CronJob"),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler"),
    ("poddisruptionbudget", "PodDisruptionBudget"),
    ("persistentvolumeclaim", "PersistentVolumeClaim"),
    ("persistentvolume", "PersistentVolume"),
    ("resourcequota", "ResourceQuota"),
    ("pod", "Pod"),
    ("node", "Node"),
    ("service", "Service"),
];

/// Exporters that tell of others, as their pods, containers and jobs are called.
const KUBE_STATE_METRICS: &str = "kube-state-metrics";
const NODE_EXPORTER: &str = "node-exporter";

impl BuiltIn {
    /// The group and version, as in an object's `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The built-in kind of this name, however its letters are cased. With an `apiVersion` its group must fit too:
    /// other groups have a Service as well.
    pub fn find(kind: &str, api_version: Option<&str>) -> Option<&'static Self> {
        let group = api_version.map(|version| version.rsplit_once('/').map_or("", |(group, _)| group));
        BUILT_IN
            .iter()
            .find(|known| known.kind.eq_ignore_ascii_case(kind) && group.is_none_or(|group| group == known.group))
    }
}

impl Target {
    /// A target with its kind spelled as the API spells it, and without a namespace where it cannot have one.
    pub fn new(kind: &str, name: &str, namespace: &str, api_version: Option<&str>) -> Self {
        let api_version = api_version.filter(|version| !version.is_empty());
        let built_in = BuiltIn::find(kind, api_version);
        let namespace = if built_in.is_some_and(|known| !known.namespaced) { "" } else { namespace };
        Self {
            kind: built_in.map_or(kind, |known| known.kind).to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            api_version: api_version.map(str::to_owned).or_else(|| built_in.map(BuiltIn::api_version)),
            means_its_node: false,
        }
    }

    /// The target that an alert's labels name; an alert that names none is about itself. An empty label is none.
    ///
    /// Prometheus attaches the labels of what it scrapes. What an exporter itself says under one of their names it moves
    /// to `exported_…`, unless it is told to honour it: so that wins.
    pub fn from_labels(labels: &BTreeMap<String, String>, alert_name: &str) -> Self {
        let plain = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let exported = |key: &str| plain(&format!("exported_{key}"));
        let label = |key: &str| exported(key).or_else(|| plain(key));
        let namespace = label("namespace").unwrap_or_default();
        let is_of = |exporter: &str| {
            let of_pod = |pod: &str| {
                // An installation may call its pods otherwise; then they begin as their service does.
                let by_service = || {
                    [plain("job"), plain("container")].contains(&Some(exporter))
                        && plain("service").is_some_and(|service| pod.starts_with(service))
                };
                pod.contains(exporter) || by_service()
            };
            exported("pod").is_none() && plain("pod").is_some_and(of_pod)
        };
        let of_node_exporter = is_of(NODE_EXPORTER);
        let own_pod = label("node").is_some() && (of_node_exporter || is_of(KUBE_STATE_METRICS));
        let found = TARGET_LABELS
            .iter()
            .filter(|(key, _)| !(own_pod && *key == "pod"))
            .find_map(|(key, kind)| label(key).map(|name| Self::new(kind, name, namespace, None)));
        match found {
            // Its node is meant, which may be called so already.
            Some(pod) if of_node_exporter && pod.kind == "Pod" => match plain("instance") {
                Some(instance) if crate::text::is_object_name(instance) && !is_address(instance) => {
                    Self::new("Node", instance, "", None)
                }
                _ => Self { means_its_node: true, ..pod },
            },
            Some(target) => target,
            None => Self::new(UNKNOWN_KIND, alert_name, namespace, None),
        }
    }

    /// The built-in kind that it is of.
    pub fn built_in(&self) -> Option<&'static BuiltIn> {
        BuiltIn::find(&self.kind, self.api_version.as_deref())
    }
}

fn is_address(instance: &str) -> bool {
    instance.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
