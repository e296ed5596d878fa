//! Errors as RFC 7807 problem details, the one shape in which a client is told that something failed.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::event::Invalid;

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

    pub(crate) fn too_many() -> Problem {
        Problem {
            retry_after_s: Some(1),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too Many Requests",
                "as many requests as allowed are being worked on: try again in a moment",
            )
        }
    }

    /// The answer for the request `request_id` to `instance`.
    pub(crate) fn answer(&self, instance: &str, request_id: &str) -> Response {
        let body = Body {
            r#type: format!("https://kubernaut.ai/problems/{}", self.kind),
            title: self.title,
            detail: &self.detail,
            status: self.status.as_u16(),
            instance,
            request_id,
            index: self.index,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
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
