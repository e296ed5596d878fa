//! Reading events back.

use std::fmt;
use std::str::FromStr;

use futures::TryStreamExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Postgres as Pg, QueryBuilder, Row};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Failure, Postgres};
use crate::config::millis;
use crate::event::AuditEvent;

const COLUMNS: &str = "
    event_id, version, event_type, (extract(epoch FROM event_timestamp) * 1000000)::bigint AS event_us,
    event_category, event_action, event_outcome, correlation_id, event_data::text AS event_data, actor_type, actor_id,
    resource_type, resource_id, namespace, severity, duration_ms, parent_event_id,
    (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_us";

/// The columns that an index finds the newest events for.
const INDEXED: [&str; 2] = ["correlation_id", "event_type"];

/// The id settles the order of events of the same time, so that pages do not overlap.
const ORDER: &str = " ORDER BY event_timestamp DESC, event_id DESC";
const FETCH: &str = "FETCH 32 FROM page";
/// What the events of a page may take together, but for the last of them.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// About what a row takes beside its `event_data`.
const FRAME_BYTES: usize = 1024;
/// The rows that a page looks through, at most, for values that no index leads to.
const SCAN_MAX: i64 = 20_000;
/// So far events are counted where nobody asks for more.
const TOTAL_MAX: i64 = 1_000;

/// Which events are wanted; what is not set does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Column and value, for the columns that are compared for equality.
    pub equal: Vec<(&'static str, String)>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only what comes behind this event.
    pub after: Option<Key>,
    pub limit: i64,
    pub offset: i64,
    /// Whether all that match are to be counted, however many they are.
    pub count_all: bool,
}

/// The place of an event in the order of all: by time, and by id where they are of the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub time: Timestamp,
    pub id: Uuid,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.time.as_microsecond(), self.id.simple())
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Key, ()> {
        let (time, id) = text.split_once('_').ok_or(())?;
        let time = time.parse().ok().and_then(|time| Timestamp::from_microsecond(time).ok()).ok_or(())?;
        Ok(Key { time, id: Uuid::try_parse(id).map_err(|_| ())? })
    }
}

/// An event with the time at which it was written.
#[derive(Debug, Serialize)]
pub struct Stored {
    #[serde(flatten)]
    pub event: AuditEvent,
    pub recorded_at: Timestamp,
}

impl Stored {
    fn key(&self) -> Key {
        Key { time: self.event.event_timestamp, id: self.event.event_id }
    }
}

/// A part of the events that match, newest first.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Stored>,
    /// Behind which event the rest begins, if there may be any.
    pub next: Option<Key>,
    /// How many match in all, or at least.
    pub total: i64,
    pub total_is_exact: bool,
}

impl Postgres {
    /// Reads a page and counts, both of the same moment. What that takes does not grow with the table, unless all are
    /// to be counted.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        let deadline = Instant::now() + millis(self.config.read_timeout_ms);
        self.with_connection(deadline, async |connection| {
            let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let (total, total_is_exact) = count(&mut snapshot, filter).await?;
            let (events, next) = page(&mut snapshot, filter).await?;
            snapshot.commit().await?;
            Ok(Page { events, next, total, total_is_exact })
        })
        .await
    }

    /// When the event with this id took place, as it was written first.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn timestamp_of(&self, event_id: uuid::Uuid) -> Result<Option<Timestamp>, Failure> {
        let deadline = Instant::now() + millis(self.config.write_timeout_ms);
        self.with_connection(deadline, async |connection| {
            sqlx::query(
                "SELECT (extract(epoch FROM event_timestamp) * 1000000)::bigint FROM audit_event_ids WHERE event_id = $1",
            )
            .bind(event_id)
            .fetch_optional(connection)
            .await?
            .map(|row| time(&row, 0))
            .transpose()
        })
        .await
    }
}

/// How many events match, and whether these are all.
async fn count(connection: &mut PgConnection, filter: &Filter) -> sqlx::Result<(i64, bool)> {
    let all = Filter { after: None, ..filter.clone() };
    let floor = if filter.count_all { None } else { nth(connection, &all, TOTAL_MAX).await? };
    if floor.is_some() && !all.is_narrowed() {
        return Ok((TOTAL_MAX, false));
    }
    let mut query = select("SELECT count(*)", &all, &all.equal);
    down_to(&mut query, floor);
    Ok((query.build().fetch_one(connection).await?.try_get(0)?, floor.is_none()))
}

