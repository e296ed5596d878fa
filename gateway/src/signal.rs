//! A signal: what an alert and an Event have in common once they are understood.

pub mod event;
pub mod prometheus;
pub mod target;

use std::borrow::Cow;
use std::collections::BTreeMap;

use api::{Severity, SignalType};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serving::body::Object;
use serving::text::{cut_chars, not_json};
pub use target::Target;

use crate::problem::{MAX_REPEATED_CHARS, Problem};
use crate::text;

/// One alert or one Event.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The alert's name or the Event's reason.
    pub name: String,
    /// Which of the two it was.
    pub signal_type: SignalType,
    /// Who sent it.
    pub source: Option<String>,
    /// How bad it says it is.
    pub severity: Severity,
    /// What it is about.
    pub target: Target,
    /// When it says it began.
    pub firing_time: Option<Timestamp>,
    /// Its labels, whole.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, whole.
    pub annotations: BTreeMap<String, String>,
    /// Its JSON text.
    pub payload: String,
}

/// A time, where one is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Option<Timestamp>);

/// Reads RFC 3339 text or null. Go writes a time that was never set as the year 1, and null where it can; both, and
/// anything else before 1970, mean that there is none. A time later than can be reckoned with is the last one that can.
pub(crate) fn set_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let Some(text) = Option::<Cow<'de, str>>::deserialize(deserializer)? else { return Ok(Time(None)) };
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) if text.starts_with("9999-12-3") => Timestamp::MAX,
        Err(_) => return Err(D::Error::custom("no RFC 3339 time")),
    };
    Ok(Time(Some(time).filter(|time| *time >= Timestamp::UNIX_EPOCH)))
}

/// Reads an object, a part of a signal; `what` it is goes into the error, which names the member that is wrong.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() && path != "." {
            let path = cut_chars(&path, MAX_REPEATED_CHARS);
            return Problem::malformed(format!("not {what}: {path} has a value of the wrong kind"));
        }
        malformed(&inner, what)
    })?;
    json.end().map_err(|error| malformed(&error, what))?;
    Ok(value)
}

/// Refuses text that could be taken and never be stored.
pub(crate) fn storable(json: &str) -> Result<(), Problem> {
    match text::has_unstorable(json) {
        true => Err(Problem::invalid(
            "a text holds the character U+0000, or half of a surrogate pair: nothing can store it",
        )),
        false => Ok(()),
    }
}

/// What is wrong with JSON text that is not `what` it should be. How the gateway reads it is none of the sender's business.
pub(crate) fn malformed(error: &serde_json::Error, what: &str) -> Problem {
    let place = || format!("line {}, column {}", error.line(), error.column());
    Problem::malformed(match not_json(error) {
        Some(reason) => reason,
        None if error.to_string().starts_with("duplicate field") => {
            format!("not {what}: a member is given twice, see {}", place())
        }
        None => format!("not {what}: a value of the wrong kind ends at {}", place()),
    })
}

/// Reads an object or null, which means the default of all its members.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.map(|Object(value)| value).unwrap_or_default())
}

/// Reads a value or null, which means the type's default: Go writes an empty map or list as null.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
