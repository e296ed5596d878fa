//! Stands for datastorage: keeps what it is sent, and fails as it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::wait_for;

#[derive(Default)]
struct Kept {
    events: Vec<Value>,
    batches: Vec<usize>,
    attempts: usize,
    failing: Option<StatusCode>,
    /// A batch with an event of this signal's name is refused for good.
    poison: Option<String>,
    /// Keeps a batch but answers as if it had not, so many times.
    forgetful: usize,
    /// The token that senders must have, where they must have one.
    token: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Sink {
    kept: Arc<Mutex<Kept>>,
    address: Option<SocketAddr>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let sink = Self::default();
        let router = Router::new().route("/api/v1/audit/events/batch", post(take)).with_state(sink.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().ok();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, ..sink }
    }

    pub(crate) fn url(&self) -> Option<String> {
        self.address.map(|address| format!("http://{address}"))
    }

    pub(crate) fn fail_with(&self, status: Option<StatusCode>) {
        self.kept.lock().unwrap().failing = status;
    }

    /// From now on senders must have this token.
    pub(crate) fn ask_for(&self, token: &str) {
        self.kept.lock().unwrap().token = Some(token.to_owned());
    }

    pub(crate) fn refuse_signal(&self, name: &str) {
        self.kept.lock().unwrap().poison = Some(name.to_owned());
    }

    pub(crate) fn forget_answers(&self, times: usize) {
        self.kept.lock().unwrap().forgetful = times;
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.kept.lock().unwrap().events.clone()
    }

    /// The sizes of the batches that were taken.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.kept.lock().unwrap().batches.clone()
    }

    pub(crate) fn attempts(&self) -> usize {
        self.kept.lock().unwrap().attempts
    }

    /// The events of one request, once there are so many.
    pub(crate) async fn wait_for(&self, correlation_id: &str, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} audit events of {correlation_id}"), || async {
            let found: Vec<Value> =
                self.events().into_iter().filter(|event| event["correlation_id"] == correlation_id).collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

async fn take(
    State(sink): State<Sink>,
    headers: HeaderMap,
    Json(events): Json<Vec<Value>>,
) -> (StatusCode, Json<Value>) {
    let mut kept = sink.kept.lock().unwrap();
    kept.attempts += 1;
    if let Some(token) = &kept.token
        && headers.get("authorization").is_none_or(|value| value != &format!("Bearer {token}"))
    {
        return (StatusCode::UNAUTHORIZED, Json(json!({})));
    }
    if let Some(status) = kept.failing {
        return (status, Json(json!({})));
    }
    if kept.poison.is_some()
        && events.iter().any(|event| event["event_data"]["signal_name"].as_str() == kept.poison.as_deref())
    {
        return (StatusCode::BAD_REQUEST, Json(json!({"detail": "event 0: it is poison"})));
    }
    kept.batches.push(events.len());
    for event in events {
        // As datastorage does: an id that is known is not kept twice.
        if !kept.events.iter().any(|known| known["event_id"] == event["event_id"]) {
            kept.events.push(event);
        }
    }
    if kept.forgetful > 0 {
        kept.forgetful -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    (StatusCode::CREATED, Json(json!({"event_ids": []})))
}
