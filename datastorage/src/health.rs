//! The health port: whether the process runs, and whether it can take events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::postgres::Postgres;
use crate::queue::{Length, Queue};
use crate::state::ServerState;

/// What readiness is made of.
pub(crate) struct Health {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) queue: Arc<Queue>,
    /// Turns true when the service is to end.
    pub(crate) stop: watch::Receiver<bool>,
}

pub(crate) fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .with_state(Arc::new(health))
}

/// Ready while PostgreSQL or Redis can keep an event, and the service is not about to end.
async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Json<Value>) {
    let postgres = health.postgres.state().borrow().clone();
    let redis = health.queue.state().borrow().clone();
    let stopping = *health.stop.borrow();
    let ready = !stopping && (postgres.is_up() || redis.is_up());
    let mut body = json!({ "status": if ready { "ready" } else { "not ready" }, "stopping": stopping });
    body["postgres"] = told(postgres, |()| json!({ "up": true }));
    body["redis"] = told(redis, |Length { length, .. }| json!({ "up": true, "queued": length }));
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

fn told<T>(state: ServerState<T>, up: impl FnOnce(T) -> Value) -> Value {
    match state {
        ServerState::Up(known) => up(known),
        ServerState::Down(reason) => json!({ "up": false, "reason": reason }),
    }
}
