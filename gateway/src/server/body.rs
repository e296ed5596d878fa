//! Takes in a request's body: of the right type, of now, and no larger than may be.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serving::body;
use tokio::sync::SemaphorePermit;

use super::api::App;
use crate::freshness;
use crate::problem::Problem;

const TIMESTAMP_HEADER: &str = "x-timestamp";

/// A body, and the room that it takes for as long as it is there.
pub(super) struct Received<'a> {
    pub(super) bytes: Vec<u8>,
    /// Whether a header dates it.
    pub(super) is_dated: bool,
    /// Given back when it is dropped.
    pub(super) room: SemaphorePermit<'a>,
}

/// Reads a body of at most `max_bytes`.
pub(super) async fn receive<'a>(
    app: &'a App,
    headers: &HeaderMap,
    content: Body,
    max_bytes: usize,
) -> Result<Received<'a>, Problem> {
    if !body::is_json(headers) {
        return Err(Problem::unsupported_media_type());
    }
    let timestamps: Vec<&[u8]> = headers.get_all(TIMESTAMP_HEADER).iter().map(HeaderValue::as_bytes).collect();
    if !timestamps.is_empty() {
        // Several are no time, just as several in one.
        freshness::check_header(&timestamps.join(&b','), Timestamp::now()).map_err(Problem::stale)?;
    }
    let announced = body::announced(headers);
    if announced.is_some_and(|bytes| bytes > max_bytes) {
        return Err(too_large(max_bytes));
    }
    // All of it at once: bodies that wait for each other's room, each with a part of its own, would wait for ever.
    let mut room = app.room(&app.body_bytes, announced.unwrap_or(max_bytes)).await?;
    let read = body::read(content, announced.unwrap_or_default(), max_bytes);
    let read = tokio::time::timeout(app.body_deadline, read).await.map_err(|_| Problem::body_too_slow())?;
    let bytes = read.map_err(|broken| match broken {
        body::Broken::TooLarge => too_large(max_bytes),
        body::Broken::Off => Problem::malformed("the body broke off, or is not encoded as the headers say"),
    })?;
    drop(room.split(room.num_permits().saturating_sub(bytes.capacity())));
    Ok(Received { bytes, is_dated: !timestamps.is_empty(), room })
}

fn too_large(max_bytes: usize) -> Problem {
    Problem::too_large(format!("the body is larger than {max_bytes} bytes"))
}
