//! A Kubernetes cluster as the surroundings of the specs. Names of objects and ports stand here and nowhere else.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, try_join_all};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, LogParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::forward::Forward;
use super::http;
use super::run_file::RunFile;
use super::surroundings::{Addresses, Log, Part, Replica, Surroundings};
use super::wait::eventually;

const GATEWAY_NODE_PORT: u16 = 30080;
const GATEWAY_HEALTH_NODE_PORT: u16 = 30180;
const GATEWAY_METRICS_NODE_PORT: u16 = 30090;
const DATASTORAGE_NODE_PORT: u16 = 30081;
/// The API's port in a pod of either service.
const API_PORT: u16 = 8080;
/// The health port.
const HEALTH_PORT: u16 = 8081;
const SENDER_ACCOUNT: &str = "signal-sender";
const AUDIT_ACCOUNT: &str = "audit-reader";
/// As datastorage is configured.
pub(crate) const AUDIT_AUDIENCE: &str = "datastorage";
/// What an account must be bound to that is to send signals.
const SENDER_ROLE: &str = "signal-sender";
/// Where the image has the gateway's policy.
const POLICY_FOLDER: &str = "/config.app/gateway/policies";
const POLICY_FILE: &str = "remediation_path.rego";
/// The ConfigMap that takes its place.
const POLICY_OVERRIDE: &str = "gateway-policy-of-a-spec";
/// As in the gateway's ConfigMap.
const ALLOWED_ORIGIN: &str = "https://console.kubernaut.example";
/// Longer than any run of the specs.
const TOKEN_SECONDS: i64 = 2 * 60 * 60;
/// For pods to come and go: above the longest of their grace periods, the gateway's 45 s.
const SCALE_DEADLINE: Duration = Duration::from_secs(90);
/// For a service to answer whose pods are ready.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// What a part complains of it may have told once, when that began.
const TOLD_WITHIN: Duration = Duration::from_secs(3600);
/// How long one try of that may take: a connection that got lost on its way must not take all of the time.
const ANSWER_TRY: Duration = Duration::from_secs(8);
/// While the node's routes still lead to a pod that is gone, some connections reach the other one. That many in a row
/// say that it is over.
const ANSWERS_IN_A_ROW: usize = 8;

/// A cluster with everything deployed in it.
pub(crate) struct Cluster {
    addresses: Addresses,
    client: Client,
    http: reqwest::Client,
    namespace: String,
    sender_token: String,
    audit_token: String,
    /// What runs in another number than the manifests say.
    disturbed: Mutex<BTreeSet<Part>>,
    /// Containers and volumes of the gateway's pods as the manifests have them, while they are others.
    unchanged: Mutex<Option<(Value, Value)>>,
}

impl Cluster {
    /// Connects, and looks whether the gateway is there at all, so that what is missing is told once and not by every
    /// spec.
    ///
    /// # Errors
    /// What of the cluster cannot be reached or is not ready.
    pub(crate) async fn connect(run: &RunFile) -> Result<Cluster> {
        let kubeconfig = Kubeconfig::read_from(&run.kubeconfig)
            .with_context(|| format!("reading the kubeconfig {}", run.kubeconfig.display()))?;
        let config = config(kubeconfig, &run.context)
            .await
            .with_context(|| format!("using the context {} of {}", run.context, run.kubeconfig.display()))?;
        let client = Client::try_from(config).context("making the Kubernetes client")?;
        let cluster = Cluster {
            addresses: Addresses {
                gateway: run.url(GATEWAY_NODE_PORT)?,
                gateway_health: run.url(GATEWAY_HEALTH_NODE_PORT)?,
                gateway_metrics: run.url(GATEWAY_METRICS_NODE_PORT)?,
                datastorage: run.url(DATASTORAGE_NODE_PORT)?,
            },
            sender_token: token(&client, &run.namespace, SENDER_ACCOUNT, None)
                .await
                .with_context(|| format!("the specs send their signals as an account of cluster {}", run.cluster))?,
            audit_token: token(&client, &run.namespace, AUDIT_ACCOUNT, Some(AUDIT_AUDIENCE)).await?,
            http: http::client()?,
            client,
            namespace: run.namespace.clone(),
            disturbed: Mutex::default(),
            unchanged: Mutex::default(),
        };
        for part in [Part::Gateway, Part::DataStorage] {
            if let Err(error) = cluster.answers(part, 1).await {
                return Err(cluster.with_last_trouble(part, error).await);
            }
        }
        Ok(cluster)
    }

