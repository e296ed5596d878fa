//! datastorage as its clients see it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::context::SOON;
use super::http::{Answer, Request};
use super::wait::eventually;

const EVENTS: &str = "/api/v1/audit/events";
const BATCH: &str = "/api/v1/audit/events/batch";

/// For an event to be on record that is sent in batches, or again after an outage.
pub(crate) const ON_RECORD: Duration = Duration::from_secs(30);

/// What answers 503 is given this long until the next try.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// datastorage at one address.
pub(crate) struct DataStorage {
    http: Client,
    base: String,
    token: Option<String>,
}

impl DataStorage {
    pub(crate) fn new(http: Client, base: &str, token: Option<&str>) -> DataStorage {
        DataStorage { http, base: base.to_owned(), token: token.map(str::to_owned) }
    }

    /// The same with another token, or with none.
    pub(crate) fn with_token(mut self, token: Option<&str>) -> DataStorage {
        self.token = token.map(str::to_owned);
        self
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let request = Request::new(&self.http, method, &self.base, path);
        match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }

    /// Writes one event.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn write(&self, event: &Value) -> Result<Answer> {
        self.post(EVENTS, event).await
    }

    /// Sends one event and takes the first answer, also one that says to try again.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn write_once(&self, event: &Value) -> Result<Answer> {
        self.post_once(EVENTS, event).await
    }

    /// Sends `body` as a batch.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn write_batch(&self, body: &Value) -> Result<Answer> {
        self.post(BATCH, body).await
    }

    /// Writes one event until it is stored, not just queued, and returns that answer.
    ///
    /// # Errors
    /// Where it is not stored within [`SOON`].
    pub(crate) async fn store(&self, event: &Value, what: &str) -> Result<Answer> {
        self.post_until_stored(EVENTS, event, what).await
    }

    /// Sends a batch until it is stored, not just queued, and returns that answer.
    ///
    /// # Errors
    /// Where it is not stored within [`SOON`].
    pub(crate) async fn store_batch(&self, body: &Value, what: &str) -> Result<Answer> {
        self.post_until_stored(BATCH, body, what).await
    }

    async fn post_until_stored(&self, path: &str, body: &Value, what: &str) -> Result<Answer> {
        eventually(SOON, &format!("{what} to be stored"), async || {
            let answer = self.post_once(path, body).await?;
            answer.expect(201, what)?;
            Ok(answer)
        })
        .await
    }

    /// Posts as the gateway does: again where the answer is 503, which says that neither PostgreSQL nor Redis could
    /// take it in time, as on a machine whose disk stands still for a moment, or where nobody is there: an instance that
    /// has lost both for a moment is not ready. Within [`SOON`] that has to be over.
    async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let end = Instant::now() + SOON;
        loop {
            let answer = self.post_once(path, body).await;
            let is_settled = answer.as_ref().is_ok_and(|answer| answer.status != 503);
            if is_settled || Instant::now() + TRY_AGAIN_AFTER >= end {
                return answer;
            }
            sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn post_once(&self, path: &str, body: &Value) -> Result<Answer> {
        self.request(Method::POST, path).json(body).send().await
    }

    /// Reads events; `query` is what follows the question mark.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn query(&self, query: &str) -> Result<Answer> {
        self.request(Method::GET, &format!("{EVENTS}?{query}")).send().await
    }

    /// All events of a correlation, the newest first.
    ///
    /// # Errors
    /// Where they cannot be read, or `pagination.total` disagrees with their number.
    pub(crate) async fn correlated(&self, correlation_id: &str) -> Result<Vec<Value>> {
        let answer = self.query(&format!("correlation_id={correlation_id}&limit=1000")).await?;
        answer.expect(200, "a query by correlation_id")?;
        let events = answer.body["data"].as_array().cloned();
        let events = events.with_context(|| format!("expected an array at /data of the body, but {answer}"))?;
        answer.expect_at("/pagination/total", events.len())?;
        Ok(events)
    }

    /// Waits until a correlation has at least `count` events, and returns them all.
    ///
    /// # Errors
    /// Where it has fewer after [`ON_RECORD`].
    pub(crate) async fn await_correlated(&self, correlation_id: &str, count: usize) -> Result<Vec<Value>> {
        eventually(ON_RECORD, &format!("{count} audit event(s) of {correlation_id}"), async || {
            let events = self.correlated(correlation_id).await?;
            ensure!(events.len() >= count, "there are {}: {:?}", events.len(), types(&events));
            Ok(events)
        })
        .await
    }

    /// Waits until a correlation has an event of each type, as often as the type is listed, and returns all its events.
    ///
    /// # Errors
    /// Where it lacks one after [`ON_RECORD`].
    pub(crate) async fn await_types(&self, correlation_id: &str, expected: &[&str]) -> Result<Vec<Value>> {
        eventually(ON_RECORD, &format!("audit events {expected:?} of {correlation_id}"), async || {
            let events = self.correlated(correlation_id).await?;
            let mut found = types(&events);
            for kind in expected {
                let at = found.iter().position(|one| one == kind);
                let at = at.with_context(|| format!("{kind} is not among {:?}", types(&events)))?;
                found.remove(at);
            }
            Ok(events)
        })
        .await
    }
}

/// The types of audit events, sorted.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<&str> = events.iter().map(|event| event["event_type"].as_str().unwrap_or("none")).collect();
    types.sort_unstable();
    types
}

/// A valid event of now, with an id of its own.
pub(crate) fn audit_event(correlation_id: &str) -> Value {
    json!({
        "event_id": Uuid::new_v4(),
        "version": "1.0",
        "event_type": "gateway.signal.received",
        "event_timestamp": Timestamp::now(),
        "event_category": "gateway",
        "event_action": "received",
        "event_outcome": "success",
        "correlation_id": correlation_id,
        "event_data": {"made_by": "a spec"},
    })
}

/// A valid event but for its time, which is that far from now: negative durations lie in the past.
pub(crate) fn audit_event_at(correlation_id: &str, from_now: SignedDuration) -> Value {
    let mut event = audit_event(correlation_id);
    event["event_timestamp"] = json!(Timestamp::now() + from_now);
    event
}
