//! What a spec is handed: its own namespaces, and the services as a client sees them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::{Phase, RemediationRequest};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use uuid::Uuid;

use super::datastorage::DataStorage;
use super::gateway::Gateway;
use super::metrics::Metrics;
use super::spec::Alone;
use super::surroundings::Surroundings;
use super::turns::{Turn, Turns};
use super::wait::eventually;
use super::{deployed, http, trace};

/// On every namespace that a spec makes: the number of the spec.
const SPEC_LABEL: &str = "kubernaut.ai/e2e-spec";

/// For what the services do within one request or right after it.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Handed to each spec. Clones share everything.
#[derive(Clone)]
pub(crate) struct Context(Arc<Inner>);

struct Inner {
    spec: &'static str,
    surroundings: Arc<dyn Surroundings>,
    http: reqwest::Client,
    started: Timestamp,
    belongings: Mutex<Belongings>,
    turns: Arc<Turns>,
    /// None while the spec has given it up.
    turn: Mutex<Option<Turn>>,
}

/// What a spec has made and what goes when it is over.
#[derive(Clone, Default)]
pub(crate) struct Belongings {
    pub(crate) namespaces: Vec<String>,
    /// RemediationRequests outside of these, as namespace and name.
    pub(crate) requests: Vec<(String, String)>,
    /// Bindings of the role of senders, in the gateway's namespace.
    pub(crate) bindings: Vec<String>,
}

impl Context {
    /// `number` is the spec's, such as `s07`, and `turn` its turn among `turns`.
    pub(crate) fn new(
        number: &'static str,
        surroundings: Arc<dyn Surroundings>,
        http: reqwest::Client,
        turns: Arc<Turns>,
        turn: Turn,
    ) -> Context {
        let (started, turn) = (Timestamp::now(), Mutex::new(Some(turn)));
        Context(Arc::new(Inner {
            spec: number,
            surroundings,
            http,
            started,
            belongings: Mutex::default(),
            turns,
            turn,
        }))
    }

    /// Ends the turn of the spec.
    pub(crate) fn end_turn(&self) {
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for something that disturbs nothing and that nothing disturbs, while others have their turns; goes on once
    /// the spec may have the parts of the system that `then` names.
    pub(crate) async fn aside<T>(&self, waiting: impl Future<Output = T>, then: Alone) -> T {
        self.end_turn();
        let found = waiting.await;
        trace::waiting_for("its turn".to_owned());
        let turn = self.0.turns.take_again(self.0.spec, then).await;
        *self.0.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        found
    }

    pub(crate) fn surroundings(&self) -> &dyn Surroundings {
        &*self.0.surroundings
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    /// When the spec began, by the clock of this machine.
    pub(crate) fn started(&self) -> Timestamp {
        self.0.started
    }

    pub(crate) fn kubernetes(&self) -> kube::Client {
        self.surroundings().kubernetes().clone()
    }

    pub(crate) fn belongings(&self) -> Belongings {
        self.with_belongings(|belongings| belongings.clone())
    }

    fn with_belongings<T>(&self, change: impl FnOnce(&mut Belongings) -> T) -> T {
        change(&mut self.0.belongings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The gateway, with a token that may send signals.
    pub(crate) fn gateway(&self) -> Gateway {
        let surroundings = self.surroundings();
        Gateway::new(self.http().clone(), &surroundings.addresses().gateway, Some(surroundings.sender_token()))
    }

    pub(crate) fn datastorage(&self) -> DataStorage {
        self.datastorage_at(&self.surroundings().addresses().datastorage)
    }

    /// datastorage at another address, such as that of one instance.
    pub(crate) fn datastorage_at(&self, base: &str) -> DataStorage {
        DataStorage::new(self.http().clone(), base, Some(self.surroundings().audit_token()))
    }

    /// Makes a namespace of the spec's own, of which no environment is known.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub(crate) async fn namespace(&self) -> Result<String> {
        self.namespace_labelled(&[]).await
    }

    /// Makes a namespace that belongs to an environment, such as `production`.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub(crate) async fn namespace_in(&self, environment: &str) -> Result<String> {
        self.namespace_labelled(&[(api::labels::ENVIRONMENT, environment)]).await
    }

    async fn namespace_labelled(&self, labels: &[(&str, &str)]) -> Result<String> {
        let name = self.unique_name();
        let of_run = &self.surroundings().deployed().labels;
        let of_run = of_run.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let all = of_run.chain([(SPEC_LABEL, self.0.spec)]).chain(labels.iter().copied());
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        };
        let namespaces: Api<Namespace> = Api::all(self.kubernetes());
        self.with_belongings(|belongings| belongings.namespaces.push(name.clone()));
        let namespace = Namespace { metadata, ..Namespace::default() };
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("making the namespace {name}"))?;
        Ok(name)
    }

