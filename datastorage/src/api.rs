//! The API: what is asked, and what is answered.

mod filter;
mod layer;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Query, RawQuery, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, middleware};
use hyper::body::{Frame, SizeHint};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use serving::auth::Authenticator;
use serving::body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use crate::config::{Config, millis};
use crate::event::{self, AuditEvent, Batch};
use crate::metrics::Metrics;
use crate::postgres::{Failure, Postgres, Stored};
use crate::problem::Problem;
use crate::queue::Queue;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a writer waits for PostgreSQL to be back where there is no queue.
const BACK_TIMEOUT: Duration = Duration::from_millis(500);
/// The same for a reader, who has no other place to go.
const READ_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Pages that are read or sent at once: each takes some 16 MiB, if its events are large.
const PAGES: usize = 3;
/// What a page is sent in.
const PART_BYTES: usize = 64 * 1024;

/// What the handlers work with.
pub(crate) struct Api {
    postgres: Arc<Postgres>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    authenticator: Option<Authenticator>,
    max_body_bytes: usize,
    /// How long a request waits for a place, and for room.
    place_deadline: Duration,
    /// How long PostgreSQL has for a write before the queue takes it.
    write_wait: Duration,
    in_flight: Arc<Semaphore>,
    /// Bytes that bodies, and the events in them, may hold together.
    body_bytes: Arc<Semaphore>,
    pages: Arc<Semaphore>,
}

/// Where an event is now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Stored,
    Queued,
}

pub(crate) fn router(
    config: &Config,
    postgres: Arc<Postgres>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    authenticator: Option<Authenticator>,
) -> Router {
    let http = &config.http;
    let api = Arc::new(Api {
        postgres,
        queue,
        metrics: metrics.clone(),
        authenticator,
        max_body_bytes: http.max_body_bytes,
        place_deadline: millis(http.place_deadline_ms),
        write_wait: millis(config.postgres.write_timeout_ms),
        in_flight: Arc::new(Semaphore::new(http.max_in_flight)),
        body_bytes: Arc::new(Semaphore::new(http.max_body_bytes_in_flight)),
        pages: Arc::new(Semaphore::new(PAGES)),
    });
    let admission = middleware::from_fn_with_state(api.clone(), layer::admit);
    // On the methods, not on the routes: a wrong method is told so, whoever asks.
    Router::new()
        .route("/api/v1/audit/events", post(create).get(list).route_layer(admission.clone()))
        .route("/api/v1/audit/events/batch", post(create_batch).route_layer(admission))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
        .layer(middleware::from_fn_with_state(metrics, layer::frame))
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not Found", "there is nothing at this path")
}

async fn wrong_method(method: Method) -> Problem {
    let method = event::cut(method.as_str());
    let detail = format!("{method} is not possible at this path");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method Not Allowed", detail)
}

