//! What the tests stand on: one API server for all of them, and for each a namespace, a gateway with the rights that
//! it has in production, and somebody who may send signals.

pub(crate) mod alerts;
pub(crate) mod objects;
pub(crate) mod proxy;
pub(crate) mod sink;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use api::RemediationRequest;
use gateway::{Config, Gateway};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use tokio::runtime::Runtime;

/// How long a condition is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

struct Shared {
    runtime: Runtime,
    server: ApiServer,
    cluster_role: String,
    /// What it may do in its own namespace.
    home_rules: Value,
}

/// What it says when it could not be started, every further test says too, at once.
static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
static NEXT: AtomicUsize = AtomicUsize::new(1);

fn shared() -> &'static Shared {
    let shared = SHARED.get_or_init(|| {
        if let Ok(filter) = std::env::var("RUST_LOG") {
            tracing_subscriber::fmt().with_env_filter(filter).init();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (server, (cluster_role, home_rules)) = runtime
            .block_on(async {
                let server = ApiServer::start().await?;
                let roles = grant_gateway_role(&server.client()?).await?;
                Ok((server, roles))
            })
            .map_err(|error: anyhow::Error| format!("{error:#}"))?;
        Ok(Shared { runtime, server, cluster_role, home_rules })
    });
    shared.as_ref().unwrap_or_else(|error| panic!("there is no API server: {error}"))
}

/// Applies the role that the manifests give the gateway, so that a missing right shows here. Returns its name, and the
/// rules for the gateway's own namespace.
async fn grant_gateway_role(client: &Client) -> anyhow::Result<(String, Value)> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../manifests/gateway.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let documents = text
        .split("\n---\n")
        .map(|document| serde_yaml::from_str::<Value>(document).with_context(|| format!("in {}", file.display())));
    let documents: Vec<Value> = documents.collect::<anyhow::Result<_>>()?;
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"] == kind).cloned();
    let role = of_kind("ClusterRole").with_context(|| format!("{} has no ClusterRole", file.display()))?;
    let role: ClusterRole = serde_json::from_value(role).context("reading the gateway's ClusterRole")?;
    let created = Api::all(client.clone()).create(&PostParams::default(), &role).await;
    let name = created?.metadata.name.context("a role without a name")?;
    Ok((name, of_kind("Role").with_context(|| format!("{} has no Role", file.display()))?["rules"].clone()))
}

/// The API server that all tests share.
pub(crate) fn server() -> &'static ApiServer {
    &shared().server
}

/// Runs a test with surroundings of its own.
pub(crate) fn test<F: Future<Output = ()>>(body: impl FnOnce(World) -> F) {
    shared().runtime.block_on(async {
        body(World::new().await).await;
    });
}

/// One test's surroundings.
pub(crate) struct World {
    /// A namespace that signals are about, labelled as production.
    pub(crate) namespace: String,
    /// The gateway's own namespace.
    pub(crate) home: String,
    /// May do everything.
    pub(crate) admin: Client,
    /// Of somebody who may send signals.
    pub(crate) token: String,
    /// What the gateway itself has.
    pub(crate) gateway_token: String,
}

