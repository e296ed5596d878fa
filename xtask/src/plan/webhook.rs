//! Admission webhooks: until the pods behind one answer, the API server refuses what it guards.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::need::need;
use super::object::{Object, ObjectRef, get, list};
use super::{Need, StepId};
use crate::kubernetes::kind_of_group;
use crate::suite::Suite;

/// What a webhook guards, and who answers for it.
struct Webhook<'o> {
    name: &'o str,
    /// The group that has the configuration.
    group: usize,
    value: &'o Value,
    /// The steps after which it answers, each with the group whose workload it is.
    ready: Vec<(usize, &'o str)>,
}

/// The needs of groups that have what a webhook of another group guards; `workloads` are those of each group, with
/// the steps that wait for them.
pub(super) fn needs(
    suite: &Suite,
    groups: &[Vec<Object>],
    workloads: &[Vec<(ObjectRef, String)>],
) -> Vec<(StepId, Need)> {
    let webhooks = webhooks(groups, workloads);
    if webhooks.is_empty() {
        return Vec::new();
    }
    let plurals = plurals(groups.iter().flatten());
    let mut needs = Vec::new();
    for (at, objects) in groups.iter().enumerate() {
        for webhook in webhooks.iter().filter(|webhook| webhook.group != at) {
            if !objects.iter().any(|object| guards(webhook.value, object, &plurals)) {
                continue;
            }
            for (_, step) in webhook.ready.iter().filter(|(group, _)| *group != at) {
                let id = StepId::new(format!("apply:{}", suite.manifests[at].name));
                needs.push((id, need(*step, format!("webhook {}", webhook.name))));
            }
        }
    }
    needs
}

fn webhooks<'o>(groups: &'o [Vec<Object>], workloads: &'o [Vec<(ObjectRef, String)>]) -> Vec<Webhook<'o>> {
    let mut webhooks = Vec::new();
    for (group, objects) in groups.iter().enumerate() {
        let kinds = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];
        for object in objects.iter().filter(|object| kinds.contains(&object.reference.kind.as_str())) {
            for value in list(&object.value, &["webhooks"]) {
                // Without the word it is `Fail`.
                let fails = value.get("failurePolicy").and_then(Value::as_str) != Some("Ignore");
                let service = get(value, &["clientConfig", "service"]).filter(|_| fails);
                let Some(service) = service else { continue };
                let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default();
                let ready = behind(groups, workloads, text("namespace"), text("name"));
                let name = value.get("name").and_then(Value::as_str).unwrap_or(&object.reference.name);
                webhooks.push(Webhook { name, group, value, ready });
            }
        }
    }
    webhooks
}

/// The workloads that a Service sends to.
fn behind<'o>(
    groups: &'o [Vec<Object>],
    workloads: &'o [Vec<(ObjectRef, String)>],
    namespace: &str,
    name: &str,
) -> Vec<(usize, &'o str)> {
    let in_namespace = |object: &&Object| object.reference.namespace == namespace;
    let is_it = |object: &&Object| object.reference.kind == "Service" && object.reference.name == name;
    let service = groups.iter().flatten().filter(in_namespace).find(is_it);
    let selector = service.and_then(|service| get(&service.value, &["spec", "selector"])?.as_mapping());
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return Vec::new() };
    let mut steps = Vec::new();
    for (group, objects) in groups.iter().enumerate() {
        for object in objects.iter().filter(in_namespace) {
            let labels = get(&object.value, &["spec", "template", "metadata", "labels"]);
            let labels =
                if object.reference.kind == "Pod" { get(&object.value, &["metadata", "labels"]) } else { labels };
            let fits = labels.is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
            let step = workloads[group].iter().find(|(workload, _)| *workload == object.reference);
            steps.extend(step.filter(|_| fits).map(|(_, step)| (group, step.as_str())));
        }
    }
    steps
}

/// The plurals of the kinds that definitions among the objects bring.
pub(crate) fn plurals<'o>(objects: impl Iterator<Item = &'o Object>) -> BTreeMap<(&'o str, &'o str), &'o str> {
    let definitions = objects.filter(|object| object.reference.kind == "CustomResourceDefinition");
    let names = definitions.filter_map(|object| {
        let text = |path: &[&str]| object.text(path);
        Some(((text(&["spec", "group"])?, text(&["spec", "names", "kind"])?), text(&["spec", "names", "plural"])?))
    });
    names.collect()
}

/// Whether a webhook is asked before an object is made or changed.
pub(crate) fn guards(webhook: &Value, object: &Object, plurals: &BTreeMap<(&str, &str), &str>) -> bool {
    let kind = object.reference.kind.as_str();
    let of_kubernetes = kind_of_group(&object.api_version, kind).map(|kind| kind.plural);
    let plural = of_kubernetes.or_else(|| plurals.get(&(object.api_group(), kind)).copied()).unwrap_or_default();
    let has = |rule: &Value, key: &str, wanted: &str| {
        list(rule, &[key]).iter().filter_map(Value::as_str).any(|value| value == "*" || value == wanted)
    };
    let rule_fits = |rule: &Value| {
        has(rule, "apiGroups", object.api_group())
            && (has(rule, "resources", plural) || has(rule, "resources", "*/*"))
            && (has(rule, "operations", "CREATE") || has(rule, "operations", "UPDATE"))
    };
    list(webhook, &["rules"]).iter().any(rule_fits) && selects(webhook, &object.reference.namespace)
}

/// Whether the webhook's selector lets this namespace in, as far as it goes by the namespace's name.
fn selects(webhook: &Value, namespace: &str) -> bool {
    const NAME: &str = "kubernetes.io/metadata.name";
    let Some(selector) = webhook.get("namespaceSelector").filter(|_| !namespace.is_empty()) else { return true };
    let label = selector.get("matchLabels").and_then(|labels| labels.get(NAME)).and_then(Value::as_str);
    let expressions = list(selector, &["matchExpressions"]).iter();
    label.is_none_or(|name| name == namespace)
        && expressions.filter(|one| one.get("key").and_then(Value::as_str) == Some(NAME)).all(|one| {
            let listed = list(one, &["values"]).iter().any(|value| value.as_str() == Some(namespace));
            match one.get("operator").and_then(Value::as_str) {
                Some("In") => listed,
                Some("NotIn") => !listed,
                _ => true,
            }
        })
}
