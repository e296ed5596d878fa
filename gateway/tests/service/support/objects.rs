//! Objects that own each other: what controllers would write, written by hand.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An owner reference of a controller.
pub(crate) fn controller(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

fn pod_template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Always"}})
}

fn job_template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}})
}

/// Makes an object of a built-in kind and returns its owner reference.
pub(crate) async fn create(client: &Client, namespace: &str, kind: &str, name: &str, owner: Option<&Value>) -> Value {
    let metadata = json!({"name": name, "namespace": namespace, "ownerReferences": owner.map(|owner| json!([owner]))});
    let selector = json!({"matchLabels": {"app": "x"}});
    let workload =
        json!({"metadata": metadata, "spec": {"selector": selector, "template": pod_template(), "serviceName": "x"}});
    match kind {
        "Pod" => post::<Pod>(client, namespace, json!({"metadata": metadata, "spec": pod_template()["spec"]})).await,
        "Deployment" => post::<Deployment>(client, namespace, workload).await,
        "ReplicaSet" => post::<ReplicaSet>(client, namespace, workload).await,
        "StatefulSet" => post::<StatefulSet>(client, namespace, workload).await,
        "DaemonSet" => post::<DaemonSet>(client, namespace, workload).await,
        "Job" => {
            post::<Job>(client, namespace, json!({"metadata": metadata, "spec": {"template": job_template()}})).await
        }
        "CronJob" => {
            let spec = json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": job_template()}}});
            post::<CronJob>(client, namespace, json!({"metadata": metadata, "spec": spec})).await
        }
        other => panic!("no recipe for {other}"),
    }
}

async fn post<K>(client: &Client, namespace: &str, object: Value) -> Value
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    let created =
        Api::<K>::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.unwrap();
    let meta = created.meta();
    controller(&K::api_version(&()), &K::kind(&()), meta.name.as_deref().unwrap(), meta.uid.as_deref().unwrap())
}

/// Makes a Deployment with a ReplicaSet and these Pods.
pub(crate) async fn deployment(client: &Client, namespace: &str, name: &str, pods: &[&str]) {
    let deployment = create(client, namespace, "Deployment", name, None).await;
    let replica_set = create(client, namespace, "ReplicaSet", &format!("{name}-5d9f"), Some(&deployment)).await;
    for pod in pods {
        create(client, namespace, "Pod", pod, Some(&replica_set)).await;
    }
}

/// Makes an object of a custom kind, which must have been defined, and returns its owner reference.
pub(crate) async fn create_custom(
    client: &Client,
    namespace: &str,
    kind: &GroupVersionKind,
    name: &str,
    owner: Option<&Value>,
) -> Value {
    let (resource, _) = kube::discovery::pinned_kind(client, kind).await.unwrap();
    let mut object = DynamicObject::new(name, &resource).within(namespace);
    object.metadata.owner_references = owner.map(|owner| vec![serde_json::from_value(owner.clone()).unwrap()]);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    controller(&resource.api_version, &kind.kind, name, created.metadata.uid.as_deref().unwrap())
}
