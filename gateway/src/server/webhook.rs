//! The two webhooks: what comes in, what goes out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::time::Instant;

use super::api::App;
use super::body::{Received, receive};
use super::group::many;
use super::told::Told;
use crate::freshness;
use crate::problem::Problem;
use crate::signal::prometheus::Item;
use crate::signal::{self, Signal};

pub(super) async fn prometheus(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Received { bytes, is_dated, room: _room } = receive(&app, &headers, body, app.max_webhook_bytes).await?;
    let delivery = signal::prometheus::parse(&bytes)?;
    let now = (!is_dated).then(Timestamp::now);
    let _alerts = app.room(&app.alerts, delivery.len()).await?;
    let deadline = Instant::now() + app.request_deadline;
    let left_out = delivery.truncated_alerts;
    if left_out > 0 {
        app.pipeline.metrics.alerts_truncated.inc_by(left_out);
        tracing::warn!(truncated_alerts = left_out, "the sender left out alerts: its max_alerts is too small");
    }
    if delivery.len() > 1 {
        return many(&app, &delivery, now, deadline).await;
    }
    match delivery.read(0, now) {
        Item::Firing(signal) => one(&app, deadline, *signal, delivery.bytes_of(0), left_out).await,
        Item::Resolved => Ok(Json(Told::ignored().beside(left_out)).into_response()),
        Item::Invalid(problem) => Err(problem),
    }
}

pub(super) async fn kubernetes_event(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Received { bytes, is_dated, room: _room } = receive(&app, &headers, body, app.max_event_bytes).await?;
    let reported = match signal::event::parse(&bytes)? {
        signal::event::Told::Problem(reported) => *reported,
        signal::event::Told::Normal => return Ok(Json(Told::ignored()).into_response()),
    };
    if !is_dated {
        let time = reported.time.ok_or_else(|| {
            Problem::stale("missing timestamp: send X-Timestamp, or one of lastTimestamp, series.lastObservedTime, eventTime, firstTimestamp")
        })?;
        freshness::check_event_time(time, Timestamp::now()).map_err(Problem::stale)?;
    }
    let deadline = Instant::now() + app.request_deadline;
    one(&app, deadline, reported.signal, bytes.len(), 0).await
}

async fn one(app: &App, deadline: Instant, signal: Signal, bytes: usize, left_out: u64) -> Result<Response, Problem> {
    let outcome = app.pipeline.take(signal, bytes, deadline, |outcome| outcome).await;
    let told = Told::from(outcome.ok_or_else(Problem::deadline_exceeded)??).beside(left_out);
    let status = match told.status {
        "ignored" => StatusCode::OK,
        "duplicate" => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    Ok((status, Json(told)).into_response())
}
