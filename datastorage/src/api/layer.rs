//! What surrounds every request: its id, its log line, errors in their one shape, and a limit.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, which its log lines and the answer bear, and problems their shape.
pub(super) async fn frame(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let request_id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id);
    async {
        let mut response = next.run(request).await;
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let headers = std::mem::take(response.headers_mut());
            response = problem.answer(&path, &request_id);
            // What the router itself adds to an error, such as Allow.
            for (name, value) in headers.iter().filter(|(name, _)| *name == axum::http::header::ALLOW) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%method, path, status = response.status().as_u16(), duration_ms, "answered");
        response
    }
    .instrument(span)
    .await
}

/// Lets so many requests in at the same time.
pub(super) async fn limit(State(slots): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => Problem::too_many().into_response(),
    }
}
