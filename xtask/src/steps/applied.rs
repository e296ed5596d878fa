//! Objects that a kept cluster has and the manifests have no longer, or have in a form that the one which is there
//! cannot be changed to.
//!
//! What was ever applied is noted beside the cluster's kubeconfig, before it is applied. Only what stands in that note,
//! and is marked as this instance's or has fields that [`MANAGER`] owns, is ever deleted: what specs and people made is
//! not looked at.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use camino::Utf8PathBuf;
use e2e_support::kubectl::MANAGER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::refused::{Unchangeable, group_version, unknown_kinds};
use super::render::INSTANCE;
use crate::called::called;
use crate::disk;
use crate::plan::object::get;
use crate::plan::{Manifests, Object, ObjectRef, configuration};
use crate::target::session::Running;

/// What is behind objects of these kinds goes with them: other people's objects, or data. They are deleted only where
/// nothing is behind them.
const HOLDERS: [&str; 4] = ["CustomResourceDefinition", "Namespace", "PersistentVolume", "PersistentVolumeClaim"];
/// How what every namespace has by itself begins, and what goes with its Services.
const OF_EVERY_NAMESPACE: [&str; 4] =
    ["configmap/kube-root-ca.crt", "serviceaccount/default", "endpoints/", "endpointslice."];
/// The fields of a StatefulSet that stay as they were made.
const OF_STATEFUL_SETS: [&str; 4] = ["volumeClaimTemplates", "serviceName", "podManagementPolicy", "selector"];

/// An object that was applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Applied {
    #[serde(rename = "apiVersion")]
    api_version: String,
    #[serde(flatten)]
    object: ObjectRef,
}

impl Applied {
    fn of(object: &Object) -> Applied {
        Applied { api_version: object.api_version.clone(), object: object.reference.clone() }
    }

    /// Whether both are the same object of the cluster, in whichever version of its API.
    fn is(&self, other: &Applied) -> bool {
        let namespace = |applied: &Applied| match applied.object.namespace.as_str() {
            "" => "default".to_owned(),
            name => name.to_owned(),
        };
        let group = |applied: &Applied| group_version(&applied.api_version).0.to_owned();
        self.object.kind == other.object.kind
            && self.object.name == other.object.name
            && group(self) == group(other)
            && namespace(self) == namespace(other)
    }

    /// What kubectl finds it by.
    fn identity(&self) -> Value {
        let ObjectRef { kind, namespace, name } = &self.object;
        let mut metadata = json!({"name": name});
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.as_str().into();
        }
        json!({"apiVersion": self.api_version, "kind": kind, "metadata": metadata})
    }

    fn is_holder(&self) -> bool {
        HOLDERS.contains(&self.object.kind.as_str())
    }
}

/// One manifest with all of them.
fn identities<'a>(applied: impl IntoIterator<Item = &'a Applied>) -> String {
    let items: Vec<Value> = applied.into_iter().map(Applied::identity).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Those of `before` that `manifests` have no longer.
fn gone(before: &BTreeSet<Applied>, manifests: &Manifests) -> Vec<Applied> {
    let now: Vec<Applied> = manifests.all().map(Applied::of).collect();
    before.iter().filter(|applied| !now.iter().any(|other| other.is(applied))).cloned().collect()
}

/// Whether the object, as the cluster has it, was applied by the instance with this id.
fn is_ours(object: &Value, instance: &str) -> bool {
    if object["metadata"]["annotations"][INSTANCE] == instance {
        return true;
    }
    let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    managers.into_iter().any(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply")
}

/// Whether `object` of the cluster is what `applied` names.
fn is_it(object: &Value, applied: &Applied) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reference = ObjectRef {
        kind: text(&object["kind"]),
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
    };
    let found = Applied { api_version: text(&object["apiVersion"]), object: reference };
    found.is(applied)
}

/// The fields of a StatefulSet's manifest that the one of the cluster has otherwise, of those that stay as they were
/// made.
fn changed_fields(wanted: &Object, there: &Value) -> Vec<&'static str> {
    let changed = |field: &&&str| {
        let Some(wanted) = get(&wanted.value, &["spec", field]) else { return false };
        serde_json::to_value(wanted).is_ok_and(|wanted| !holds(&there["spec"][**field], &wanted))
    };
    OF_STATEFUL_SETS.iter().filter(changed).copied().collect()
}

/// Whether everything in `wanted` is in `there`, which may have more: what the API server fills in.
pub(crate) fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| there.get(key).is_some_and(|there| holds(there, value)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        // The API server writes 1 for 1.0.
        (Value::Number(there), Value::Number(wanted)) => there == wanted || there.as_f64() == wanted.as_f64(),
        _ => there == wanted,
    }
}