    /// Adds what a part complained of last: an answer to outsiders does not tell why.
    async fn with_last_trouble(&self, part: Part, error: anyhow::Error) -> anyhow::Error {
        let since = Timestamp::now() - TOLD_WITHIN;
        let logs = self.logs(part, since).await.unwrap_or_default();
        let trouble = logs.iter().flat_map(|log| log.text.lines()).rfind(|line| is_trouble(line));
        match trouble {
            Some(line) => anyhow!("{error:#}; {} logged {line}", Cluster::workload(part)),
            None => error,
        }
    }

    /// The name of a part's workload, which is also the value of its pods' label.
    fn workload(part: Part) -> &'static str {
        match part {
            Part::Gateway => "gateway",
            Part::DataStorage => "datastorage",
            Part::PostgreSql => "postgresql",
            Part::Redis => "redis",
        }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn pods_of(&self, part: Part) -> Result<Vec<Pod>> {
        let name = Cluster::workload(part);
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        let pods = self.pods().list(&selector).await;
        Ok(pods.with_context(|| format!("listing the pods of {name} in {}", self.namespace))?.items)
    }

    /// Sets the number of a part's pods, and waits until exactly that many are there and ready.
    async fn scale(&self, part: Part, count: usize) -> Result<Vec<String>> {
        self.disturbed().insert(part);
        let name = Cluster::workload(part);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"spec": {"replicas": count}})));
        let scaled = match part {
            Part::Gateway | Part::DataStorage => self.deployments().patch_scale(name, &parameters, &patch).await,
            Part::PostgreSql | Part::Redis => {
                let stateful_sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &self.namespace);
                stateful_sets.patch_scale(name, &parameters, &patch).await
            }
        };
        scaled.with_context(|| format!("scaling {name} in {} to {count}", self.namespace))?;
        let pods = self.ready_pods(part, count, &BTreeSet::new()).await?;
        if count == 1 {
            self.disturbed().remove(&part);
        }
        Ok(pods)
    }

    /// Waits until a part consists of exactly `count` ready pods, none of which has one of the UIDs `old`; returns their
    /// names.
    async fn ready_pods(&self, part: Part, count: usize, old: &BTreeSet<String>) -> Result<Vec<String>> {
        let what = format!("{} of {} to be {count} ready pod(s) and no other", Cluster::workload(part), self.namespace);
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

    /// Waits until a part answers at its address, `times` in a row.
    async fn answers(&self, part: Part, times: usize) -> Result<()> {
        self.answers_with(part, times, |status| status.is_success()).await
    }

    async fn answers_with(&self, part: Part, times: usize, is_good: impl Fn(StatusCode) -> bool) -> Result<()> {
        let url = match part {
            Part::Gateway => format!("{}/readyz", self.addresses.gateway_health),
            Part::DataStorage => format!("{}/api/v1/audit/events?limit=1", self.addresses.datastorage),
            // They have no address outside; datastorage tells.
            Part::PostgreSql | Part::Redis => return Ok(()),
        };
        eventually(ANSWER_DEADLINE, &format!("GET {url} to succeed, {times} time(s) in a row"), async || {
            for _ in 0..times {
                let response = self
                    .http
                    .get(&url)
                    .timeout(ANSWER_TRY)
                    .bearer_auth(&self.audit_token)
                    .send()
                    .await
                    .with_context(|| format!("GET {url}"))?;
                ensure!(is_good(response.status()), "it answered {}", response.status());
            }
            Ok(())
        })
        .await
    }

    /// A port of each pod of a part.
    async fn instances(&self, part: Part, port: u16) -> Result<Vec<Box<dyn Replica>>> {
        let pods = self.pods_of(part).await?.into_iter().filter_map(|pod| pod.metadata.name);
        let forwards = try_join_all(pods.map(async |pod| {
            let forward = Forward::open(self.pods(), &pod, port).await;
            forward.with_context(|| format!("reaching port {port} of pod {pod} in {}", self.namespace))
        }));
        Ok(forwards.await?.into_iter().map(|forward| Box::new(forward) as Box<dyn Replica>).collect())
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Changes the containers and the volumes of the gateway's pods, and keeps them as they were.
    async fn change_gateway(&self, change: impl FnOnce(&mut Value, &mut Value)) -> Result<()> {
        self.disturbed().insert(Part::Gateway);
        let name = Cluster::workload(Part::Gateway);
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
        let patched = self.deployments().patch(Cluster::workload(Part::Gateway), &PatchParams::default(), &patch).await;
        patched.map(drop).with_context(|| format!("changing the gateway's pods in {}", self.namespace))
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
    fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    fn kubernetes(&self) -> &Client {
        &self.client
    }

    fn gateway_namespace(&self) -> &str {
        &self.namespace
    }

    fn allowed_origin(&self) -> &str {
        ALLOWED_ORIGIN
    }

    fn sender_token(&self) -> &str {
        &self.sender_token
    }

    fn sender_role(&self) -> &str {
        SENDER_ROLE
    }

    fn audit_token(&self) -> &str {
        &self.audit_token
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
            let name = Cluster::workload(part);
            ensure!(!pods.is_empty(), "there is no pod of {name} in {} to restart", self.namespace);
            for pod in pods.iter().filter_map(|pod| pod.metadata.name.as_deref()) {
                let deleted = self.pods().delete(pod, &DeleteParams::default()).await;
                deleted.with_context(|| format!("deleting pod {pod} in {}", self.namespace))?;
            }
            self.ready_pods(part, pods.len(), &uids(&pods)).await?;
            match part {
                // What it needs may have been taken away, of which it says so.
                Part::DataStorage => {
                    self.answers_with(part, 1, |status| {
                        status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE
                    })
                    .await
                }
                _ => self.answers(part, ANSWERS_IN_A_ROW).await,
            }
        }
        .boxed_local()
    }

    fn run_gateway_with_log_level<'a>(&'a self, level: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        async move {
            let old = uids(&self.pods_of(Part::Gateway).await?);
            let variable = json!({"name": "GATEWAY_LOG_LEVEL", "value": level});
            self.change_gateway(|containers, _| push(&mut containers[0]["env"], variable)).await?;
            self.ready_pods(Part::Gateway, old.len(), &old).await?;
            self.answers(Part::Gateway, ANSWERS_IN_A_ROW).await
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
            made.with_context(|| format!("making the ConfigMap {POLICY_OVERRIDE} in {}", self.namespace))?;
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
            self.answers(part, ANSWERS_IN_A_ROW).await
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
                let text = text.with_context(|| format!("reading the log of pod {pod} in {}", self.namespace))?;
                logs.push(Log { source: pod, text });
            }
            Ok(logs)
        }
        .boxed_local()
    }
}

