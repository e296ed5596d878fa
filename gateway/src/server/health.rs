//! Whether the process is alive, and whether it can take signals; and its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio::sync::Mutex;

use super::edge;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;

/// How long a good answer of the API server is believed; a bad one is not.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Shorter than the timeout of a usual probe, so that the probe hears the reason.
const CHECK_DEADLINE: Duration = Duration::from_millis(1500);

/// What readiness depends on.
pub(super) struct Health {
    pipeline: Arc<Pipeline>,
    shutting_down: AtomicBool,
    /// When the API server last answered well. Locked while it is asked, so that probes do not add up.
    last_good: Mutex<Option<Instant>>,
}

impl Health {
    pub(super) fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline, shutting_down: AtomicBool::new(false), last_good: Mutex::default() }
    }

    pub(super) fn begin_shutdown(&self) {
        self.shutting_down.store(true, Ordering::Release);
    }

    async fn readiness(&self) -> Result<(), &'static str> {
        if self.shutting_down.load(Ordering::Acquire) {
            return Err("shutting down");
        }
        let mut last_good = self.last_good.lock().await;
        if last_good.is_some_and(|at| at.elapsed() < GOOD_FOR) {
            return Ok(());
        }
        match self.pipeline.store.check(CHECK_DEADLINE).await {
            Ok(()) => {
                *last_good = Some(Instant::now());
                Ok(())
            }
            Err(error) => {
                *last_good = None;
                tracing::warn!(%error, "not ready");
                Err("RemediationRequests cannot be listed")
            }
        }
    }
}

pub(super) fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .fallback(edge::not_found)
        .method_not_allowed_fallback(edge::method_not_allowed)
        .layer(middleware::from_fn(edge::quiet))
        .with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    match health.readiness().await {
        Ok(()) => Json(json!({ "status": "ready" })).into_response(),
        Err(reason) => {
            let body = Json(json!({ "status": "not ready", "reason": reason }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

pub(super) fn metrics(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .fallback(edge::not_found)
        .method_not_allowed_fallback(edge::method_not_allowed)
        .layer(middleware::from_fn(edge::quiet))
        .with_state(metrics)
}

async fn show(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    serving::metrics::answer(metrics.encode(), &headers)
}
