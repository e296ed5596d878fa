//! An audit event: what a client may send, and the checks that stand between it and the database.

mod payload;

use jiff::{SignedDuration, Timestamp};
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serving::body::Object;
use serving::text::{cut_chars, not_json};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

/// What an event may be about.
pub const CATEGORIES: [&str; 7] =
    ["gateway", "notification", "analysis", "signalprocessing", "workflow", "execution", "orchestration"];
/// How what it reports ended.
pub const OUTCOMES: [&str; 3] = ["success", "failure", "pending"];
/// The most events that one batch may hold.
pub const BATCH_MAX: usize = 500;

const REPEATED_CHARS_MAX: usize = 80;

/// How far the clock of a client may be ahead of this one.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);
const AGE_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An event that passed every check. It is written to PostgreSQL as it is, and to the queue as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditEvent {
    pub event_id: Uuid,
    pub version: String,
    pub event_type: String,
    /// In whole microseconds, which is what PostgreSQL keeps.
    pub event_timestamp: Timestamp,
    pub event_category: String,
    pub event_action: String,
    pub event_outcome: String,
    pub correlation_id: String,
    /// A JSON object, as the client wrote it.
    pub event_data: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_event_id: Option<Uuid>,
}

impl AuditEvent {
    /// The least that an event holds.
    pub(crate) fn plain(event_timestamp: Timestamp) -> AuditEvent {
        let text = || "none".to_owned();
        AuditEvent {
            event_id: Uuid::now_v7(),
            version: text(),
            event_type: text(),
            event_timestamp,
            event_category: CATEGORIES[0].to_owned(),
            event_action: text(),
            event_outcome: OUTCOMES[0].to_owned(),
            correlation_id: text(),
            event_data: RawValue::from_string("{}".to_owned()).unwrap_or_default(),
            actor_type: None,
            actor_id: None,
            resource_type: None,
            resource_id: None,
            namespace: None,
            severity: None,
            duration_ms: None,
            parent_event_id: None,
        }
    }
}

/// Events that are written together, and the room that they take for as long as somebody works with them.
#[derive(Debug)]
pub struct Batch {
    events: Vec<AuditEvent>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    pub fn new(events: Vec<AuditEvent>) -> Batch {
        Batch { events, _room: None }
    }

    /// `room` is given back when nobody has the events any more.
    pub(crate) fn with_room(events: Vec<AuditEvent>, room: OwnedSemaphorePermit) -> Batch {
        Batch { events, _room: Some(room) }
    }
}

impl std::ops::Deref for Batch {
    type Target = [AuditEvent];

    fn deref(&self) -> &[AuditEvent] {
        &self.events
    }
}

/// An event as it came over the wire. A key that is not listed is refused: an audit trail that drops
/// what it was told in silence is worse than an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submitted {
    event_id: Option<String>,
    version: Option<String>,
    event_type: Option<String>,
    event_timestamp: Option<String>,
    event_category: Option<String>,
    event_action: Option<String>,
    event_outcome: Option<String>,
    correlation_id: Option<String>,
    event_data: Option<Box<RawValue>>,
    actor_type: Option<String>,
    actor_id: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    namespace: Option<String>,
    severity: Option<String>,
    duration_ms: Option<i64>,
    parent_event_id: Option<String>,
}

/// Why a body was refused, in words for the client.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The place in the batch, counted from 0, of the event that is to blame.
    pub index: Option<usize>,
    pub reason: String,
}

impl Invalid {
    fn whole(reason: impl Into<String>) -> Invalid {
        Invalid { index: None, reason: reason.into() }
    }
}

/// Reads one event. `now` is the service's own time; an event without an id is given one.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(body: &[u8], now: Timestamp) -> Result<AuditEvent, Invalid> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Invalid::whole("the body is empty: a JSON object with the event is expected"));
    }
    check(body, now).map_err(Invalid::whole)
}

/// Reads a batch of 1 to [`BATCH_MAX`] events, in the order in which they were sent.
///
/// # Errors
/// The first event that is wrong, with its index, or what is wrong with the array itself.
pub fn parse_batch(body: &[u8], now: Timestamp) -> Result<Vec<AuditEvent>, Invalid> {
    let Items { first: items, count } = serde_json::from_slice(body)
        .map_err(|error| Invalid::whole(not_json(&error).unwrap_or("it is not an array of events".to_owned())))?;
    if items.is_empty() || count > BATCH_MAX {
        return Err(Invalid::whole(format!("a batch holds 1 to {BATCH_MAX} events, this one {count}")));
    }
    let event = |(index, item): (usize, &&RawValue)| {
        check(item.get().as_bytes(), now)
            .map_err(|reason| Invalid { index: Some(index), reason: format!("event {index}: {reason}") })
    };
    items.iter().enumerate().map(event).collect()
}

/// The items of an array: as many as a batch may hold, and how many there are.
struct Items<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Items<'de>, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items<'de>, A::Error> {
                let mut first = Vec::new();
                while first.len() < BATCH_MAX
                    && let Some(item) = items.next_element()?
                {
                    first.push(item);
                }
                let mut count = first.len();
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items { first, count })
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

