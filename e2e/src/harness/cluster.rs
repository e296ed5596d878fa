//! A Kubernetes cluster as the surroundings of the specs.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, try_join_all};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, LogParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::deployed::{Deployed, LOG_LEVEL_VARIABLE, POLICY_FILE};
use super::forward::Forward;
use super::surroundings::{Log, Part, Replica, Surroundings};
use super::wait::eventually;

/// The API's port in a pod of either service.
const API_PORT: u16 = 8080;
/// The health port.
const HEALTH_PORT: u16 = 8081;
/// Where the image has the gateway's policy.
const POLICY_FOLDER: &str = "/config.app/gateway/policies";
/// The ConfigMap that takes its place.
const POLICY_OVERRIDE: &str = "gateway-policy-of-a-spec";
/// For pods to come and go: above the longest of their grace periods, the gateway's 45 s.
const SCALE_DEADLINE: Duration = Duration::from_secs(90);
/// While the node's routes still lead to a pod that is gone, some connections reach the other one. That many in a row
/// say that it is over.
const ANSWERS_IN_A_ROW: usize = 8;

/// A cluster with everything deployed in it.
pub(crate) struct Cluster {
    deployed: Deployed,
    /// What runs in another number than the manifests say.
    disturbed: Mutex<BTreeSet<Part>>,
    /// Containers and volumes of the gateway's pods as the manifests have them, while they are others.
    unchanged: Mutex<Option<(Value, Value)>>,
}

impl Cluster {
    /// A cluster in which this is deployed.
    pub(crate) fn new(deployed: Deployed) -> Cluster {
        Cluster { deployed, disturbed: Mutex::default(), unchanged: Mutex::default() }
    }