impl Running<'_> {
    fn applied_file(&self) -> Utf8PathBuf {
        self.session.instance.files.dir.join("applied.json")
    }

    fn write_applied(&self, applied: &BTreeSet<Applied>) -> Result<()> {
        let text = serde_json::to_string_pretty(applied).context("writing what was applied")?;
        disk::write(&self.applied_file(), text + "\n")
    }

    /// Deletes what an earlier run applied to the cluster and the manifests have no longer, and notes what they have now.
    ///
    /// # Errors
    /// When the cluster does not answer, or something is still there when the step's time is over.
    pub(crate) fn prune(&self) -> Result<()> {
        let file = self.applied_file();
        let before: BTreeSet<Applied> = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("reading {file}, which says what was applied to this cluster: a new cluster does without it")
            })?,
            Err(_) => BTreeSet::new(),
        };
        let mut now: BTreeSet<Applied> = self.session.manifests.all().map(Applied::of).collect();
        let gone = gone(&before, &self.session.manifests);
        // Noted before anything of it is there: a run may be killed in between.
        self.write_applied(&now.iter().chain(&gone).cloned().collect())?;
        if gone.is_empty() {
            return Ok(());
        }
        now.extend(self.delete_gone(gone).context("removing what the manifests have no longer")?);
        self.write_applied(&now)
    }

    /// Returns those that stay.
    fn delete_gone(&self, gone: Vec<Applied>) -> Result<Vec<Applied>> {
        let there = self.those_there(gone)?;
        let (holders, plain): (Vec<Applied>, Vec<Applied>) = there.into_iter().partition(Applied::is_holder);
        self.delete(&plain)?;
        let mut stay = Vec::new();
        for holder in holders {
            match self.held_by(&holder)? {
                None => self.delete(std::slice::from_ref(&holder))?,
                Some(what) => {
                    let object = &holder.object;
                    let text = format!("{object} is in no manifest any more and stays: {what} would go with it");
                    self.context.fact(format!("left {object}"), text.as_str());
                    self.progress(text);
                    stay.push(holder);
                }
            }
        }
        Ok(stay)
    }

    fn delete(&self, applied: &[Applied]) -> Result<()> {
        if applied.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = applied.iter().map(|applied| applied.object.to_string()).collect();
        self.progress(format!("removing {}", names.join(", ")));
        let deleted = self.session.kubectl().delete(&identities(applied), self.left(), self.log, self.cancel);
        deleted.with_context(|| format!("removing {}", names.join(", ")))
    }

    /// Those of `applied` that the cluster has, and that are ours.
    fn those_there(&self, mut applied: Vec<Applied>) -> Result<Vec<Applied>> {
        let kubectl = self.session.kubectl();
        let found = loop {
            if applied.is_empty() {
                return Ok(applied);
            }
            let error = match kubectl.find(&identities(&applied), self.left(), self.cancel) {
                Ok(found) => break found,
                Err(error) => error,
            };
            // With its definition the last object of a kind has gone, too.
            let unknown = unknown_kinds(&format!("{error:#}"));
            let before = applied.len();
            applied.retain(|one| !unknown.contains(&(one.object.kind.clone(), one.api_version.clone())));
            if applied.len() == before {
                return Err(error);
            }
        };
        let instance = self.session.instance.id();
        applied.retain(|one| found.iter().any(|object| is_it(object, one) && is_ours(object, instance)));
        Ok(applied)
    }

    /// What would go with an object that holds others; `None` where nothing would.
    fn held_by(&self, holder: &Applied) -> Result<Option<String>> {
        let kubectl = self.session.kubectl();
        let name = holder.object.name.as_str();
        let listed = match holder.object.kind.as_str() {
            "CustomResourceDefinition" => kubectl.read(&["get", name, "--all-namespaces", "--output", "name"])?,
            "Namespace" => {
                let kinds = kubectl.read(&["api-resources", "--namespaced", "--verbs=list", "--output=name"])?;
                let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
                let words = ["get", &kinds.join(","), "--namespace", name, "--ignore-not-found", "--output", "name"];
                kubectl.read(&words)?
            }
            _ => return Ok(Some("its data".to_owned())),
        };
        let by_itself = |object: &str| OF_EVERY_NAMESPACE.iter().any(|begin| object.starts_with(begin));
        let others: Vec<&str> = listed.lines().filter(|object| !by_itself(object)).collect();
        Ok(match others.as_slice() {
            [] => None,
            [one] => Some((*one).to_owned()),
            [first, ..] => Some(format!("{first} and {} more", others.len() - 1)),
        })
    }

    /// Deletes objects that cannot be changed to what their manifests say, so that they can be applied anew.
    ///
    /// # Errors
    /// Where that would take data away, or something that is not ours; with the field, and what to do.
    pub(super) fn replace(&self, refused: &[(&Object, Unchangeable)]) -> Result<()> {
        let manifests = &self.session.manifests;
        let applied: Vec<Applied> = refused.iter().map(|(object, _)| Applied::of(object)).collect();
        let found = self.session.kubectl().find(&identities(&applied), self.left(), self.cancel)?;
        let mut doomed: BTreeSet<Applied> = BTreeSet::new();
        for ((object, refusal), applied) in refused.iter().zip(applied) {
            let Some(there) = found.iter().find(|object| is_it(object, &applied)) else { continue };
            let stays = |key: &[&str], what: &str, todo: &str| {
                let message = format!("{} cannot be changed to this: {what} ({})", object.reference, refusal.why);
                manifests.problem(object, key, message).hint(Some(todo.to_owned())).to_string()
            };
            let field: Vec<&str> = refusal.field.split('.').collect();
            let new_cluster = format!(
                "on a new cluster it can: `{} down {}`, or a run without --reuse",
                called(),
                self.session.suite.name
            );
            if !is_ours(there, self.session.instance.id()) {
                bail!(stays(&field, "it was not made by this suite", "delete it, or give this one another name"));
            }
            if applied.is_holder() {
                bail!(stays(&field, &format!("{} stays as it was made", refusal.field), &new_cluster));
            }
            if object.reference.kind == "StatefulSet" && changed_fields(object, there).contains(&OF_STATEFUL_SETS[0]) {
                let what = "spec.volumeClaimTemplates stays as it was made, and so do the claims with their data";
                bail!(stays(&["spec", OF_STATEFUL_SETS[0]], what, &new_cluster));
            }
            self.progress(format!("making {} anew: its {} cannot be changed", object.reference, refusal.field));
            // The kubelet reads what is immutable once, and no more as long as a pod has it: all who have it go as well.
            if there["immutable"] == true {
                let has = |other: &&Object| configuration(other).contains(&object.reference);
                doomed.extend(manifests.all().filter(has).map(Applied::of));
            }
            doomed.insert(applied);
        }
        self.delete(&self.those_there(doomed.into_iter().collect())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::yaml::Source;

    fn manifests(text: &str) -> Manifests {
        Manifests::new([("m.yaml".into(), Source::new("m.yaml", text))].into()).unwrap()
    }

    fn applied(text: &str) -> BTreeSet<Applied> {
        manifests(text).all().map(Applied::of).collect()
    }

    #[test]
    fn what_was_renamed_removed_or_became_another_kind_is_gone_and_nothing_else() {
        let before = applied(
            "\
{apiVersion: v1, kind: ConfigMap, metadata: {name: old, namespace: n}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: moved, namespace: n}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: n}}
---
{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: web, namespace: n}}
---
{apiVersion: shop.io/v1, kind: Order, metadata: {name: o}}
",
        );
        let now = manifests(
            "\
{apiVersion: v1, kind: ConfigMap, metadata: {name: new, namespace: n}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: moved, namespace: n}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web, namespace: n}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web, namespace: n}}
---
{apiVersion: shop.io/v1, kind: Order, metadata: {name: o, namespace: default}}
",
        );
        let names: Vec<String> = gone(&before, &now).iter().map(|applied| applied.object.to_string()).collect();
        assert_eq!(names, ["Deployment n/web", "ConfigMap n/old"]);
    }

    #[test]
    fn the_note_of_what_was_applied_is_read_back_and_finds_the_objects() {
        let all = applied(
            "{apiVersion: v1, kind: Namespace, metadata: {name: n}}\n---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n",
        );
        let back: BTreeSet<Applied> = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
        assert_eq!(back, all);
        let list: Value = serde_json::from_str(&identities(&all)).unwrap();
        assert_eq!(list["items"][1], json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}));
        assert_eq!(list["items"][0]["metadata"]["namespace"], "default");
    }

    #[test]
    fn only_what_this_program_applied_is_ours() {
        let object = |manager: &str, operation: &str| {
            let fields = json!([{"manager": "kubelet", "operation": "Update"},
                {"manager": manager, "operation": operation}]);
            is_ours(&json!({"metadata": {"managedFields": fields}}), "id")
        };
        assert!(object(MANAGER, "Apply"));
        assert!(!object("kubectl", "Apply") && !object(MANAGER, "Update") && !is_ours(&json!({}), "id"));
        let marked = |id: &str| is_ours(&json!({"metadata": {"annotations": {INSTANCE: id}}}), "id");
        assert!(marked("id") && !marked("another"), "another checkout's");
    }

    #[test]
    fn a_changed_field_of_a_stateful_set_is_found_among_what_the_api_server_fills_in() {
        let set = |storage: &str| {
            let text = format!(
                "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: s}}, spec: {{serviceName: s, \
                 volumeClaimTemplates: [{{metadata: {{name: d}}, spec: {{resources: {{requests: {{storage: {storage}}}}}}}}}]}}}}"
            );
            manifests(&text).all().next().unwrap().clone()
        };
        let there = json!({"spec": {"serviceName": "s", "podManagementPolicy": "OrderedReady", "volumeClaimTemplates": [
            {"kind": "PersistentVolumeClaim", "metadata": {"name": "d"}, "status": {"phase": "Pending"},
             "spec": {"volumeMode": "Filesystem", "resources": {"requests": {"storage": "1Gi"}}}}]}});
        assert_eq!(changed_fields(&set("1Gi"), &there), [""; 0]);
        assert_eq!(changed_fields(&set("2Gi"), &there), ["volumeClaimTemplates"]);
    }
}
