//! Errors as RFC 7807 problem details, the one shape in which a client is told that something failed.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::event::Invalid;

const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, in words that are fit for a client. The request's path and id are added by the
/// router's outermost layer, which knows them.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    /// Whole seconds after which it is worth to try again.
    retry_after_s: Option<u32>,
    /// The place in a batch, counted from 0, of the event that is to blame.
    index: Option<usize>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    detail: &'a str,
    status: u16,
    instance: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Problem {
        Problem { status, kind, title, detail: detail.into(), retry_after_s: None, index: None }
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "validation-error", "Bad Request", detail)
    }

    pub(crate) fn unavailable(detail: &'static str) -> Problem {
        Problem {
            retry_after_s: Some(5),
            ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "service-unavailable", "Service Unavailable", detail)
        }
    }

    /// 503: there was no place, or no room, for too long.
    pub(crate) fn overloaded() -> Problem {
        Problem {
            retry_after_s: Some(1),
            ..Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Service Unavailable",
                "as much as possible is being worked on: try again in a moment",
            )
        }
    }

    pub(crate) fn unauthenticated(detail: &'static str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
    }

    pub(crate) fn forbidden(detail: &'static str) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail)
    }

    /// The answer for the request `request_id` to `instance`.
    pub(crate) fn answer(&self, instance: &str, request_id: &str) -> Response {
        let mut response = (self.status, Json(self.body(instance, request_id))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn body<'a>(&'a self, instance: &'a str, request_id: &'a str) -> Body<'a> {
        Body {
            r#type: format!("https://kubernaut.ai/problems/{}", self.kind),
            title: self.title,
            detail: &self.detail,
            status: self.status.as_u16(),
            instance,
            request_id,
            index: self.index,
        }
    }
}

/// The whole answer to what was no request at all, as bytes: `status` is what the HTTP library makes of it.
pub(crate) fn refusal(status: StatusCode) -> Vec<u8> {
    let id = Uuid::new_v4().to_string();
    let (kind, title, detail) = match status {
        StatusCode::URI_TOO_LONG => ("uri-too-long", "URI Too Long", "the path is too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("headers-too-large", "Request Header Fields Too Large", "the headers are too large, or too many")
        }
        _ => ("validation-error", "Bad Request", "this is no HTTP request"),
    };
    let problem = Problem::new(status, kind, title, detail);
    let body = serde_json::to_string(&problem.body("/", &id)).unwrap_or_default();
    tracing::info!(request_id = id, status = status.as_u16(), "refused what was no HTTP request");
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\n\
         x-request-id: {id}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Problem {
        Problem { index: invalid.index, ..Problem::invalid(invalid.reason) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
