//! What an object reads of others: the reasons why one thing must be there before another.

use serde_yaml::Value;

use super::object::{Object, ObjectRef, get, list, pod_spec_at};

/// What of an object is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    /// Another object must exist.
    Object(ObjectRef),
    /// A custom kind must be known, by API group and kind.
    Kind(String, String),
    /// A custom kind must be known, by API group and the plural that requests use.
    Resource(String, String),
    /// A container is made of this image.
    Image(String),
}

/// Everything that this object reads.
pub(super) fn reads(object: &Object) -> Vec<Read> {
    let mut reads = Vec::new();
    let me = &object.reference;
    if !me.namespace.is_empty() {
        reads.push(named("Namespace", "", &me.namespace));
    }
    reads.push(Read::Kind(object.api_group().to_owned(), me.kind.clone()));
    if let Some((_, spec)) = pod_spec_at(object) {
        pod_reads(spec, &me.namespace, &mut reads);
    }
    for claim in list(&object.value, &["spec", "volumeClaimTemplates"]) {
        class(claim, &mut reads);
    }
    match me.kind.as_str() {
        "PersistentVolumeClaim" | "PersistentVolume" => class(&object.value, &mut reads),
        "Role" | "ClusterRole" => rules(object, &mut reads),
        "RoleBinding" | "ClusterRoleBinding" => binding(object, &mut reads),
        _ => {}
    }
    reads.sort();
    reads.dedup();
    reads.retain(|read| *read != Read::Object(me.clone()));
    reads
}

/// The ConfigMaps and Secrets that the pods of this object read when they start; none where it makes no pods.
pub fn configuration(object: &Object) -> Vec<ObjectRef> {
    let mut reads = Vec::new();
    if let Some((_, spec)) = pod_spec_at(object) {
        pod_reads(spec, &object.reference.namespace, &mut reads);
    }
    reads.sort();
    reads.dedup();
    let objects = reads.into_iter().filter_map(|read| match read {
        Read::Object(object) if matches!(object.kind.as_str(), "ConfigMap" | "Secret") => Some(object),
        _ => None,
    });
    objects.collect()
}

/// What of it is better there first, and not needed for the object to be applied: rights to a kind are given whether
/// there is such a kind or not, and what is optional may be missing.
pub(super) fn preferred(object: &Object, read: &Read) -> bool {
    match read {
        Read::Resource(..) => true,
        Read::Object(wanted) => pod_spec_at(object).is_some_and(|(_, spec)| {
            let mut refs = Vec::new();
            configuration_refs(spec, &mut refs);
            let of = |optional: bool| refs.contains(&(wanted.kind.as_str(), wanted.name.as_str(), optional));
            of(true) && !of(false)
        }),
        Read::Kind(..) | Read::Image(_) => false,
    }
}

/// Kind and name of each ConfigMap and Secret that is referred to below `value`, and whether it is optional.
pub(crate) fn configuration_refs<'v>(value: &'v Value, found: &mut Vec<(&'static str, &'v str, bool)>) {
    if let Value::Sequence(items) = value {
        items.iter().for_each(|item| configuration_refs(item, found));
    }
    for (key, below) in value.as_mapping().into_iter().flatten() {
        let kind = match key.as_str() {
            Some("configMap" | "configMapRef" | "configMapKeyRef") => "ConfigMap",
            Some("secret" | "secretRef" | "secretKeyRef") => "Secret",
            _ => "",
        };
        let name = below.get("name").or_else(|| below.get("secretName")).and_then(Value::as_str);
        if let (false, Some(name)) = (kind.is_empty(), name) {
            found.push((kind, name, below.get("optional").and_then(Value::as_bool) == Some(true)));
        }
        configuration_refs(below, found);
    }
}

fn named(kind: &str, namespace: &str, name: &str) -> Read {
    Read::Object(ObjectRef { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() })
}

