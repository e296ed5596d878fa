//! One RemediationRequest for one problem, however many signals, senders and gateways there are.
//!
//! # How it stays one
//! Before a request is created its name is claimed, and what there is is looked at after that ([`claim`]). So gateways
//! that create one at once come to one name, and the API server lets one of them through; the others are told that it
//! exists and count themselves as duplicates. What is found is read from the API server as of now, never from a watch's
//! past.
//!
//! A gap is left: a creation that its gateway has given up and that the API server still carries out, more than a
//! minute later.
//!
//! Occurrences are counted with the object's resourceVersion: a writer that saw an older one is refused and looks
//! again, so none is lost, and none is added to a request that ended meanwhile.

mod claim;
mod describe;
mod locks;
mod recent;
mod seen;

use std::time::Duration;

use api::{Deduplication, RemediationRequest, labels};
pub use describe::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::time::Instant;

use self::claim::{Claim, Claims};
use self::describe::describe;
use self::locks::Locks;
use self::recent::{Known, Recent};
use self::seen::{Row, Seen};
use crate::fingerprint::Fingerprint;
use crate::signal::{Signal, Target};
use crate::text;
use serving::kubernetes::{CallError, call};

const FIELD_MANAGER: &str = "gateway-service";
/// Pause before looking again after somebody else was faster.
const CONTENTION_PAUSE: Duration = Duration::from_millis(5);

/// Tries to write the first count of a request that others change at the same time.
const FIRST_COUNT_TRIES: usize = 5;

/// Creates requests and counts their occurrences.
pub struct Store {
    client: Client,
    /// The gateway's own namespace: for problems that lie in none.
    namespace: String,
    call_deadline: Duration,
    claims: Claims,
    locks: Locks,
    recent: Recent,
}

/// A problem: what the fingerprint was made from.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) top: Target,
}

impl Problem {
    pub(crate) fn of(top: Target) -> Self {
        Self { fingerprint: Fingerprint::of(&top.namespace, &top.kind, &top.name), top }
    }
}

/// What became of a signal.
#[derive(Debug)]
pub(crate) enum Recorded {
    Created { namespace: String, name: String, context: Context },
    Duplicate { namespace: String, name: String, deduplication: Deduplication },
}

/// Why a signal could not be recorded.
#[derive(Debug)]
pub(crate) struct RecordError {
    pub(crate) error: CallError,
    /// Namespace and name of the request that should have been created, where it came so far.
    pub(crate) wanted: Option<(String, String)>,
}

impl From<CallError> for RecordError {
    fn from(error: CallError) -> Self {
        Self { error, wanted: None }
    }
}

/// Where a request goes.
struct Place {
    namespace: String,
    environment: String,
    /// Whether the signal's namespace is none, does not exist or is going away.
    is_fallback: bool,
}

impl Store {
    /// `namespace` is the gateway's own.
    pub fn new(client: Client, namespace: String, call_deadline: Duration) -> Self {
        let claims = Claims::new(client.clone(), &namespace, call_deadline);
        Self { client, namespace, call_deadline, claims, locks: Locks::default(), recent: Recent::default() }
    }