/// The events of a page, and behind which one the next page begins.
async fn page(connection: &mut PgConnection, filter: &Filter) -> sqlx::Result<(Vec<Stored>, Option<Key>)> {
    let floor = if filter.is_narrowed() { nth(connection, filter, SCAN_MAX - 1).await? } else { None };
    let mut query = select(&format!("DECLARE page NO SCROLL CURSOR FOR SELECT {COLUMNS}"), filter, &filter.equal);
    down_to(&mut query, floor);
    query.push(ORDER).push(" LIMIT ").push_bind(filter.limit + 1).push(" OFFSET ").push_bind(filter.offset);
    query.build().execute(&mut *connection).await?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let (mut events, mut bytes): (Vec<Stored>, usize) = (Vec::new(), 0);
    loop {
        // A few at a time, for nobody can tell the server to stop in the middle; of these one by one.
        let mut rows = sqlx::query(FETCH).fetch(&mut *connection);
        let (mut is_last, mut is_full) = (true, false);
        while let Some(row) = rows.try_next().await? {
            is_last = false;
            if is_full {
                continue;
            }
            let event = stored(&row)?;
            bytes += FRAME_BYTES + event.event.event_data.get().len();
            is_full = events.len() == limit || (bytes > PAGE_BYTES && !events.is_empty());
            if !is_full {
                events.push(event);
            }
        }
        if is_full {
            let next = events.last().map(Stored::key);
            return Ok((events, next));
        }
        if is_last {
            return Ok((events, floor));
        }
    }
}

/// The event with so many others before it, where only what an index finds narrows.
async fn nth(connection: &mut PgConnection, filter: &Filter, before: i64) -> sqlx::Result<Option<Key>> {
    let what = "SELECT (extract(epoch FROM event_timestamp) * 1000000)::bigint, event_id";
    let mut query = select(what, filter, filter.by_index());
    query.push(ORDER).push(" LIMIT 1 OFFSET ").push_bind(before);
    let row = query.build().fetch_optional(connection).await?;
    row.map(|row| Ok(Key { time: time(&row, 0)?, id: row.try_get(1)? })).transpose()
}

impl Filter {
    /// What an index leads to the newest events of: of several such values the first, which the fewest have.
    fn by_index(&self) -> &[(&'static str, String)] {
        let first = INDEXED.iter().find_map(|column| self.equal.iter().position(|(name, _)| name == column));
        first.map_or(&[], |at| &self.equal[at..=at])
    }

    /// Whether more is asked for than an index finds.
    fn is_narrowed(&self) -> bool {
        self.by_index().len() < self.equal.len()
    }
}

/// A statement with the values that fit this filter only, so that the planner sees which index serves it.
fn select(what: &str, filter: &Filter, equal: &[(&'static str, String)]) -> QueryBuilder<Pg> {
    let mut query = QueryBuilder::new(format!("{what} FROM audit_events WHERE true"));
    for (column, value) in equal {
        query.push(format_args!(" AND {column} = ")).push_bind(value.clone());
    }
    let after = filter.after.map(|key| key.time);
    for (comparison, bound) in [(">=", filter.since), ("<=", filter.until), ("<=", after)] {
        if let Some(bound) = bound {
            bound_time(&mut query, comparison, bound);
        }
    }
    if let Some(key) = filter.after {
        bound_key(&mut query, "<", key);
    }
    query
}

/// Ends a selection with this event, which still belongs to it.
fn down_to(query: &mut QueryBuilder<Pg>, floor: Option<Key>) {
    if let Some(key) = floor {
        bound_time(query, ">=", key.time);
        bound_key(query, ">=", key);
    }
}

fn bound_time(query: &mut QueryBuilder<Pg>, comparison: &str, time: Timestamp) {
    query.push(format_args!(" AND event_timestamp {comparison} ")).push_bind(time.to_string());
    // The date leaves out whole partitions.
    query.push(format_args!("::text::timestamptz AND event_date {comparison} "));
    query.push_bind(time.to_zoned(TimeZone::UTC).date().to_string()).push("::text::date");
}

fn bound_key(query: &mut QueryBuilder<Pg>, comparison: &str, key: Key) {
    query.push(format_args!(" AND (event_timestamp, event_id) {comparison} (")).push_bind(key.time.to_string());
    query.push("::text::timestamptz, ").push_bind(key.id).push(")");
}

fn stored(row: &PgRow) -> sqlx::Result<Stored> {
    let event = AuditEvent {
        event_id: row.try_get("event_id")?,
        version: row.try_get("version")?,
        event_type: row.try_get("event_type")?,
        event_timestamp: time(row, "event_us")?,
        event_category: row.try_get("event_category")?,
        event_action: row.try_get("event_action")?,
        event_outcome: row.try_get("event_outcome")?,
        correlation_id: row.try_get("correlation_id")?,
        event_data: RawValue::from_string(row.try_get("event_data")?)
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        actor_type: row.try_get("actor_type")?,
        actor_id: row.try_get("actor_id")?,
        resource_type: row.try_get("resource_type")?,
        resource_id: row.try_get("resource_id")?,
        namespace: row.try_get("namespace")?,
        severity: row.try_get("severity")?,
        duration_ms: row.try_get("duration_ms")?,
        parent_event_id: row.try_get("parent_event_id")?,
    };
    Ok(Stored { event, recorded_at: time(row, "recorded_us")? })
}

fn time<I: sqlx::ColumnIndex<PgRow>>(row: &PgRow, column: I) -> sqlx::Result<Timestamp> {
    Timestamp::from_microsecond(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}