fn pod_reads(spec: &Value, namespace: &str, reads: &mut Vec<Read>) {
    let mut add = |kind: &str, namespace: &str, at: Option<&Value>| {
        if let Some(name) = at.and_then(Value::as_str) {
            reads.push(named(kind, namespace, name));
        }
    };
    add("ServiceAccount", namespace, spec.get("serviceAccountName"));
    // Its name of old, which is still taken.
    add("ServiceAccount", namespace, spec.get("serviceAccount"));
    add("PriorityClass", "", spec.get("priorityClassName"));
    add("RuntimeClass", "", spec.get("runtimeClassName"));
    for secret in list(spec, &["imagePullSecrets"]) {
        add("Secret", namespace, secret.get("name"));
    }
    for volume in list(spec, &["volumes"]) {
        add("Secret", namespace, get(volume, &["secret", "secretName"]));
        add("ConfigMap", namespace, get(volume, &["configMap", "name"]));
        add("PersistentVolumeClaim", namespace, get(volume, &["persistentVolumeClaim", "claimName"]));
        for source in list(volume, &["projected", "sources"]) {
            add("Secret", namespace, get(source, &["secret", "name"]));
            add("ConfigMap", namespace, get(source, &["configMap", "name"]));
        }
    }
    let containers = ["containers", "initContainers"].into_iter().flat_map(|key| list(spec, &[key]));
    for container in containers.clone() {
        for source in list(container, &["envFrom"]) {
            add("Secret", namespace, get(source, &["secretRef", "name"]));
            add("ConfigMap", namespace, get(source, &["configMapRef", "name"]));
        }
        for variable in list(container, &["env"]) {
            add("Secret", namespace, get(variable, &["valueFrom", "secretKeyRef", "name"]));
            add("ConfigMap", namespace, get(variable, &["valueFrom", "configMapKeyRef", "name"]));
        }
    }
    for container in containers {
        if let Some(image) = container.get("image").and_then(Value::as_str) {
            reads.push(Read::Image(image.to_owned()));
        }
    }
}

fn class(claim: &Value, reads: &mut Vec<Read>) {
    if let Some(class) = get(claim, &["spec", "storageClassName"]).and_then(Value::as_str)
        && !class.is_empty()
    {
        reads.push(named("StorageClass", "", class));
    }
}

/// Who is given a right to a custom kind is going to use it.
fn rules(object: &Object, reads: &mut Vec<Read>) {
    for rule in list(&object.value, &["rules"]) {
        for group in list(rule, &["apiGroups"]).iter().filter_map(Value::as_str) {
            for resource in list(rule, &["resources"]).iter().filter_map(Value::as_str) {
                let plural = resource.split('/').next().unwrap_or_default();
                reads.push(Read::Resource(group.to_owned(), plural.to_owned()));
            }
        }
    }
}

fn binding(object: &Object, reads: &mut Vec<Read>) {
    let kind = object.text(&["roleRef", "kind"]).unwrap_or_default();
    let namespace = if kind == "Role" { object.reference.namespace.as_str() } else { "" };
    if let Some(name) = object.text(&["roleRef", "name"]) {
        reads.push(named(kind, namespace, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::parse;
    use crate::suite::yaml::Source;

    #[test]
    fn every_configuration_of_a_pod_is_found() {
        let text = "\
apiVersion: batch/v1
kind: CronJob
metadata: {name: c, namespace: n}
spec: {jobTemplate: {spec: {template: {spec: {
  serviceAccountName: a,
  imagePullSecrets: [{name: pull}],
  volumes: [{secret: {secretName: volume}}, {configMap: {name: map}}, {persistentVolumeClaim: {claimName: claim}},
    {projected: {sources: [{secret: {name: projected}}, {configMap: {name: projected}}]}}],
  initContainers: [{image: i, env: [{valueFrom: {secretKeyRef: {name: init}}}]}],
  containers: [{image: i, envFrom: [{configMapRef: {name: from}}, {secretRef: {name: from}}],
    env: [{valueFrom: {configMapKeyRef: {name: map}}}]}]}}}}}
";
        let objects = parse(&Source::new("m.yaml", text)).unwrap();
        let found: Vec<String> = configuration(&objects[0]).iter().map(ToString::to_string).collect();
        let expected = [
            "ConfigMap n/from",
            "ConfigMap n/map",
            "ConfigMap n/projected",
            "Secret n/from",
            "Secret n/init",
            "Secret n/projected",
            "Secret n/pull",
            "Secret n/volume",
        ];
        assert_eq!(found, expected);
    }
}