fn check(json: &[u8], now: Timestamp) -> Result<AuditEvent, String> {
    let Object(submitted): Object<Submitted> = serde_json::from_slice(json).map_err(|error| fault(json, &error))?;
    let mut faults = Faults(Vec::new());
    let event = AuditEvent {
        event_id: faults.id("event_id", submitted.event_id).unwrap_or_else(Uuid::now_v7),
        version: faults.required("version", submitted.version, 20),
        event_type: faults.required("event_type", submitted.event_type, 100),
        event_timestamp: faults.time(submitted.event_timestamp, now),
        event_category: faults.one_of("event_category", submitted.event_category, &CATEGORIES),
        event_action: faults.required("event_action", submitted.event_action, 100),
        event_outcome: faults.one_of("event_outcome", submitted.event_outcome, &OUTCOMES),
        correlation_id: faults.required("correlation_id", submitted.correlation_id, 255),
        event_data: faults.object(submitted.event_data),
        actor_type: faults.optional("actor_type", submitted.actor_type, 100),
        actor_id: faults.optional("actor_id", submitted.actor_id, 255),
        resource_type: faults.optional("resource_type", submitted.resource_type, 100),
        resource_id: faults.optional("resource_id", submitted.resource_id, 255),
        namespace: faults.optional("namespace", submitted.namespace, 253),
        severity: faults.optional("severity", submitted.severity, 20),
        duration_ms: faults.not_negative("duration_ms", submitted.duration_ms),
        parent_event_id: faults.id("parent_event_id", submitted.parent_event_id),
    };
    if faults.0.is_empty() { Ok(event) } else { Err(faults.0.join("; ")) }
}

/// Why an event cannot be read, and which field is to blame. How it is read is none of the client's business. To follow
/// the fields costs time, so that it is done only once something is wrong.
fn fault(json: &[u8], error: &serde_json::Error) -> String {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = serde_path_to_error::deserialize::<_, Object<Submitted>>(&mut reader).err();
    // The path of an error at the top is a dot, that of one between fields a question mark.
    let path = found.map(|found| found.path().to_string()).filter(|path| path != "." && path != "?");
    let said = error.to_string();
    let reason = match not_json(error) {
        Some(reason) => reason,
        None if said.starts_with("unknown field") => "is no field of an event".to_owned(),
        None if said.starts_with("duplicate field") => "a field is given twice".to_owned(),
        None if path.is_some() => "has a value of the wrong kind".to_owned(),
        None => "it is not a JSON object".to_owned(),
    };
    path.map_or(reason.clone(), |path| format!("{}: {reason}", cut(&path)))
}

/// So much of what a client wrote as is repeated.
pub fn cut(text: &str) -> &str {
    cut_chars(text, REPEATED_CHARS_MAX)
}

/// Checks a text that a client sent.
///
/// # Errors
/// What is wrong with it: its length in characters, or a character that PostgreSQL cannot keep.
pub fn check_text(value: &str, max: usize) -> Result<(), String> {
    let length = value.chars().count();
    if length == 0 || length > max {
        return Err(format!("must have 1 to {max} characters, has {length}"));
    }
    if value.contains('\0') {
        return Err("holds the character U+0000, which cannot be stored".to_owned());
    }
    Ok(())
}

/// Checks that a text is one of a list.
///
/// # Errors
/// The list.
pub fn check_one_of(value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) { Ok(()) } else { Err(format!("must be one of {}", allowed.join(", "))) }
}

/// Everything that is wrong with an event, so that a client can mend it in one go. After a fault the
/// value that a check returns is a stand-in that never leaves [`check`].
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, field: &str, reason: impl AsRef<str>) {
        self.0.push(format!("{field}: {}", reason.as_ref()));
    }

    fn present<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(field, "is required");
        }
        value
    }

    fn optional(&mut self, field: &str, value: Option<String>, max: usize) -> Option<String> {
        if let Some(Err(reason)) = value.as_deref().map(|value| check_text(value, max)) {
            self.add(field, reason);
        }
        value
    }

    fn required(&mut self, field: &str, value: Option<String>, max: usize) -> String {
        let value = self.present(field, value);
        self.optional(field, value, max).unwrap_or_default()
    }

    fn one_of(&mut self, field: &str, value: Option<String>, allowed: &[&str]) -> String {
        let value = self.present(field, value);
        if let Some(Err(reason)) = value.as_deref().map(|value| check_one_of(value, allowed)) {
            self.add(field, reason);
        }
        value.unwrap_or_default()
    }

    fn not_negative(&mut self, field: &str, value: Option<i64>) -> Option<i64> {
        if value.is_some_and(|value| value < 0) {
            self.add(field, "must not be negative");
        }
        value
    }

    fn id(&mut self, field: &str, value: Option<String>) -> Option<Uuid> {
        match value?.parse::<Uuid>() {
            // All clients that forget to set an id send this one, and would shadow each other.
            Ok(id) if id.is_nil() => {
                self.add(field, "is the nil UUID");
                Some(id)
            }
            Ok(id) => Some(id),
            Err(_) => {
                self.add(field, "is not a UUID");
                None
            }
        }
    }

    fn time(&mut self, value: Option<String>, now: Timestamp) -> Timestamp {
        let Some(value) = self.present("event_timestamp", value) else { return now };
        let Ok(time) = value.parse::<Timestamp>() else {
            self.add("event_timestamp", "is not an RFC 3339 time such as 2025-12-01T09:30:00Z");
            return now;
        };
        let age = now.duration_since(time);
        if age > AGE_MAX {
            self.add("event_timestamp", "is more than 7 days old");
        } else if age < -AHEAD_MAX {
            self.add("event_timestamp", "is more than 5 minutes ahead of the service's clock");
        }
        Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(now)
    }

    fn object(&mut self, value: Option<Box<RawValue>>) -> Box<RawValue> {
        let Some(value) = self.present("event_data", value) else { return RawValue::NULL.to_owned() };
        if let Err(reason) = payload::check_object(value.get()) {
            self.add("event_data", reason);
        }
        value
    }
}

#[cfg(test)]
mod tests;