impl World {
    async fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (namespace, home) = (format!("test-{number}"), format!("home-{number}"));
        let admin = server().client().unwrap();
        server().create_namespace(&namespace, &[("kubernaut.ai/environment", "production")]).await.unwrap();
        server().create_namespace(&home, &[]).await.unwrap();
        let token = server().create_service_account(&home, "sender").await.unwrap();
        let gateway_token = server().create_service_account(&home, "gateway").await.unwrap();
        let world = Self { namespace, home, admin, token, gateway_token };
        world.let_send("sender").await;
        world.bind_gateway_role().await;
        world.wait_for_rights().await;
        world
    }

    /// The API server's authorizer hears of new bindings a moment after they are made.
    async fn wait_for_rights(&self) {
        let gateway = server().client_with_token(&self.gateway_token).unwrap();
        let requests: Api<RemediationRequest> = Api::all(gateway);
        wait_for("the gateway's rights", async || requests.list_metadata(&ListParams::default().limit(1)).await.ok())
            .await;
        let attributes =
            json!({"namespace": self.home, "verb": "create", "resource": "services", "name": "gateway-service"});
        let user = format!("system:serviceaccount:{}:sender", self.home);
        let review: SubjectAccessReview =
            serde_json::from_value(json!({"spec": {"user": user, "resourceAttributes": attributes}})).unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(self.admin.clone());
        wait_for("the sender's rights", async || {
            let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
            answer.status.is_some_and(|status| status.allowed).then_some(())
        })
        .await;
    }

    /// Lets a service account send signals.
    async fn let_send(&self, account: &str) {
        let rule = json!({
            "apiGroups": [""], "resources": ["services"], "resourceNames": ["gateway-service"], "verbs": ["create"],
        });
        let role: Role = serde_json::from_value(json!({"metadata": {"name": "sender"}, "rules": [rule]})).unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "sender"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sender"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.home}],
        }))
        .unwrap();
        Api::namespaced(self.admin.clone(), &self.home).create(&PostParams::default(), &role).await.unwrap();
        Api::namespaced(self.admin.clone(), &self.home).create(&PostParams::default(), &binding).await.unwrap();
    }

    async fn bind_gateway_role(&self) {
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": self.home},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": shared().cluster_role},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": self.home}],
        }))
        .unwrap();
        Api::all(self.admin.clone()).create(&PostParams::default(), &binding).await.unwrap();
        let role = json!({"metadata": {"name": "gateway"}, "rules": shared().home_rules});
        let role: Role = serde_json::from_value(role).unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "gateway"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gateway"},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": self.home}],
        }))
        .unwrap();
        Api::namespaced(self.admin.clone(), &self.home).create(&PostParams::default(), &role).await.unwrap();
        Api::namespaced(self.admin.clone(), &self.home).create(&PostParams::default(), &binding).await.unwrap();
    }

    /// A second namespace that signals are about.
    pub(crate) async fn another_namespace(&self, suffix: &str, labels: &[(&str, &str)]) -> String {
        let name = format!("{}-{suffix}", self.namespace);
        server().create_namespace(&name, labels).await.unwrap();
        name
    }

    /// The settings of a gateway in this test: free ports, its own namespace, no audit.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        for address in
            [&mut config.server.api_address, &mut config.server.health_address, &mut config.server.metrics_address]
        {
            *address = "127.0.0.1:0".parse().unwrap();
        }
        config.kubernetes.namespace = Some(self.home.clone());
        config.policy.path = policy();
        // What is proven here does not depend on how fast this machine is; what does sets its own.
        config.kubernetes.call_deadline_ms = 30_000;
        config.kubernetes.request_deadline_ms = 60_000;
        config
    }

    /// A gateway with the usual settings.
    pub(crate) async fn gateway(&self) -> Running {
        self.gateway_with(|_| {}).await
    }

    /// A gateway whose settings are changed first.
    pub(crate) async fn gateway_with(&self, change: impl FnOnce(&mut Config)) -> Running {
        let client = server().client_with_token(&self.gateway_token).unwrap();
        self.gateway_at(client, change).await
    }

    /// A gateway that uses the API server through this client.
    pub(crate) async fn gateway_at(&self, client: Client, change: impl FnOnce(&mut Config)) -> Running {
        let mut config = self.config();
        change(&mut config);
        let gateway = Gateway::start(&config, client).await.unwrap_or_else(|error| panic!("{error:#}"));
        Running { gateway, http: reqwest::Client::new(), token: self.token.clone() }
    }

    /// The requests in a namespace.
    pub(crate) async fn requests_in(&self, namespace: &str) -> Vec<RemediationRequest> {
        let api: Api<RemediationRequest> = Api::namespaced(self.admin.clone(), namespace);
        api.list(&ListParams::default()).await.unwrap().items
    }

    /// The requests in the namespace that signals are about.
    pub(crate) async fn requests(&self) -> Vec<RemediationRequest> {
        self.requests_in(&self.namespace).await
    }

    /// The only request in the namespace that signals are about.
    pub(crate) async fn request(&self) -> RemediationRequest {
        let mut found = self.requests().await;
        assert_eq!(found.len(), 1, "there must be one request: {found:#?}");
        found.remove(0)
    }

    /// Writes a phase as a remediation controller would.
    pub(crate) async fn set_phase(&self, name: &str, phase: api::Phase) {
        let api: Api<RemediationRequest> = Api::namespaced(self.admin.clone(), &self.namespace);
        let patch = json!({"status": {"overallPhase": phase}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
}

/// The policy that is shipped.
pub(crate) fn policy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config.app/gateway/policies/remediation_path.rego")
}

/// A gateway that a test talks to.
pub(crate) struct Running {
    pub(crate) gateway: Gateway,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn read(answer: reqwest::Response) -> Self {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Fails unless it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "the answer was {:#}", self.body);
        self
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_else(|| panic!("no text {key} in {:#}", self.body))
    }
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.api_address())
    }

    /// A POST with everything as it should be, but not sent yet.
    pub(crate) fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).bearer_auth(&self.token).header("content-type", "application/json").body(body)
    }

    pub(crate) async fn prometheus(&self, webhook: &Value) -> Answer {
        Answer::read(self.post(alerts::PROMETHEUS, webhook.to_string()).send().await.unwrap()).await
    }

    pub(crate) async fn event(&self, event: &Value) -> Answer {
        Answer::read(self.post(alerts::EVENT, event.to_string()).send().await.unwrap()).await
    }

    pub(crate) async fn health(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.gateway.health_address());
        Answer::read(self.http.get(url).send().await.unwrap()).await
    }

    /// The value of one line of `/metrics`; 0 if there is no such line.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let url = format!("http://{}/metrics", self.gateway.metrics_address());
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// Polls until `found` has something, and fails with `what` after [`DEADLINE`].
pub(crate) async fn wait_for<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {} s for {what}", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
