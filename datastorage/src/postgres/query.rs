//! Reading events back.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{Connection, Postgres as Pg, QueryBuilder, Row};
use tokio::time::Instant;

use super::{Failure, Postgres};
use crate::config::millis;
use crate::event::AuditEvent;

const COLUMNS: &str = "
    event_id, version, event_type, (extract(epoch FROM event_timestamp) * 1000000)::bigint AS event_us,
    event_category, event_action, event_outcome, correlation_id, event_data::text AS event_data, actor_type, actor_id,
    resource_type, resource_id, namespace, severity, duration_ms, parent_event_id,
    (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_us";

/// Which events are wanted; what is not set does not narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Column and value, for the columns that are compared for equality.
    pub equal: Vec<(&'static str, String)>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: i64,
    pub offset: i64,
}

/// An event with the time at which it was written.
#[derive(Debug, Serialize)]
pub struct Stored {
    #[serde(flatten)]
    pub event: AuditEvent,
    pub recorded_at: Timestamp,
}

/// A part of the events that match, newest first, and how many match in all.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Stored>,
    pub total: i64,
}

impl Postgres {
    /// Reads a page and the count, both of the same moment.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        let deadline = Instant::now() + millis(self.config.read_timeout_ms);
        self.with_connection(deadline, async |connection| {
            let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let total = select("count(*)", filter).build().fetch_one(&mut *snapshot).await?.try_get(0)?;
            let mut page = select(COLUMNS, filter);
            // The id settles the order of events of the same time, so that pages do not overlap.
            page.push(" ORDER BY event_timestamp DESC, event_id DESC LIMIT ").push_bind(filter.limit);
            page.push(" OFFSET ").push_bind(filter.offset);
            let rows = page.build().fetch_all(&mut *snapshot).await?;
            snapshot.commit().await?;
            Ok(Page { events: rows.iter().map(stored).collect::<sqlx::Result<_>>()?, total })
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

/// A statement with the values that fit this filter only, so that the planner sees which index serves it.
fn select(what: &str, filter: &Filter) -> QueryBuilder<Pg> {
    let mut query = QueryBuilder::new(format!("SELECT {what} FROM audit_events WHERE true"));
    for (column, value) in &filter.equal {
        query.push(format_args!(" AND {column} = ")).push_bind(value.clone());
    }
    for (comparison, time) in [(">=", filter.since), ("<=", filter.until)] {
        if let Some(time) = time {
            query.push(format_args!(" AND event_timestamp {comparison} ")).push_bind(time.to_string());
            // The date leaves out whole partitions.
            query.push(format_args!("::text::timestamptz AND event_date {comparison} "));
            query.push_bind(time.to_zoned(TimeZone::UTC).date().to_string()).push("::text::date");
        }
    }
    query
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
