//! What every answer has in common: its id, its headers, the form of its errors, its line in the log.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
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

/// Lets what is no preflight request of a browser pass for the method that it is.
pub(super) async fn preflight(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_preflight =
        headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
        return (allow, Problem::method_not_allowed("OPTIONS")).into_response();
    }
    next.run(request).await
}

/// The whole answer to what was no request at all, as bytes: `status` is what the HTTP library makes of it.
pub(super) fn refusal(status: StatusCode) -> Vec<u8> {
    let id = Uuid::new_v4().to_string();
    let (answer, body) = Problem::no_request(status).parts("/", &id);
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    let mut headers = answer;
    headers.extend(SECURITY_HEADERS);
    for (name, value) in &headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("{REQUEST_ID}: {id}\r\n\r\n").as_bytes());
    bytes.extend_from_slice(&body);
    tracing::info!(request_id = id, status = status.as_u16(), "refused what was no HTTP request");
    bytes
}

/// For the API: measured and logged.
pub(super) async fn api(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request = serving::linger(request);
    let id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!("request", request_id = id);
    let answer = match serving::has_one_host(&request) {
        true => next.run(request).instrument(span).await,
        false => Problem::malformed("there must be one Host header").into_response(),
    };
    let answer = finish(answer, &path, &id, |problem| {
        if let Some(reason) = problem.reason {
            metrics.count_rejected(reason);
        }
    });
    let duration = started.elapsed();
    let endpoint = endpoint.as_ref().map_or("unmatched", MatchedPath::as_str);
    metrics.requests.observe(endpoint, &method, answer.status(), duration);
    tracing::info!(
        request_id = id,
        method = method.as_str(),
        path = serving::text::cut_chars(&path, 200),
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
