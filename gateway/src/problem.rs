//! Errors as RFC 7807 problems.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serving::text::cut_chars;

const TYPE_BASE: &str = "https://kubernaut.ai/problems/";
const TIMESTAMP: &str = "timestamp";
/// Of what a sender wrote, no more than this is repeated.
pub(crate) const MAX_REPEATED_CHARS: usize = 80;

/// Why a request was not carried out, in words for its sender.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: String,
    retry_after_seconds: Option<u32>,
    /// The value of the `reason` label in `gateway_signals_rejected_total`; none where the request was no signal.
    pub reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Members<'a> {
    r#type: String,
    title: &'a str,
    detail: &'a str,
    status: u16,
    instance: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, title, detail: detail.into(), retry_after_seconds: None, reason: None }
    }

    fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 400: the signal itself is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation-error", "Bad Request", detail).because("invalid")
    }

    /// 400: the body is not JSON of the right shape.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation-error", "Bad Request", detail).because("malformed")
    }

    /// 400: the signal is not of now.
    pub fn stale(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation-error", "Bad Request", detail).because(TIMESTAMP)
    }

    /// 401: no bearer token, or one that the API server does not know.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail).because("unauthenticated")
    }

    /// 403: the token's owner may not send signals.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail).because("forbidden")
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not Found", "there is nothing at this path")
    }

    /// 405.
    pub fn method_not_allowed(method: &str) -> Self {
        let method = cut_chars(method, MAX_REPEATED_CHARS);
        let detail = format!("{method} is not allowed here; the Allow header names what is");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method Not Allowed", detail)
    }

    /// 503: the body did not arrive in time. Never 408: the network may have been slow, not the sender, and an
    /// Alertmanager does not send again what was answered so.
    pub fn body_too_slow() -> Self {
        let detail = "the body did not arrive in time; send it again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "body-timeout", "Service Unavailable", detail)
            .retry_after(1)
            .because("slow_body")
    }

    /// 400, 414 or 431: what came is no HTTP request, or its head is too large.
    pub fn no_request(status: StatusCode) -> Self {
        let (slug, title, detail) = match status {
            StatusCode::URI_TOO_LONG => ("uri-too-long", "URI Too Long", "the path is too long"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("headers-too-large", "Request Header Fields Too Large", "the headers are too large, or too many")
            }
            _ => ("validation-error", "Bad Request", "this is no HTTP request"),
        };
        Self::new(status, slug, title, detail)
    }

    /// 413; `detail` says of what there is too much, and how much there may be.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Payload Too Large", detail).because("too_large")
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        let detail = "the body must be application/json, in no content coding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported Media Type", detail)
            .because("unsupported_media_type")
    }

    /// 503: as much is being worked on as may be, and no place came free in time. Never 429: an Alertmanager does not
    /// send again what was answered so.
    pub fn overloaded() -> Self {
        let detail = "the gateway works on as many signals as it can; send this one again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Service Unavailable", detail)
            .retry_after(1)
            .because("overloaded")
    }

    /// 503: the Kubernetes API could not be used; the same signal may succeed later.
    pub fn unavailable(retry_after_seconds: u32) -> Self {
        let detail = "the Kubernetes API is unavailable; send the signal again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service-unavailable", "Service Unavailable", detail)
            .retry_after(retry_after_seconds)
            .because("unavailable")
    }

    /// 504: the work in Kubernetes took longer than one signal may take.
    pub fn deadline_exceeded() -> Self {
        let detail = "the Kubernetes API did not finish in time; send the signal again later";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "gateway-timeout", "Gateway Timeout", detail)
            .retry_after(1)
            .because("deadline")
    }

    /// The same, where it was counted already.
    pub fn uncounted(mut self) -> Self {
        self.reason = None;
        self
    }

    /// Whether the signal was not of now.
    pub fn is_stale(&self) -> bool {
        self.reason == Some(TIMESTAMP)
    }

    /// What is wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether sending the same again may succeed.
    pub fn is_retryable(&self) -> bool {
        self.retry_after_seconds.is_some()
    }

    /// Seconds to wait before sending the same again, where that may help.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }

    /// The whole answer to the request `request_id` for `instance`, a path.
    pub fn into_answer(self, instance: &str, request_id: &str) -> Response<Body> {
        let (headers, body) = self.parts(instance, request_id);
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = headers;
        answer
    }

    /// The headers and the body of that answer.
    pub fn parts(&self, instance: &str, request_id: &str) -> (HeaderMap, Vec<u8>) {
        let members = Members {
            r#type: format!("{TYPE_BASE}{}", self.slug),
            title: self.title,
            detail: &self.detail,
            status: self.status.as_u16(),
            instance,
            request_id,
        };
        let body = serde_json::to_vec(&members).expect("strings and a number always serialize");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        (headers, body)
    }
}

#[cfg(test)]
impl Problem {
    /// Fails unless it blames the sender, briefly, and tells nothing of how the gateway is made.
    pub(crate) fn assert_fit_for_a_sender(&self, sent: &[u8]) {
        assert!(self.status.is_client_error() && !self.is_retryable(), "{self:?}");
        assert!(self.detail.len() < 600 && testbed::hostile::inside(&self.detail, sent).is_none(), "{self:?}");
    }
}
