//! What every answer has in common: its id, its headers, the form of its errors, its line in the log.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Becomes a whole answer at the edge, which alone knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = self.status.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

/// 404 and 405 for a router.
pub(super) async fn not_found() -> Problem {
    Problem::not_found()
}

pub(super) async fn method_not_allowed(method: Method) -> Problem {
    Problem::method_not_allowed(method.as_str())
}

/// For the API: measured and logged.
pub(super) async fn api(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request = super::linger::linger(request);
    let id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!("request", request_id = id);
    let answer = finish(next.run(request).instrument(span).await, &path, &id, |problem| {
        if let Some(reason) = problem.reason {
            metrics.count_rejected(reason);
        }
    });
    let duration = started.elapsed();
    // A label takes memory for good: a path or a method that a client made up must not become one.
    let endpoint = endpoint.as_ref().map_or("unmatched", MatchedPath::as_str);
    metrics.observe_request(endpoint, method_label(&method), answer.status().as_u16(), duration);
    tracing::info!(
        request_id = id,
        method = method.as_str(),
        path = crate::text::cut_chars(&path, 200),
        status = answer.status().as_u16(),
        duration_ms = duration.as_secs_f64() * 1000.0,
        "answered"
    );
    answer
}

/// For health and metrics: asked every second, so not logged.
pub(super) async fn quiet(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    finish(next.run(request).await, &path, &Uuid::new_v4().to_string(), |_| {})
}

fn finish(mut answer: Response, path: &str, id: &str, on_problem: impl FnOnce(&Problem)) -> Response {
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        on_problem(&problem);
        let (status, detail) = (problem.status.as_u16(), problem.detail());
        tracing::debug!(request_id = id, status, detail, "refused");
        // What a layer on the way has added, such as Allow, stays.
        let mut headers = std::mem::take(answer.headers_mut());
        headers.remove(header::CONTENT_LENGTH);
        answer = problem.into_answer(path, id);
        headers.extend(answer.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        *answer.headers_mut() = headers;
    }
    let headers = answer.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, value);
    }
    headers.insert(REQUEST_ID, HeaderValue::from_str(id).expect("a UUID is ASCII"));
    answer
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
