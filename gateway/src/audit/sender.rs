//! Hands events on to datastorage, in batches, until it has taken them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Event, Waiting};
use crate::config;
use crate::metrics::Metrics;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// A batch of so many bytes is full. datastorage takes 2 MiB.
const BATCH_BYTES: usize = 1024 * 1024;

pub(super) struct Sender {
    client: reqwest::Client,
    url: String,
    token_file: Option<PathBuf>,
    batch_events: usize,
    linger: Duration,
    max_backoff: Duration,
    metrics: Arc<Metrics>,
}

/// What datastorage made of a batch.
enum Verdict {
    Accepted,
    /// It will never take this batch as it is.
    Refused(String),
    /// It may take it later.
    Later(String),
}

impl Sender {
    pub(super) fn new(url: &str, config: &config::Audit, metrics: Arc<Metrics>) -> reqwest::Result<Self> {
        let client =
            reqwest::Client::builder().timeout(Duration::from_millis(config.request_deadline_ms)).no_proxy().build()?;
        Ok(Self {
            client,
            url: format!("{}/api/v1/audit/events/batch", url.trim_end_matches('/')),
            token_file: config.token_file.clone(),
            batch_events: config.batch_events,
            linger: Duration::from_millis(config.linger_ms),
            max_backoff: Duration::from_millis(config.max_backoff_ms),
            metrics,
        })
    }

    /// Works until `stopped`, and then until everything that came before is settled.
    pub(super) async fn run(self, mut events: mpsc::Receiver<Waiting>, mut stopped: oneshot::Receiver<()>) {
        loop {
            let first = tokio::select! {
                first = events.recv() => first,
                _ = &mut stopped, if !events.is_closed() => {
                    events.close();
                    continue;
                }
            };
            let Some(first) = first else { break };
            let batch = self.fill(first, &mut events, &mut stopped).await;
            let events: Vec<&Event> = batch.iter().map(|waiting| &waiting.event).collect();
            self.deliver(&events).await;
        }
    }

    /// Waits a moment for more, so that a burst goes out in few requests; not so once it is `stopped`.
    async fn fill(
        &self,
        first: Waiting,
        events: &mut mpsc::Receiver<Waiting>,
        stopped: &mut oneshot::Receiver<()>,
    ) -> Vec<Waiting> {
        let mut bytes = first.event.bytes();
        let mut batch = vec![first];
        let end = Instant::now() + self.linger;
        // The last one may go beyond: of two that take half of what datastorage accepts, both go.
        while batch.len() < self.batch_events && bytes < BATCH_BYTES {
            tokio::select! {
                next = tokio::time::timeout_at(end, events.recv()) => match next {
                    Ok(Some(next)) => {
                        bytes += next.event.bytes();
                        batch.push(next);
                    }
                    Ok(None) | Err(_) => break,
                },
                _ = &mut *stopped, if !events.is_closed() => events.close(),
            }
        }
        batch
    }

    /// Sends the batch until it is accepted. One bad event makes datastorage refuse all of them: then each goes alone,
    /// so that only the bad one is lost.
    async fn deliver(&self, batch: &[&Event]) {
        match self.settle(batch).await {
            Ok(()) => self.settled(batch.len()),
            Err(reason) if batch.len() == 1 => {
                tracing::error!(reason, event = ?batch[0], "audit event dropped: datastorage refused it");
                self.metrics.audit_dropped.inc();
                self.settled(1);
            }
            Err(_) => {
                for event in batch {
                    Box::pin(self.deliver(std::slice::from_ref(event))).await;
                }
            }
        }
    }

    fn settled(&self, events: usize) {
        self.metrics.audit_buffered.dec_by(i64::try_from(events).unwrap_or(i64::MAX));
    }

    async fn settle(&self, batch: &[&Event]) -> Result<(), String> {
        let mut backoff = FIRST_BACKOFF;
        let mut again = false;
        loop {
            match self.send(batch, again).await {
                Verdict::Accepted => return Ok(()),
                Verdict::Refused(reason) => return Err(reason),
                Verdict::Later(reason) => {
                    let pause_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(
                        reason,
                        events = batch.len(),
                        pause_ms,
                        "datastorage did not take audit events: will try again"
                    );
                    tokio::time::sleep(backoff).await;
                    again = true;
                    backoff = (backoff * 2).min(self.max_backoff);
                }
            }
        }
    }

    /// `again` where the batch was sent before: then the connection is not kept. While a service gets its first endpoint
    /// a connection to its address may reach somebody else, who would answer on it for ever.
    async fn send(&self, batch: &[&Event], again: bool) -> Verdict {
        let mut request = self.client.post(&self.url).json(batch);
        if let Some(file) = &self.token_file {
            match tokio::fs::read_to_string(file).await {
                Ok(token) => request = request.bearer_auth(token.trim()),
                Err(error) => return Verdict::Later(format!("reading the token in {}: {error}", file.display())),
            }
        }
        if again {
            request = request.header(reqwest::header::CONNECTION, "close");
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Verdict::Accepted,
            Ok(answer) => {
                let status = answer.status();
                // Who may not write may be allowed to later, and a token may have been renewed.
                let is_final = status.is_client_error()
                    && !matches!(
                        status,
                        StatusCode::UNAUTHORIZED
                            | StatusCode::FORBIDDEN
                            | StatusCode::NOT_FOUND
                            | StatusCode::REQUEST_TIMEOUT
                            | StatusCode::TOO_MANY_REQUESTS
                    );
                let body = answer.text().await.unwrap_or_default();
                let reason = format!("{status}: {}", serving::text::cut_chars(&body, 300));
                if is_final { Verdict::Refused(reason) } else { Verdict::Later(reason) }
            }
            Err(error) => Verdict::Later(chain(&error)),
        }
    }
}

/// The error with what caused it: reqwest's own words say only that it was sending.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