/// How the cluster is reached: directly, for it is on this machine, and no proxy that is set for others leads there.
async fn config(kubeconfig: Kubeconfig, context: &str) -> Result<Config> {
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.proxy_url = None;
    Ok(config)
}

/// A bearer token of a service account, for `audience`, or else for the API server.
///
/// # Errors
/// Where the API server makes none, as for an account that does not exist.
pub(crate) async fn token(client: &Client, namespace: &str, account: &str, audience: Option<&str>) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.into_iter().map(str::to_owned).collect(),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let what = || format!("getting a token of service account {account} in {namespace}");
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await.with_context(what)?;
    made.status.map(|status| status.token).context("the API server returned no token").with_context(what)
}

/// Whether a line of a service's log is a warning or an error.
fn is_trouble(line: &str) -> bool {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    matches!(entry["level"].as_str(), Some("WARN" | "ERROR"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_proxy_is_between_the_specs_and_their_cluster() {
        // As HTTPS_PROXY would have it.
        let text = "{apiVersion: v1, kind: Config, users: [{name: u, user: {token: t}}], \
                    contexts: [{name: c, context: {cluster: k, user: u}}], \
                    clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1', proxy-url: 'http://127.0.0.1:9'}}]}";
        let config = config(Kubeconfig::from_yaml(text).unwrap(), "c").await.unwrap();
        assert_eq!(config.proxy_url, None);
    }
}
