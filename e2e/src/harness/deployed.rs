//! The deployed system as it is called and reached in every place alike. Names of objects and NodePorts stand here and
//! nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use reqwest::StatusCode;

use super::http;
use super::run_file::RunFile;
use super::surroundings::{Addresses, Part, Surroundings};
use super::wait::eventually;

const GATEWAY_NODE_PORT: u16 = 30080;
const GATEWAY_HEALTH_NODE_PORT: u16 = 30180;
const GATEWAY_METRICS_NODE_PORT: u16 = 30090;
const DATASTORAGE_NODE_PORT: u16 = 30081;
const SENDER_ACCOUNT: &str = "signal-sender";
const AUDIT_ACCOUNT: &str = "audit-reader";
/// As datastorage is configured.
pub(crate) const AUDIT_AUDIENCE: &str = "datastorage";
/// What an account must be bound to that is to send signals.
pub(crate) const SENDER_ROLE: &str = "signal-sender";
/// As in the gateway's ConfigMap.
pub(crate) const ALLOWED_ORIGIN: &str = "https://console.kubernaut.example";
/// Overrides the gateway's log level.
pub(crate) const LOG_LEVEL_VARIABLE: &str = "GATEWAY_LOG_LEVEL";
/// The gateway's policy.
pub(crate) const POLICY_FILE: &str = "remediation_path.rego";
/// Longer than any run of the specs.
const TOKEN_SECONDS: i64 = 2 * 60 * 60;
/// For a service to answer whose instances are ready.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// How long one try of that may take: a connection that got lost on its way must not take all of the time.
const ANSWER_TRY: Duration = Duration::from_secs(8);
/// What a part complains of it may have told once, when that began.
const TOLD_WITHIN: Duration = Duration::from_secs(3600);

/// Addresses, clients and tokens.
pub(crate) struct Deployed {
    pub(crate) addresses: Addresses,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// What every namespace that specs make is labelled with.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) sender_token: String,
    pub(crate) audit_token: String,
    http: reqwest::Client,
}

impl Deployed {
    /// Connects to what a run has deployed.
    ///
    /// # Errors
    /// What of it cannot be reached.
    pub(crate) async fn connect(run: &RunFile) -> Result<Deployed> {
        let kubeconfig = Kubeconfig::read_from(&run.kubeconfig)
            .with_context(|| format!("reading the kubeconfig {}", run.kubeconfig.display()))?;
        let config = config(kubeconfig, &run.context)
            .await
            .with_context(|| format!("using the context {} of {}", run.context, run.kubeconfig.display()))?;
        let client = Client::try_from(config).context("making the Kubernetes client")?;
        Ok(Deployed {
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
            labels: run.labels.clone(),
        })
    }

    /// Waits until a part answers well at its address, `times` in a row.
    ///
    /// # Errors
    /// Where it does not within [`ANSWER_DEADLINE`].
    pub(crate) async fn answers(&self, part: Part, times: usize) -> Result<()> {
        self.answers_with(part, times, |status| status.is_success()).await
    }

    /// As [`Deployed::answers`] after a restart: what the part needs may have been taken away, of which it may say so.
    ///
    /// # Errors
    /// As [`Deployed::answers`].
    pub(crate) async fn answers_after_a_restart(&self, part: Part, times: usize) -> Result<()> {
        match part {
            Part::DataStorage => {
                let is_good = |status: StatusCode| status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE;
                self.answers_with(part, 1, is_good).await
            }
            _ => self.answers(part, times).await,
        }
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
}

/// Looks whether the services are there at all, so that what is missing is told once and not by every spec.
///
/// # Errors
/// Which one does not answer, with what it complained of last.
pub(crate) async fn must_answer(surroundings: &dyn Surroundings) -> Result<()> {
    for part in [Part::Gateway, Part::DataStorage] {
        let Err(error) = surroundings.deployed().answers(part, 1).await else { continue };
        // An answer to outsiders does not tell why.
        let logs = surroundings.logs(part, Timestamp::now() - TOLD_WITHIN).await.unwrap_or_default();
        let trouble = logs.iter().flat_map(|log| log.text.lines()).rfind(|line| is_trouble(line));
        return Err(match trouble {
            Some(line) => anyhow!("{error:#}; {} logged {line}", part.workload()),
            None => error,
        });
    }
    Ok(())
}

impl Part {
    /// The name of its workload, which is also the value of its pods' label.
    pub(crate) fn workload(self) -> &'static str {
        match self {
            Part::Gateway => "gateway",
            Part::DataStorage => "datastorage",
            Part::PostgreSql => "postgresql",
            Part::Redis => "redis",
        }
    }
}

/// How the API server is reached: directly where it is on this machine, for no proxy that is set for others leads there.
async fn config(kubeconfig: Kubeconfig, context: &str) -> Result<Config> {
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    if matches!(config.cluster_url.host(), Some("127.0.0.1" | "::1" | "[::1]" | "localhost")) {
        config.proxy_url = None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_proxy_is_between_the_specs_and_their_api_server() {
        // As HTTPS_PROXY would have it.
        let text = "{apiVersion: v1, kind: Config, users: [{name: u, user: {token: t}}], \
                    contexts: [{name: c, context: {cluster: k, user: u}}], \
                    clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1', proxy-url: 'http://127.0.0.1:9'}}]}";
        let here = config(Kubeconfig::from_yaml(text).unwrap(), "c").await.unwrap();
        assert_eq!(here.proxy_url, None);
        // Where it is elsewhere the kubeconfig's proxy is the way.
        let text = text.replace("https://127.0.0.1:1", "https://api.example.com");
        let there = config(Kubeconfig::from_yaml(&text).unwrap(), "c").await.unwrap();
        assert_eq!(there.proxy_url.map(|url| url.to_string()).as_deref(), Some("http://127.0.0.1:9/"));
    }
}
