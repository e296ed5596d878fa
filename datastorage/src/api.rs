//! The API: what is asked, and what is answered.

mod filter;
mod layer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, middleware};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::config;
use crate::event::{self, AuditEvent};
use crate::postgres::{Failure, Postgres, Stored};
use crate::problem::Problem;
use crate::queue::Queue;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for PostgreSQL to be back when there is no queue.
const BACK_TIMEOUT: Duration = Duration::from_millis(500);

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) max_body_bytes: usize,
    /// How long PostgreSQL has for a write before the queue takes it.
    pub(crate) write_wait: Duration,
}

/// Where an event is now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Stored,
    Queued,
}

pub(crate) fn router(api: Api, limits: &config::Http) -> Router {
    Router::new()
        .route("/api/v1/audit/events", post(create).get(list))
        .route("/api/v1/audit/events/batch", post(create_batch))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(api.max_body_bytes))
        .with_state(Arc::new(api))
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(limits.max_in_flight)), layer::limit))
        .layer(middleware::from_fn(layer::frame))
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not Found", "there is nothing at this path")
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not possible at this path");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method Not Allowed", detail)
}

async fn create(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let body = api.body(request).await?;
    let event = event::parse(&body, Timestamp::now())?;
    let event_id = event.event_id;
    let mut event_timestamp = event.event_timestamp;
    let (kept, new) = api.keep([event].into()).await?;
    if kept == Kept::Queued {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "status": "accepted", "event_id": event_id }))).into_response());
    }
    if new == 0 {
        // A repeat: what counts is what was written the first time.
        let first = api.postgres.timestamp_of(event_id).await.ok().flatten();
        event_timestamp = first.unwrap_or(event_timestamp);
    }
    let body = json!({ "event_id": event_id, "event_timestamp": event_timestamp });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn create_batch(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let body = api.body(request).await?;
    let events = event::parse_batch(&body, Timestamp::now())?;
    let event_ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
    Ok(match api.keep(events.into()).await?.0 {
        Kept::Stored => (StatusCode::CREATED, Json(json!({ "event_ids": event_ids }))).into_response(),
        Kept::Queued => {
            (StatusCode::ACCEPTED, Json(json!({ "status": "accepted", "event_ids": event_ids }))).into_response()
        }
    })
}

#[derive(Serialize)]
struct Listed {
    data: Vec<Stored>,
    pagination: Pagination,
}

#[derive(Serialize)]
struct Pagination {
    limit: i64,
    offset: i64,
    /// Up to a thousand where all of them were not asked for.
    total: i64,
    total_is_exact: bool,
    has_more: bool,
    /// The `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    let Query(query) = query.map_err(|error| Problem::invalid(format!("the query cannot be read: {error}")))?;
    let filter = filter::parse(query, Timestamp::now()).map_err(Problem::invalid)?;
    let page = api.postgres.list(&filter).await.map_err(|failure| {
        tracing::warn!(%failure, "events could not be read");
        Problem::unavailable("the events cannot be read at the moment")
    })?;
    Ok(Json(Listed {
        pagination: Pagination {
            limit: filter.limit,
            offset: filter.offset,
            total: page.total,
            total_is_exact: page.total_is_exact,
            has_more: page.next.is_some(),
            next: page.next.map(|key| key.to_string()),
        },
        data: page.events,
    }))
}

impl Api {
    /// The body of a request that sends JSON.
    async fn body(&self, request: Request) -> Result<Bytes, Problem> {
        if request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| !is_json(kind)) {
            let detail = "the body must be JSON (Content-Type: application/json)";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported Media Type",
                detail,
            ));
        }
        match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload-too-large",
                "Payload Too Large",
                format!("the body is larger than {} bytes", self.max_body_bytes),
            )),
            Ok(Err(_)) => Err(Problem::invalid("the body broke off")),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "Request Timeout",
                format!("the body was not there after {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }

    /// Keeps all events, in PostgreSQL or else in the queue, and tells how many of them were new where
    /// PostgreSQL has them.
    async fn keep(&self, events: Arc<[AuditEvent]>) -> Result<(Kept, u64), Problem> {
        if self.postgres.is_up()
            && let Some(new) = self.store(&events).await?
        {
            return Ok((Kept::Stored, new));
        }
        if self.enqueue(&events).await {
            return Ok((Kept::Queued, 0));
        }
        // PostgreSQL counts as down after any failure until it was asked, which is a matter of
        // milliseconds when nothing is wrong with it.
        let mut state = self.postgres.state();
        if timeout(BACK_TIMEOUT, state.wait_for(|state| state.is_up())).await.is_ok_and(|state| state.is_ok())
            && let Some(new) = self.store(&events).await?
        {
            return Ok((Kept::Stored, new));
        }
        Err(Problem::unavailable("neither the database nor the queue can take events at the moment"))
    }

    /// How many events were new, or nothing if PostgreSQL does not work.
    async fn store(&self, events: &Arc<[AuditEvent]>) -> Result<Option<u64>, Problem> {
        let reason = match self.postgres.insert(events.clone(), self.write_wait).await {
            Ok(new) => return Ok(Some(new)),
            Err(Failure::Outage(_) | Failure::Busy) => return Ok(None),
            Err(Failure::Event(reason)) => reason,
        };
        tracing::warn!(reason, "PostgreSQL refused an event");
        let index = if events.len() > 1 {
            self.postgres.first_refused(events, self.write_wait).await.ok().flatten()
        } else {
            None
        };
        Err(Problem::from(event::Invalid {
            index,
            reason: match index {
                Some(index) => format!("event {index}: it holds a value that cannot be stored"),
                None => "it holds a value that cannot be stored".to_owned(),
            },
        }))
    }

    async fn enqueue(&self, events: &[AuditEvent]) -> bool {
        let pushed = self.queue.push(events).await;
        if let Err(error) = &pushed {
            tracing::warn!(error = format!("{error:#}"), "events could not be queued");
        }
        pushed.is_ok()
    }
}

fn is_json(kind: &HeaderValue) -> bool {
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