async fn create(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (body, room) = api.body(request).await?;
    let event = event::parse(&body, Timestamp::now())?;
    drop(body);
    let event_id = event.event_id;
    let mut event_timestamp = event.event_timestamp;
    let (kept, new) = api.keep(Batch::with_room(vec![event], room)).await?;
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
    let (body, room) = api.body(request).await?;
    let events = event::parse_batch(&body, Timestamp::now())?;
    drop(body);
    let event_ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
    Ok(match api.keep(Batch::with_room(events, room)).await?.0 {
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
    RawQuery(text): RawQuery,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    filter::check_encoding(&text.unwrap_or_default()).map_err(Problem::invalid)?;
    let filter = filter::parse(query, Timestamp::now()).map_err(Problem::invalid)?;
    let place = api.room(&api.pages, 1).await?;
    if !api.is_back(READ_BACK_TIMEOUT).await {
        return Err(Problem::unavailable("the database cannot be used at the moment"));
    }
    let page = api.postgres.list(&filter).await.map_err(|failure| {
        tracing::warn!(%failure, "events could not be read");
        Problem::unavailable("the events cannot be read at the moment")
    })?;
    let listed = Listed {
        pagination: Pagination {
            limit: filter.limit,
            offset: filter.offset,
            total: page.total,
            total_is_exact: page.total_is_exact,
            has_more: page.next.is_some(),
            next: page.next.map(|key| key.to_string()),
        },
        data: page.events,
    };
    let bytes = serde_json::to_vec(&listed).map_err(|error| {
        tracing::error!(%error, "a page could not be written as JSON");
        Problem::unavailable("the events cannot be read at the moment")
    })?;
    drop(listed);
    let body = Body::new(Parts { bytes, sent: 0, _place: place });
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A page on its way out. Its place is free again only when the client has taken it.
struct Parts {
    bytes: Vec<u8>,
    sent: usize,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let end = self.bytes.len().min(self.sent + PART_BYTES);
        let part = Bytes::copy_from_slice(&self.bytes[self.sent..end]);
        self.sent = end;
        Poll::Ready((!part.is_empty()).then_some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.bytes.len() - self.sent) as u64)
    }
}

impl Api {
    /// Waits for so much of what is bounded.
    async fn room(&self, of: &Arc<Semaphore>, amount: usize) -> Result<OwnedSemaphorePermit, Problem> {
        // The settings were checked: no request may need more than there is.
        let amount = u32::try_from(amount).map_err(|_| Problem::overloaded())?;
        match timeout(self.place_deadline, Arc::clone(of).acquire_many_owned(amount)).await {
            Ok(Ok(permit)) => Ok(permit),
            // None of them is ever closed.
            Ok(Err(_)) | Err(_) => Err(Problem::overloaded()),
        }
    }

    /// The body of a request that sends JSON, and the room that it takes.
    async fn body(&self, request: Request) -> Result<(Vec<u8>, OwnedSemaphorePermit), Problem> {
        let headers = request.headers();
        if !body::is_json(headers) {
            let detail = "the body must be application/json, in no content coding";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported Media Type",
                detail,
            ));
        }
        let (announced, max) = (body::announced(headers), self.max_body_bytes);
        if announced.is_some_and(|bytes| bytes > max) {
            return Err(too_large(max));
        }
        // All of it at once: bodies that wait for each other's room, each with a part of its own, would wait for ever.
        let mut room = self.room(&self.body_bytes, announced.unwrap_or(max)).await?;
        let read = body::read(request.into_body(), announced.unwrap_or_default(), max);
        let read = timeout(BODY_TIMEOUT, read).await;
        // Never 408: the network may have been slow, not the client.
        let read = read.map_err(|_| Problem::unavailable("the body did not arrive in time: send it again"))?;
        let bytes = read.map_err(|broken| match broken {
            body::Broken::TooLarge => too_large(max),
            body::Broken::Off => Problem::invalid("the body broke off, or is not encoded as the headers say"),
        })?;
        drop(room.split(room.num_permits().saturating_sub(bytes.capacity())));
        Ok((bytes, room))
    }

    /// Keeps all events, in PostgreSQL or else in the queue, and tells how many of them were new where
    /// PostgreSQL has them.
    async fn keep(&self, events: Batch) -> Result<(Kept, u64), Problem> {
        let (count, events) = (events.len(), Arc::new(events));
        let kept = self.keep_all(&events).await;
        let answer = match &kept {
            Ok((Kept::Stored, _)) => "stored",
            Ok((Kept::Queued, _)) => "queued",
            Err(_) => "refused",
        };
        self.metrics.count_events(answer, count);
        kept
    }

    async fn keep_all(&self, events: &Arc<Batch>) -> Result<(Kept, u64), Problem> {
        if self.postgres.is_up()
            && let Some(new) = self.store(events).await?
        {
            return Ok((Kept::Stored, new));
        }
        if self.enqueue(events).await {
            return Ok((Kept::Queued, 0));
        }
        if self.is_back(BACK_TIMEOUT).await
            && let Some(new) = self.store(events).await?
        {
            return Ok((Kept::Stored, new));
        }
        Err(Problem::unavailable("neither the database nor the queue can take events at the moment"))
    }

    /// Whether PostgreSQL can be used, at least in a moment: it counts as down after any failure until it was asked, which
    /// is a matter of milliseconds when nothing is wrong with it.
    async fn is_back(&self, wait: Duration) -> bool {
        let mut state = self.postgres.state();
        timeout(wait, state.wait_for(|state| state.is_up())).await.is_ok_and(|state| state.is_ok())
    }

    /// How many events were new, or nothing if PostgreSQL does not work.
    async fn store(&self, events: &Arc<Batch>) -> Result<Option<u64>, Problem> {
        let reason = match self.postgres.insert(events.clone(), self.write_wait).await {
            Ok(new) => return Ok(Some(new)),
            Err(Failure::Outage(_) | Failure::Busy(_)) => return Ok(None),
            Err(Failure::Refused(reason)) => {
                tracing::warn!(reason, "PostgreSQL takes no events, though it answers");
                return Ok(None);
            }
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

fn too_large(max_bytes: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload-too-large",
        "Payload Too Large",
        format!("the body is larger than {max_bytes} bytes"),
    )
}
