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
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use super::forward::Forward;
use super::http;
use super::run_file::RunFile;
use super::surroundings::{Addresses, Log, Part, Replica, Surroundings};
use super::wait::eventually;

const GATEWAY_NODE_PORT: u16 = 30080;
const GATEWAY_HEALTH_NODE_PORT: u16 = 30180;
const GATEWAY_METRICS_NODE_PORT: u16 = 30090;
const DATASTORAGE_NODE_PORT: u16 = 30081;
/// The gateway's API port in its pod.
const GATEWAY_API_PORT: u16 = 8080;
/// Its health port.
const GATEWAY_HEALTH_PORT: u16 = 8081;
const SENDER_ACCOUNT: &str = "signal-sender";
/// As in the gateway's ConfigMap.
const ALLOWED_ORIGIN: &str = "https://console.kubernaut.example";
/// Longer than any run of the specs.
const TOKEN_SECONDS: i64 = 2 * 60 * 60;
/// For pods to come and go: above the longest of their grace periods, the gateway's 45 s.
const SCALE_DEADLINE: Duration = Duration::from_secs(90);
/// For a service to answer whose pods are ready.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
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
    /// What runs in another number than the manifests say.
    disturbed: Mutex<BTreeSet<Part>>,
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
            sender_token: token(&client, &run.namespace, SENDER_ACCOUNT)
                .await
                .with_context(|| format!("the specs send their signals as an account of cluster {}", run.cluster))?,
            http: http::client()?,
            client,
            namespace: run.namespace.clone(),
            disturbed: Mutex::default(),
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
        let since = Timestamp::now() - ANSWER_DEADLINE;
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
            Part::Gateway | Part::DataStorage => {
                let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
                deployments.patch_scale(name, &parameters, &patch).await
            }
            Part::PostgreSql => {
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

    /// Waits until a part consists of exactly `count` ready pods, none of which is one of `old`; returns their names.
    async fn ready_pods(&self, part: Part, count: usize, old: &BTreeSet<String>) -> Result<Vec<String>> {
        let what = format!("{} of {} to be {count} ready pod(s) and no other", Cluster::workload(part), self.namespace);
        eventually(SCALE_DEADLINE, &what, async || {
            let pods = self.pods_of(part).await?;
            let names: Vec<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            ensure!(
                pods.len() == count && ready == count && !names.iter().any(|name| old.contains(name)),
                "pods {names:?}, {ready} of them ready"
            );
            Ok(names)
        })
        .await
    }

    /// Waits until a part answers at its address, `times` in a row.
    async fn answers(&self, part: Part, times: usize) -> Result<()> {
        let url = match part {
            Part::Gateway => format!("{}/readyz", self.addresses.gateway_health),
            Part::DataStorage => format!("{}/api/v1/audit/events?limit=1", self.addresses.datastorage),
            // It has no address outside; datastorage tells.
            Part::PostgreSql => return Ok(()),
        };
        eventually(ANSWER_DEADLINE, &format!("GET {url} to succeed, {times} time(s) in a row"), async || {
            for _ in 0..times {
                let response = self.http.get(&url).send().await.with_context(|| format!("GET {url}"))?;
                ensure!(response.status().is_success(), "it answered {}", response.status());
            }
            Ok(())
        })
        .await
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

    fn gateways_health(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        async {
            let pods = self.pods_of(Part::Gateway).await?.into_iter().filter_map(|pod| pod.metadata.name);
            let forwards = try_join_all(pods.map(async |pod| {
                let forward = Forward::open(self.pods(), &pod, GATEWAY_HEALTH_PORT).await;
                forward.with_context(|| format!("reaching the health of pod {pod} in {}", self.namespace))
            }));
            Ok(forwards.await?.into_iter().map(|forward| Box::new(forward) as Box<dyn Replica>).collect())
        }
        .boxed_local()
    }

    fn restart_gateway(&self) -> LocalBoxFuture<'_, Result<()>> {
        async {
            let old: BTreeSet<String> =
                self.pods_of(Part::Gateway).await?.into_iter().filter_map(|pod| pod.metadata.name).collect();
            ensure!(!old.is_empty(), "there is no pod of the gateway in {} to restart", self.namespace);
            for pod in &old {
                let deleted = self.pods().delete(pod, &DeleteParams::default()).await;
                deleted.with_context(|| format!("deleting pod {pod} in {}", self.namespace))?;
            }
            self.ready_pods(Part::Gateway, old.len(), &old).await?;
            self.answers(Part::Gateway, ANSWERS_IN_A_ROW).await
        }
        .boxed_local()
    }

    fn run_gateways(&self, count: usize) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        async move {
            let pods = self.scale(Part::Gateway, count).await?;
            let forwards = pods.iter().map(|pod| Forward::open(self.pods(), pod, GATEWAY_API_PORT));
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

/// A bearer token of a service account.
///
/// # Errors
/// Where the API server makes none, as for an account that does not exist.
pub(crate) async fn token(client: &Client, namespace: &str, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
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
