//! Takes in a request's body, and no more of it than may be, and only what it is said to be.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use futures::StreamExt as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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

/// Whether the headers say that the body is JSON, as it is: without a type, or with one, and in no content coding.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_type = types.next().is_none_or(is_json_type) && types.next().is_none();
    is_type && headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding.as_bytes() == b"identity")
}

fn is_json_type(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// A JSON object. What is derived for a struct alone takes an array of its values as well.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMembers<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMembers<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(OfMembers(PhantomData))
    }
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
