//! Writing events: one statement for one event as for five hundred, from a request as from the queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::failure::{blames_the_event, lacks_partition};
use super::{Failure, Postgres, no_connection, schema};
use crate::config::millis;
use crate::event::{AuditEvent, Batch};

/// An event_id that is new is entered in audit_event_ids, and its event written, in one atomic statement.
/// A second writer of the same id waits at the first table until the first has committed or failed.
const INSERT: &str = "
WITH sent AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[]::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[],
        $17::uuid[]
    ) AS sent (
        event_id, event_timestamp, version, event_type, event_category, event_action, event_outcome,
        correlation_id, event_data, actor_type, actor_id, resource_type, resource_id, namespace, severity,
        duration_ms, parent_event_id
    )
), new AS (
    INSERT INTO audit_event_ids (event_id, event_timestamp)
    SELECT event_id, event_timestamp FROM sent
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
)
INSERT INTO audit_events (
    event_id, event_date, event_timestamp, version, event_type, event_category, event_action, event_outcome,
    correlation_id, event_data, actor_type, actor_id, resource_type, resource_id, namespace, severity,
    duration_ms, parent_event_id
)
SELECT
    event_id, (event_timestamp AT TIME ZONE 'UTC')::date, event_timestamp, version, event_type, event_category,
    event_action, event_outcome, correlation_id, event_data::jsonb, actor_type, actor_id, resource_type,
    resource_id, namespace, severity, duration_ms, parent_event_id
FROM sent JOIN new USING (event_id)";

impl Postgres {
    /// Writes all events, or none; those whose id is already there count as written.
    ///
    /// Returns how many of them were new.
    ///
    /// # Errors
    /// A [`Failure`]. After an outage the events may have been written nevertheless, or be written yet:
    /// to write them again is harmless.
    pub async fn insert(self: &Arc<Self>, events: Arc<Batch>, wait: Duration) -> Result<u64, Failure> {
        // A statement that takes too long for this caller goes on for a while: to break it off would cost
        // its connection, and new connections are what a busy machine can afford least.
        let deadline = Instant::now() + wait.max(millis(self.config.read_timeout_ms));
        let taken = Arc::new(AtomicBool::new(false));
        let (postgres, begin) = (self.clone(), taken.clone());
        let write = tokio::spawn(async move { postgres.insert_until(&events, deadline, &begin).await });
        let result = match timeout(wait, write).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(Failure::Outage(error.to_string())),
            Err(_) if taken.swap(true, Ordering::SeqCst) => {
                Err(Failure::Outage(format!("a write was not answered within {wait:?}")))
            }
            Err(_) => Err(no_connection()),
        };
        result.inspect_err(|failure| self.report(failure))
    }

    /// Writes the events unless `taken` is set before there is a connection, and sets it.
    async fn insert_until(&self, events: &[AuditEvent], deadline: Instant, taken: &AtomicBool) -> Result<u64, Failure> {
        // A fixed order, so that two writers of the same ids wait for each other and not in a circle.
        let mut rows: Vec<&AuditEvent> = events.iter().collect();
        rows.sort_by_key(|event| event.event_id);
        rows.dedup_by_key(|event| event.event_id);
        let months: BTreeSet<_> = rows.iter().map(|event| schema::month_of(event.event_timestamp)).collect();
        self.with_connection(deadline, async |connection| {
            if taken.swap(true, Ordering::SeqCst) {
                return Err(sqlx::Error::PoolTimedOut);
            }
            self.ensure_months(connection, months.iter().copied()).await?;
            match write(connection, &rows).await {
                Err(error) if lacks_partition(&error) => {
                    self.months().clear();
                    self.ensure_months(connection, months.iter().copied()).await?;
                    write(connection, &rows).await
                }
                result => result,
            }
        })
        .await
    }

    /// Finds out whether an event of that time could be written, and writes none.
    ///
    /// # Errors
    /// The [`Failure`] that it would meet.
    pub async fn try_insert(&self, time: Timestamp, wait: Duration) -> Result<(), Failure> {
        let event = AuditEvent::plain(time);
        self.with_connection(Instant::now() + wait, async |connection| {
            let mut transaction = connection.begin().await?;
            write(&mut transaction, &[&event]).await.map(drop)
        })
        .await
    }

    /// Which of the events is the first that PostgreSQL refuses. Nothing is written.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn first_refused(&self, events: &[AuditEvent], wait: Duration) -> Result<Option<usize>, Failure> {
        self.with_connection(Instant::now() + wait, async |connection| {
            let mut transaction = connection.begin().await?;
            for (index, event) in events.iter().enumerate() {
                match write(&mut transaction, &[event]).await {
                    Ok(_) => {}
                    Err(error) if blames_the_event(&error) => return Ok(Some(index)),
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        })
        .await
    }
}

async fn write(connection: &mut PgConnection, events: &[&AuditEvent]) -> sqlx::Result<u64> {
    fn column<'a, T>(events: &[&'a AuditEvent], value: impl Fn(&'a AuditEvent) -> T) -> Vec<T> {
        events.iter().map(|event| value(event)).collect()
    }
    let done = sqlx::query(INSERT)
        .bind(column::<Uuid>(events, |event| event.event_id))
        // As text, which PostgreSQL reads exactly: this spares a date type of its own.
        .bind(column(events, |event| event.event_timestamp.to_string()))
        .bind(column(events, |event| event.version.as_str()))
        .bind(column(events, |event| event.event_type.as_str()))
        .bind(column(events, |event| event.event_category.as_str()))
        .bind(column(events, |event| event.event_action.as_str()))
        .bind(column(events, |event| event.event_outcome.as_str()))
        .bind(column(events, |event| event.correlation_id.as_str()))
        .bind(column(events, |event| event.event_data.get()))
        .bind(column(events, |event| event.actor_type.as_deref()))
        .bind(column(events, |event| event.actor_id.as_deref()))
        .bind(column(events, |event| event.resource_type.as_deref()))
        .bind(column(events, |event| event.resource_id.as_deref()))
        .bind(column(events, |event| event.namespace.as_deref()))
        .bind(column(events, |event| event.severity.as_deref()))
        .bind(column(events, |event| event.duration_ms))
        .bind(column(events, |event| event.parent_event_id))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
