//! A signal: what an alert and an Event have in common once they are understood.

pub mod event;
pub mod prometheus;
pub mod target;

use std::collections::BTreeMap;
use std::fmt;

use api::{Severity, SignalType};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
pub use target::Target;

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

/// Why a body is no signal, in words for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not JSON of the right shape.
    Malformed(String),
    /// It is understood, and tells of no problem or not of what.
    Invalid(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) | Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

/// Reads RFC 3339 text or null. Go writes a time that was never set as the year 1, and null where it can; both, and
/// anything else before 1970, mean that there is none.
pub(crate) fn set_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let time = Option::<Timestamp>::deserialize(deserializer)?;
    Ok(time.filter(|time| *time >= Timestamp::UNIX_EPOCH))
}

/// Reads a value or null, which means the type's default: Go writes an empty map or list as null.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
