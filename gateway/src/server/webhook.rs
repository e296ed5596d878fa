//! The two webhooks: what comes in, what goes out.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;

use super::api::{App, Deadline};
use crate::freshness;
use crate::pipeline::Outcome;
use crate::problem::Problem;
use crate::remediation::Recorded;
use crate::signal::prometheus::{Delivery, Item};
use crate::signal::{self, Signal, Unusable};

const TIMESTAMP_HEADER: &str = "x-timestamp";
/// Alerts of one delivery that are worked on at once: enough to hide the API server's latency, too few to crowd out
/// other senders.
const ALERTS_AT_ONCE: usize = 8;

/// What became of one signal, as its sender is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation_request_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation_request_namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    count: i64,
    first_occurrence: Timestamp,
    last_occurrence: Timestamp,
    remediation_request_ref: String,
}

#[derive(Default, Serialize)]
struct Summary {
    total: usize,
    created: usize,
    deduplicated: usize,
    ignored: usize,
    failed: usize,
}

#[derive(Serialize)]
struct Many {
    results: Vec<Told>,
    summary: Summary,
}

pub(super) async fn prometheus(
    State(app): State<Arc<App>>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (body, is_dated) = receive(&app, &headers, body).await?;
    let Delivery { mut items, newest_start } = signal::prometheus::parse(&body).map_err(unusable)?;
    if !is_dated {
        let newest = newest_start.ok_or_else(|| {
            Problem::stale("missing timestamp: send X-Timestamp, or a startsAt in at least one alert")
        })?;
        freshness::check_not_ahead(newest, Timestamp::now()).map_err(Problem::stale)?;
    }
    if items.len() == 1
        && let Some(item) = items.pop()
    {
        return match item {
            Item::Firing(signal) => one(&app, deadline, &signal).await,
            Item::Resolved => Ok(Json(Told::ignored()).into_response()),
            Item::Invalid(reason) => Err(Problem::invalid(reason)),
        };
    }
    Ok(many(&app, deadline, items).await)
}

pub(super) async fn kubernetes_event(
    State(app): State<Arc<App>>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (body, is_dated) = receive(&app, &headers, body).await?;
    let reported = signal::event::parse(&body).map_err(unusable)?;
    if !is_dated {
        let time = reported.time.ok_or_else(|| {
            Problem::stale("missing timestamp: send X-Timestamp, or one of lastTimestamp, series.lastObservedTime, eventTime, firstTimestamp")
        })?;
        freshness::check_event_time(time, Timestamp::now()).map_err(Problem::stale)?;
    }
    one(&app, deadline, &reported.signal).await
}

fn unusable(unusable: Unusable) -> Problem {
    match unusable {
        Unusable::Malformed(reason) => Problem::malformed(reason),
        Unusable::Invalid(reason) => Problem::invalid(reason),
    }
}

/// The body, and whether a header dates it.
async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<(Bytes, bool), Problem> {
    if headers.get(header::CONTENT_TYPE).is_some_and(|value| !is_json(value)) {
        return Err(Problem::unsupported_media_type());
    }
    let timestamp = headers.get(TIMESTAMP_HEADER);
    if let Some(value) = timestamp {
        freshness::check_header(value.as_bytes(), Timestamp::now()).map_err(Problem::stale)?;
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > app.max_body_bytes) {
        return Err(Problem::too_large(app.max_body_bytes));
    }
    // One byte more than is allowed tells a body that is too large from one whose sender went away.
    let read = to_bytes(body, app.max_body_bytes);
    let bytes = tokio::time::timeout(app.body_deadline, read).await.map_err(|_| Problem::body_too_slow())?;
    let bytes = bytes.map_err(|_| Problem::too_large(app.max_body_bytes))?;
    Ok((bytes, timestamp.is_some()))
}

fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn one(app: &App, deadline: Deadline, signal: &Signal) -> Result<Response, Problem> {
    let told = take(app, deadline, signal).await?;
    let status = if told.duplicate { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok((status, Json(told)).into_response())
}

async fn take(app: &App, Deadline(deadline): Deadline, signal: &Signal) -> Result<Told, Problem> {
    let outcome = tokio::time::timeout_at(deadline, app.pipeline.take(signal)).await;
    outcome.map_err(|_| Problem::deadline_exceeded())?.map(Told::from)
}

async fn many(app: &App, deadline: Deadline, items: Vec<Item>) -> Response {
    let outcomes = futures::stream::iter(items).map(async |item| match item {
        Item::Firing(signal) => take(app, deadline, &signal).await,
        Item::Resolved => Ok(Told::ignored()),
        Item::Invalid(reason) => Err(Problem::invalid(reason)),
    });
    let outcomes: Vec<Result<Told, Problem>> = outcomes.buffered(ALERTS_AT_ONCE).collect().await;
    let mut summary = Summary { total: outcomes.len(), ..Summary::default() };
    let mut retry_after_seconds = None;
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let told = outcome.unwrap_or_else(|problem| {
            retry_after_seconds = retry_after_seconds.max(problem.retry_after_seconds());
            if let Some(reason) = problem.reason {
                app.pipeline.metrics.count_rejected(reason);
            }
            Told::failed(&problem)
        });
        match told.status {
            "created" => summary.created += 1,
            "duplicate" => summary.deduplicated += 1,
            "ignored" => summary.ignored += 1,
            _ => summary.failed += 1,
        }
        results.push(told);
    }
    let status = if retry_after_seconds.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::MULTI_STATUS };
    let mut answer = (status, Json(Many { results, summary })).into_response();
    if let Some(seconds) = retry_after_seconds {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

impl Told {
    fn plain(status: &'static str) -> Self {
        Self {
            status,
            fingerprint: None,
            duplicate: false,
            remediation_request_name: None,
            remediation_request_namespace: None,
            metadata: None,
            error: None,
            retryable: None,
        }
    }

    fn ignored() -> Self {
        Self::plain("ignored")
    }

    fn failed(problem: &Problem) -> Self {
        let error = Some(problem.detail().to_owned());
        Self { error, retryable: Some(problem.is_retryable()), ..Self::plain("failed") }
    }
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        let fingerprint = Some(outcome.fingerprint);
        match outcome.recorded {
            Recorded::Created { namespace, name, .. } => Self {
                fingerprint,
                remediation_request_name: Some(name),
                remediation_request_namespace: Some(namespace),
                ..Self::plain("created")
            },
            Recorded::Duplicate { namespace, name, deduplication } => Self {
                fingerprint,
                duplicate: true,
                metadata: Some(Metadata {
                    count: deduplication.occurrence_count,
                    first_occurrence: deduplication.first_seen_at,
                    last_occurrence: deduplication.last_seen_at,
                    remediation_request_ref: format!("{namespace}/{name}"),
                }),
                remediation_request_name: Some(name),
                remediation_request_namespace: Some(namespace),
                ..Self::plain("duplicate")
            },
        }
    }
}