    fn namespace(&self) -> &str {
        &self.deployed.namespace
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.deployed.client.clone(), self.namespace())
    }

    async fn pods_of(&self, part: Part) -> Result<Vec<Pod>> {
        let name = part.workload();
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        let pods = self.pods().list(&selector).await;
        Ok(pods.with_context(|| format!("listing the pods of {name} in {}", self.namespace()))?.items)
    }

    /// Sets the number of a part's pods, and waits until exactly that many are there and ready.
    async fn scale(&self, part: Part, count: usize) -> Result<Vec<String>> {
        self.disturbed().insert(part);
        let name = part.workload();
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"spec": {"replicas": count}})));
        let scaled = match part {
            Part::Gateway | Part::DataStorage => self.deployments().patch_scale(name, &parameters, &patch).await,
            Part::PostgreSql | Part::Redis => {
                let stateful_sets: Api<StatefulSet> = Api::namespaced(self.deployed.client.clone(), self.namespace());
                stateful_sets.patch_scale(name, &parameters, &patch).await
            }
        };
        scaled.with_context(|| format!("scaling {name} in {} to {count}", self.namespace()))?;
        let pods = self.ready_pods(part, count, &BTreeSet::new()).await?;
        if count == 1 {
            self.disturbed().remove(&part);
        }
        Ok(pods)
    }

    /// Waits until a part consists of exactly `count` ready pods, none of which has one of the UIDs `old`; returns their
    /// names.
    async fn ready_pods(&self, part: Part, count: usize, old: &BTreeSet<String>) -> Result<Vec<String>> {
        let what = format!("{} of {} to be {count} ready pod(s) and no other", part.workload(), self.namespace());
        eventually(SCALE_DEADLINE, &what, async || {
            let pods = self.pods_of(part).await?;
            let names: Vec<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let is_old = pods.iter().filter_map(|pod| pod.metadata.uid.as_ref()).any(|uid| old.contains(uid));
            ensure!(pods.len() == count && ready == count && !is_old, "pods {names:?}, {ready} of them ready");
            Ok(names)
        })
        .await
    }

    /// A port of each pod of a part.
    async fn instances(&self, part: Part, port: u16) -> Result<Vec<Box<dyn Replica>>> {
        let pods = self.pods_of(part).await?.into_iter().filter_map(|pod| pod.metadata.name);
        let forwards = try_join_all(pods.map(async |pod| {
            let forward = Forward::open(self.pods(), &pod, port).await;
            forward.with_context(|| format!("reaching port {port} of pod {pod} in {}", self.namespace()))
        }));
        Ok(forwards.await?.into_iter().map(|forward| Box::new(forward) as Box<dyn Replica>).collect())
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.deployed.client.clone(), self.namespace())
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.deployed.client.clone(), self.namespace())
    }

    /// Changes the containers and the volumes of the gateway's pods, and keeps them as they were.
    async fn change_gateway(&self, change: impl FnOnce(&mut Value, &mut Value)) -> Result<()> {
        self.disturbed().insert(Part::Gateway);
        let name = Part::Gateway.workload();
        let deployment =
            self.deployments().get(name).await.with_context(|| format!("getting the deployment {name}"))?;
        let pod = serde_json::to_value(deployment.spec.and_then(|spec| spec.template.spec))?;
        let (mut containers, mut volumes) = (pod["containers"].clone(), pod["volumes"].clone());
        self.unchanged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert((containers.clone(), volumes.clone()));
        change(&mut containers, &mut volumes);
        self.set_up_gateway(&containers, &volumes).await
    }

    async fn set_up_gateway(&self, containers: &Value, volumes: &Value) -> Result<()> {
        // A merge patch replaces lists as a whole.
        let spec = json!({"containers": containers, "volumes": volumes});
        let patch = Patch::Merge(json!({"spec": {"template": {"spec": spec}}}));
        let patched = self.deployments().patch(Part::Gateway.workload(), &PatchParams::default(), &patch).await;
        patched.map(drop).with_context(|| format!("changing the gateway's pods in {}", self.namespace()))
    }

    async fn undo_changes(&self) -> Result<()> {
        let unchanged = self.unchanged.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((containers, volumes)) = unchanged {
            self.set_up_gateway(&containers, &volumes).await?;
        }
        let deleted = self.config_maps().delete(POLICY_OVERRIDE, &DeleteParams::default()).await;
        match deleted {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).with_context(|| format!("deleting the ConfigMap {POLICY_OVERRIDE}")),
        }
    }

    fn disturbed(&self) -> std::sync::MutexGuard<'_, BTreeSet<Part>> {
        self.disturbed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings for Cluster {
    fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    fn make_pods<'a>(&'a self, _: &'a DynamicObject, _: usize) -> LocalBoxFuture<'a, Result<()>> {
        // Its controllers do.
        async { Ok(()) }.boxed_local()
    }

    fn gateways_health(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        self.instances(Part::Gateway, HEALTH_PORT).boxed_local()
    }

    fn datastorages(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        self.instances(Part::DataStorage, API_PORT).boxed_local()
    }

    fn restart(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move {
            let pods = self.pods_of(part).await?;
            let name = part.workload();
            ensure!(!pods.is_empty(), "there is no pod of {name} in {} to restart", self.namespace());
            for pod in pods.iter().filter_map(|pod| pod.metadata.name.as_deref()) {
                let deleted = self.pods().delete(pod, &DeleteParams::default()).await;
                deleted.with_context(|| format!("deleting pod {pod} in {}", self.namespace()))?;
            }
            self.ready_pods(part, pods.len(), &uids(&pods)).await?;
            self.deployed.answers_after_a_restart(part, ANSWERS_IN_A_ROW).await
        }
        .boxed_local()
    }

    fn run_gateway_with_log_level<'a>(&'a self, level: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        async move {
            let old = uids(&self.pods_of(Part::Gateway).await?);
            let variable = json!({"name": LOG_LEVEL_VARIABLE, "value": level});
            self.change_gateway(|containers, _| push(&mut containers[0]["env"], variable)).await?;
            self.ready_pods(Part::Gateway, old.len(), &old).await?;
            self.deployed.answers(Part::Gateway, ANSWERS_IN_A_ROW).await
        }
        .boxed_local()
    }

    fn try_policy<'a>(&'a self, rego: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        async move {
            let metadata = ObjectMeta { name: Some(POLICY_OVERRIDE.to_owned()), ..ObjectMeta::default() };
            let data = Some([(POLICY_FILE.to_owned(), rego.to_owned())].into());
            let map = ConfigMap { metadata, data, ..ConfigMap::default() };
            self.disturbed().insert(Part::Gateway);
            let made = self.config_maps().create(&PostParams::default(), &map).await;
            made.with_context(|| format!("making the ConfigMap {POLICY_OVERRIDE} in {}", self.namespace()))?;
            self.change_gateway(|containers, volumes| {
                push(volumes, json!({"name": "policy", "configMap": {"name": POLICY_OVERRIDE}}));
                let mount = json!({"name": "policy", "mountPath": POLICY_FOLDER, "readOnly": true});
                push(&mut containers[0]["volumeMounts"], mount);
            })
            .await
        }
        .boxed_local()
    }

    fn run_gateways(&self, count: usize) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        async move {
            let pods = self.scale(Part::Gateway, count).await?;
            let forwards = pods.iter().map(|pod| Forward::open(self.pods(), pod, API_PORT));
            let forwards = try_join_all(forwards).await?;
            Ok(forwards.into_iter().map(|forward| Box::new(forward) as Box<dyn Replica>).collect())
        }
        .boxed_local()
    }

    fn take_away(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move { self.scale(part, 0).await.map(drop) }.boxed_local()
    }

    fn bring_back(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move {
            self.scale(part, 1).await?;
            self.deployed.answers(part, ANSWERS_IN_A_ROW).await
        }
        .boxed_local()
    }

    fn restore(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move {
            if part == Part::Gateway {
                self.undo_changes().await?;
            }
            let is_disturbed = self.disturbed().contains(&part);
            if is_disturbed { self.bring_back(part).await } else { Ok(()) }
        }
        .boxed_local()
    }

    fn logs(&self, part: Part, since: Timestamp) -> LocalBoxFuture<'_, Result<Vec<Log>>> {
        async move {
            // Whole seconds are compared.
            let parameters =
                LogParams { since_time: Some(since - SignedDuration::from_secs(1)), ..LogParams::default() };
            let mut logs = Vec::new();
            for pod in self.pods_of(part).await?.into_iter().filter_map(|pod| pod.metadata.name) {
                let text = self.pods().logs(&pod, &parameters).await;
                let text = text.with_context(|| format!("reading the log of pod {pod} in {}", self.namespace()))?;
                logs.push(Log { source: pod, text });
            }
            Ok(logs)
        }
        .boxed_local()
    }
}

fn uids(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect()
}

/// Adds to a list that may not be there yet.
fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
