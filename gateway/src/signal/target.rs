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
    cluster_scoped("Namespace", "namespaces", ""),
    cluster_scoped("Node", "nodes", ""),
    cluster_scoped("PersistentVolume", "persistentvolumes", ""),
    cluster_scoped("CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io"),
    cluster_scoped("PriorityClass", "priorityclasses", "scheduling.k8s.io"),
    cluster_scoped("StorageClass", "storageclasses", "storage.k8s.io"),
];

/// The labels that name a target, the most specific first.
const TARGET_LABELS: [(&str, &str); 6] = [
    ("pod", "Pod"),
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("node", "Node"),
    ("service", "Service"),
];

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
        }
    }

    /// The target that an alert's labels name; an alert that names none is about itself. An empty label is none.
    pub fn from_labels(labels: &BTreeMap<String, String>, alert_name: &str) -> Self {
        let label = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let namespace = label("namespace").or_else(|| label("exported_namespace")).unwrap_or_default();
        TARGET_LABELS
            .iter()
            .find_map(|(key, kind)| label(key).map(|name| Self::new(kind, name, namespace, None)))
            .unwrap_or_else(|| Self::new(UNKNOWN_KIND, alert_name, namespace, None))
    }

    /// The built-in kind that it is of.
    pub fn built_in(&self) -> Option<&'static BuiltIn> {
        BuiltIn::find(&self.kind, self.api_version.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(labels: &[(&str, &str)]) -> Target {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Target::from_labels(&labels, "HighLoad")
    }

    #[test]
    fn the_most_specific_label_wins() {
        let mut labels = vec![("namespace", "shop")];
        for (label, kind) in TARGET_LABELS.into_iter().rev() {
            labels.push((label, "it"));
            let found = target(&labels);
            assert_eq!((found.kind.as_str(), found.name.as_str()), (kind, "it"));
            assert_eq!(found.namespace, if kind == "Node" { "" } else { "shop" });
        }
    }

    #[test]
    fn kinds_are_spelled_as_the_api_spells_them() {
        assert_eq!(target(&[("statefulset", "db")]).kind, "StatefulSet");
        assert_eq!(target(&[("statefulset", "db")]).api_version.as_deref(), Some("apps/v1"));
        assert_eq!(Target::new("daemonset", "x", "ns", None).kind, "DaemonSet");
        assert_eq!(Target::new("Certificate", "x", "ns", Some("cert-manager.io/v1")).kind, "Certificate");
        let knative = Target::new("Service", "x", "ns", Some("serving.knative.dev/v1"));
        assert_eq!(knative.built_in(), None, "a Service of another group is not the built-in one");
    }

    #[test]
    fn the_namespace_comes_from_either_label() {
        assert_eq!(target(&[("pod", "a"), ("exported_namespace", "b")]).namespace, "b");
        assert_eq!(target(&[("pod", "a"), ("namespace", ""), ("exported_namespace", "b")]).namespace, "b");
        assert_eq!(target(&[("pod", "a"), ("namespace", "c"), ("exported_namespace", "b")]).namespace, "c");
    }

    #[test]
    fn an_alert_without_a_target_is_about_itself() {
        for labels in [&[("namespace", "shop")][..], &[("namespace", "shop"), ("pod", "")][..]] {
            let found = target(labels);
            assert_eq!(
                (found.kind.as_str(), found.name.as_str(), found.namespace.as_str()),
                ("Unknown", "HighLoad", "shop")
            );
            assert_eq!(found.api_version, None);
        }
    }
}
