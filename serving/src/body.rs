//! Takes in a request's body, and no more of it than may be.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use futures::StreamExt as _;

/// Why a body could not be taken in.
#[derive(Debug)]
pub enum Broken {
    /// It has more bytes than may be.
    TooLarge,
    /// It broke off, or is not encoded as the headers say.
    Off,
}

/// How many bytes the headers say that the body has, if they do.
pub fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a Content-Type is that of JSON.
pub fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Reads a body of at most `max_bytes`, for which there is room for `announced` beforehand.
///
/// # Errors
/// When it is larger, or broke off.
pub async fn read(body: Body, announced: usize, max_bytes: usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::with_capacity(announced);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::debug!(%error, "a body broke off");
            Broken::Off
        })?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Broken::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