    /// A name that nobody else uses, fit for a namespace or another object.
    pub(crate) fn unique_name(&self) -> String {
        let id = Uuid::new_v4().simple().to_string();
        format!("e2e-{}-{}", self.0.spec, &id[..8])
    }

    /// Makes a service account in a namespace and gets a token of it.
    ///
    /// # Errors
    /// Where the API server refuses either.
    pub(crate) async fn token_of_new_account(&self, namespace: &str, account: &str) -> Result<String> {
        self.make_account(namespace, account).await?;
        deployed::token(self.surroundings().kubernetes(), namespace, account, None).await
    }

    /// The same with a token that is meant for datastorage.
    ///
    /// # Errors
    /// Where the API server refuses either.
    pub(crate) async fn audit_token_of_new_account(&self, namespace: &str, account: &str) -> Result<String> {
        self.make_account(namespace, account).await?;
        let audience = Some(deployed::AUDIT_AUDIENCE);
        deployed::token(self.surroundings().kubernetes(), namespace, account, audience).await
    }

    async fn make_account(&self, namespace: &str, account: &str) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.kubernetes(), namespace);
        let metadata = ObjectMeta { name: Some(account.to_owned()), ..ObjectMeta::default() };
        let object = ServiceAccount { metadata, ..ServiceAccount::default() };
        let made = accounts.create(&PostParams::default(), &object).await;
        made.map(drop).with_context(|| format!("making the service account {account} in {namespace}"))
    }

    /// Lets a service account send signals.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub(crate) async fn allow_to_send(&self, namespace: &str, account: &str) -> Result<()> {
        let name = self.unique_name();
        let surroundings = self.surroundings();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": surroundings.sender_role()},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }))?;
        self.with_belongings(|belongings| belongings.bindings.push(name.clone()));
        let made = self.bindings().create(&PostParams::default(), &binding).await;
        made.map(drop).with_context(|| format!("letting the account {account} in {namespace} send signals"))
    }

    fn bindings(&self) -> Api<RoleBinding> {
        Api::namespaced(self.kubernetes(), self.surroundings().gateway_namespace())
    }

    /// The API of RemediationRequests in a namespace.
    pub(crate) fn requests_in(&self, namespace: &str) -> Api<RemediationRequest> {
        Api::namespaced(self.kubernetes(), namespace)
    }

    /// All RemediationRequests in a namespace.
    ///
    /// # Errors
    /// Where the API server does not list them, as for one that is not shaped like its type.
    pub(crate) async fn requests(&self, namespace: &str) -> Result<Vec<RemediationRequest>> {
        let list = self.requests_in(namespace).list(&ListParams::default()).await;
        Ok(list.with_context(|| format!("listing the RemediationRequests in {namespace}"))?.items)
    }

    /// The only RemediationRequest in a namespace.
    ///
    /// # Errors
    /// Where there are none or several.
    pub(crate) async fn only_request(&self, namespace: &str) -> Result<RemediationRequest> {
        let mut requests = self.expect_requests(namespace, 1).await?;
        requests.pop().context("a list of one request is empty")
    }

    /// Expects a number of RemediationRequests in a namespace, now.
    ///
    /// # Errors
    /// Where there are more or fewer: their names.
    pub(crate) async fn expect_requests(&self, namespace: &str, count: usize) -> Result<Vec<RemediationRequest>> {
        let requests = self.requests(namespace).await?;
        ensure!(
            requests.len() == count,
            "expected {count} RemediationRequest(s) in {namespace}, found {}: {:?}",
            requests.len(),
            requests.iter().filter_map(|request| request.metadata.name.as_deref()).collect::<Vec<_>>()
        );
        Ok(requests)
    }

    /// One RemediationRequest.
    ///
    /// # Errors
    /// Where it is not there.
    pub(crate) async fn request(&self, namespace: &str, name: &str) -> Result<RemediationRequest> {
        let request = self.requests_in(namespace).get(name).await;
        request.with_context(|| format!("getting the RemediationRequest {name} in {namespace}"))
    }

    /// Has a RemediationRequest outside the spec's own namespaces go when the spec is over.
    pub(crate) fn adopt_request(&self, namespace: &str, name: &str) {
        self.with_belongings(|belongings| belongings.requests.push((namespace.to_owned(), name.to_owned())));
    }

    /// Sets the phase of a RemediationRequest, as a remediation controller would.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub(crate) async fn set_phase(&self, namespace: &str, name: &str, phase: Phase) -> Result<()> {
        let patch = Patch::Merge(json!({"status": {"overallPhase": phase}}));
        self.requests_in(namespace)
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("setting the phase of {name} in {namespace} to {phase:?}"))?;
        Ok(())
    }

    /// Waits until a RemediationRequest's status counts `count` occurrences.
    ///
    /// # Errors
    /// Where it does not within [`SOON`].
    pub(crate) async fn await_occurrences(
        &self,
        namespace: &str,
        name: &str,
        count: i64,
    ) -> Result<api::Deduplication> {
        eventually(SOON, &format!("the RemediationRequest {name} to count {count} occurrence(s)"), async || {
            let status = self.request(namespace, name).await?.status;
            let found = status.and_then(|status| status.deduplication).context("it has no status.deduplication")?;
            ensure!(found.occurrence_count == count, "its occurrenceCount is {}", found.occurrence_count);
            Ok(found)
        })
        .await
    }

    /// The gateway's metrics, now.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) async fn metrics(&self) -> Result<Metrics> {
        let base = &self.surroundings().addresses().gateway_metrics;
        let answer = http::Request::new(self.http(), reqwest::Method::GET, base, "/metrics").send().await?;
        Metrics::parse(&answer.expect(200, "the gateway's metrics")?.text)
    }

    /// Deletes what the spec has made, without waiting until it is gone.
    ///
    /// # Errors
    /// The first object that the API server does not delete.
    pub(crate) async fn delete_belongings(&self) -> Result<()> {
        let Belongings { namespaces, requests, bindings } = self.belongings();
        let parameters = DeleteParams::background();
        for name in bindings {
            let deleted = self.bindings().delete(&name, &parameters).await;
            unless_gone(deleted.map(drop)).with_context(|| format!("deleting the role binding {name}"))?;
        }
        for (namespace, name) in requests {
            let deleted = self.requests_in(&namespace).delete(&name, &parameters).await;
            unless_gone(deleted.map(drop)).with_context(|| format!("deleting {name} in {namespace}"))?;
        }
        let api: Api<Namespace> = Api::all(self.kubernetes());
        for namespace in namespaces {
            let deleted = api.delete(&namespace, &parameters).await;
            unless_gone(deleted.map(drop)).with_context(|| format!("deleting the namespace {namespace}"))?;
        }
        Ok(())
    }
}

fn unless_gone(deleted: kube::Result<()>) -> kube::Result<()> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}
