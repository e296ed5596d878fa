//! Objects that own one another, and what the controllers of a cluster make of a workload, for places without any.

use anyhow::{Context as _, Result};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Makes an object, which `owner` controls where there is one.
///
/// # Errors
/// Where the API server refuses it.
pub(crate) async fn make(
    client: &Client,
    namespace: &str,
    mut object: Value,
    owner: Option<&DynamicObject>,
) -> Result<DynamicObject> {
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([reference_to(owner)]);
    }
    let object: DynamicObject = serde_json::from_value(object).context("putting an object together")?;
    let types = object.types.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let made = api.create(&PostParams::default(), &object).await;
    made.with_context(|| format!("making the {} {name} in {namespace}", types.kind))
}

/// Makes `count` pods of a workload as its controllers would: of a Deployment those of a ReplicaSet that it controls.
///
/// # Errors
/// Where the API server refuses one of them.
pub(crate) async fn make_pods(client: &Client, workload: &DynamicObject, count: usize) -> Result<()> {
    let namespace = workload.metadata.namespace.as_deref().unwrap_or_default();
    let name = workload.metadata.name.as_deref().unwrap_or_default();
    let spec = &workload.data["spec"];
    let template = &spec["template"];
    let is_deployment = workload.types.as_ref().is_some_and(|types| types.kind == "Deployment");
    let set = if is_deployment {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("{name}-set"), "labels": template["metadata"]["labels"]},
            "spec": {"replicas": count, "selector": spec["selector"], "template": template},
        });
        Some(make(client, namespace, set, Some(workload)).await?)
    } else {
        None
    };
    let owner = set.as_ref().unwrap_or(workload);
    for number in 0..count {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": {"name": format!("{name}-{number}"), "labels": template["metadata"]["labels"]},
        });
        make(client, namespace, pod, Some(owner)).await?;
    }
    Ok(())
}

/// What those that an object controls name it by.
fn reference_to(owner: &DynamicObject) -> Value {
    let types = owner.types.clone().unwrap_or_default();
    json!({
        "apiVersion": types.api_version, "kind": types.kind, "name": owner.metadata.name, "uid": owner.metadata.uid,
        "controller": true, "blockOwnerDeletion": false,
    })
}