    /// Whether RemediationRequests can be listed: the API server answers, the CRD is there, and the gateway may.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) async fn check(&self, deadline: Duration) -> Result<(), CallError> {
        let api: Api<RemediationRequest> = Api::all(self.client.clone());
        // Version 0 is answered from the API server's memory: cheap enough for a probe every second.
        let params = ListParams::default().limit(1).match_any();
        call(deadline, || "listing RemediationRequests".to_owned(), api.list_metadata(&params)).await.map(drop)
    }

    /// Counts the signal to its problem's active request, or creates one; begins neither after `deadline`. `context` tells priority and path for the
    /// environment that the problem lies in.
    pub(crate) async fn record(
        &self,
        signal: &Signal,
        problem: &Problem,
        received: Timestamp,
        deadline: Instant,
        context: impl Fn(&str) -> Context,
    ) -> Result<Recorded, RecordError> {
        // Within one gateway, signals about one problem go one after the other: they would only refuse each other.
        let _turn = self.locks.lock(&problem.fingerprint).await;
        let in_time = || {
            let doing = || format!("recording a signal about {}", problem.fingerprint);
            if Instant::now() < deadline { Ok(()) } else { Err(CallError::too_late(doing())) }
        };
        in_time()?;
        if let Some(known) = self.recent.get(&problem.fingerprint)
            && let Some(recorded) = self.count(problem, known, received).await?
        {
            return Ok(recorded);
        }
        loop {
            if let Some(claim) = self.claims.take(&problem.fingerprint).await? {
                let found = self.find(problem).await?;
                let recorded = match oldest_active(&found) {
                    Some(active) => {
                        self.claims.release(&claim).await;
                        match self.get(problem, &active.metadata.namespace, &active.metadata.name).await? {
                            Some(found) => self.count(problem, Known::from(&found), received).await?,
                            None => None,
                        }
                    }
                    None => self.create(signal, problem, &claim, received, &context).await?,
                };
                if let Some(recorded) = recorded {
                    return Ok(recorded);
                }
            }
            // Somebody else changed what was found.
            tokio::time::sleep(CONTENTION_PAUSE).await;
            in_time()?;
        }
    }

    /// All requests of the problem, as of now, in all namespaces: its own may have come into being meanwhile.
    async fn find(&self, problem: &Problem) -> Result<Vec<Row>, CallError> {
        let doing = || format!("looking for RemediationRequests of {}", problem.fingerprint);
        call(self.call_deadline, doing, seen::rows(&self.client, problem.fingerprint.as_str())).await
    }

    /// The problem's request of this name, if it is there and active.
    async fn get(&self, problem: &Problem, namespace: &str, name: &str) -> Result<Option<Seen>, CallError> {
        let found = self.read(namespace, name).await?;
        Ok(found.filter(|found| found.is_active() && found.spec.signal_fingerprint == problem.fingerprint.as_str()))
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Seen>, CallError> {
        let doing = || format!("reading the RemediationRequest {namespace}/{name}");
        call(self.call_deadline, doing, seen::get(&self.client, namespace, name)).await
    }

    /// Counts one more occurrence; none if the request is over or gone.
    async fn count(
        &self,
        problem: &Problem,
        mut known: Known,
        received: Timestamp,
    ) -> Result<Option<Recorded>, CallError> {
        loop {
            let deduplication = Deduplication {
                first_seen_at: known.deduplication.first_seen_at,
                last_seen_at: known.deduplication.last_seen_at.max(received),
                occurrence_count: known.deduplication.occurrence_count.saturating_add(1),
            };
            match self.write(&known, &deduplication).await {
                Ok(changed) => {
                    self.recent.put(&problem.fingerprint, Known::from(&changed));
                    let Known { namespace, name, .. } = known;
                    return Ok(Some(Recorded::Duplicate { namespace, name, deduplication }));
                }
                Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 409)) => {}
                Err(error) => return Err(error),
            }
            match self.get(problem, &known.namespace, &known.name).await? {
                Some(found) => known = Known::from(&found),
                None => {
                    self.recent.forget(&problem.fingerprint);
                    return Ok(None);
                }
            }
        }
    }

    async fn write(&self, known: &Known, deduplication: &Deduplication) -> Result<Seen, CallError> {
        let patch = json!({
            "metadata": { "resourceVersion": known.resource_version },
            "status": { "deduplication": deduplication },
        });
        let doing = || format!("counting an occurrence on the RemediationRequest {}", known.name);
        call(self.call_deadline, doing, seen::patch_status(&self.client, &known.namespace, &known.name, &patch)).await
    }

    /// Creates the problem's next request; none if what was found is no longer so.
    async fn create(
        &self,
        signal: &Signal,
        problem: &Problem,
        claim: &Claim,
        received: Timestamp,
        context: impl Fn(&str) -> Context,
    ) -> Result<Option<Recorded>, RecordError> {
        let place = self.place(&signal.target.namespace).await?;
        let context = context(&place.environment);
        let name = problem.fingerprint.request_name(claim.uid());
        let request = describe(signal, problem, &place, &context, &name, received);
        let doing = || format!("creating the RemediationRequest {}/{name}", place.namespace);
        let created =
            match call(self.call_deadline, doing, seen::create(&self.client, &place.namespace, &request)).await {
                Ok(created) => created,
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {
                    let twin = self.get(problem, &place.namespace, &name).await?;
                    // It is there, or was: the claim is spent either way.
                    self.claims.release(claim).await;
                    return match twin {
                        Some(twin) => Ok(self.count(problem, Known::from(&twin), received).await?),
                        None => Ok(None),
                    };
                }
                Err(error) if is_namespace_gone(&error) && !place.is_fallback => return Ok(None),
                // No answer says nothing of what the API server did.
                Err(error) if error.is_unclear() => {
                    let made = self.read(&place.namespace, &name).await.ok().flatten();
                    let is_ours = |seen: &Seen| seen.spec.received_time == received;
                    match made.filter(is_ours) {
                        Some(created) => {
                            tracing::info!(name, %error, "the RemediationRequest was created, though no answer came");
                            created
                        }
                        // The claim stays: it may still come into being, under this name.
                        None => return Err(RecordError { error, wanted: Some((place.namespace, name)) }),
                    }
                }
                Err(error) => {
                    self.claims.release(claim).await;
                    return Err(RecordError { error, wanted: Some((place.namespace, name)) });
                }
            };
        // At once: before its sender is told, the next problem has a claim of its own.
        tokio::join!(self.begin_count(problem, &created, received), self.claims.release(claim));
        Ok(Some(Recorded::Created { namespace: place.namespace, name, context }))
    }

    /// Writes the first count, unless somebody was faster and counted this signal along: a request without a count has
    /// one occurrence. So it has for a reader if this cannot be written now.
    async fn begin_count(&self, problem: &Problem, created: &Seen, received: Timestamp) {
        let deduplication = Deduplication { first_seen_at: received, last_seen_at: received, occurrence_count: 1 };
        let mut known = Known::from(created);
        for _ in 0..FIRST_COUNT_TRIES {
            let error = match self.write(&known, &deduplication).await {
                Ok(counted) => return self.recent.put(&problem.fingerprint, Known::from(&counted)),
                Err(error) => error,
            };
            if !error.is_unclear() && error.status().is_none_or(|status| !matches!(status.code, 404 | 409)) {
                tracing::warn!(%error, "the first occurrence could not be written down; it counts all the same");
                return;
            }
            // Somebody changed it: a controller, whose phase says nothing of the count, or one who counted.
            match self.read(&known.namespace, &known.name).await {
                Ok(Some(seen)) if seen.status.deduplication.is_none() => known = Known::from(&seen),
                Ok(_) => return,
                Err(error) => return tracing::warn!(%error, "the first occurrence could not be written down"),
            }
        }
        tracing::warn!(name = known.name, "the first occurrence could not be written down: others kept changing it");
    }

    /// Where a request goes whose signal is about something in this namespace, or in none. Its top owner may lie
    /// elsewhere: a static pod's is a node.
    async fn place(&self, namespace: &str) -> Result<Place, CallError> {
        let fallback = || Place {
            namespace: self.namespace.clone(),
            environment: crate::priority::UNKNOWN_ENVIRONMENT.to_owned(),
            is_fallback: true,
        };
        if !text::is_namespace_name(namespace) {
            return Ok(fallback());
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let doing = || format!("reading the namespace {namespace}");
        let found = call(self.call_deadline, doing, api.get_metadata_opt(namespace)).await?;
        let Some(found) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
            return Ok(fallback());
        };
        let environment = found.labels().get(labels::ENVIRONMENT).filter(|value| !value.is_empty());
        Ok(Place {
            namespace: namespace.to_owned(),
            environment: environment.map_or(crate::priority::UNKNOWN_ENVIRONMENT, String::as_str).to_owned(),
            is_fallback: false,
        })
    }
}

fn oldest_active(found: &[Row]) -> Option<&Row> {
    found
        .iter()
        .filter(|row| row.is_active)
        .min_by_key(|row| (row.metadata.creation_timestamp, row.metadata.name.as_str()))
}

fn is_namespace_gone(error: &CallError) -> bool {
    error.status().is_some_and(|status| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 404 || causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    })
}

#[cfg(test)]
mod tests;
