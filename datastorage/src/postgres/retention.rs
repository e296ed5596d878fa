//! Drops the months that are older than is to be kept.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Failure, Postgres, schema};
use crate::config::millis;

const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The next look where one did not succeed: a lock may have been held by a long read.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Ids that are forgotten with one statement.
const IDS: i64 = 5_000;

/// Every partition that ends before a day, quoted.
const OLD: &str = "
SELECT quote_ident(relname) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'audit_events'::regclass AND NOT inhdetachpending
    AND substring(pg_get_expr(relpartbound, inhrelid) FROM $$TO \\('(\\d{4}-\\d\\d-\\d\\d)'\\)$$)::date <= $1::text::date
ORDER BY relname";

/// Drops what is older than `retention_months`, now and each hour, until `stop` turns true.
pub async fn retain(postgres: Arc<Postgres>, mut stop: watch::Receiver<bool>) {
    let Some(months) = postgres.config.retention_months else { return };
    let mut state = postgres.state();
    while !*stop.borrow() {
        tokio::select! {
            _ = state.wait_for(|state| state.is_up()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let first_kept = schema::month_of(Timestamp::now()).saturating_sub(i64::from(months).months());
        let pause = match tokio::select! {
            dropped = postgres.drop_before(first_kept) => dropped,
            _ = stop.wait_for(|stop| *stop) => return,
        } {
            Ok(()) => LOOK_EVERY,
            Err(failure) => {
                tracing::warn!(%failure, before = %first_kept, "old months could not be dropped");
                LOOK_AGAIN_AFTER
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Postgres {
    async fn drop_before(&self, day: Date) -> Result<(), Failure> {
        let old = self
            .with_connection(self.soon(), async |connection| {
                sqlx::query_scalar::<_, String>(OLD).bind(day.to_string()).fetch_all(connection).await
            })
            .await?;
        for partition in old {
            // The ids go first, a few at a time: until the events have gone they could only be doubled in what goes.
            let mut last = Some(Uuid::nil());
            while let Some(after) = last {
                last =
                    self.with_connection(self.soon(), async |link| forget_ids(link, &partition, after).await).await?;
            }
            self.with_connection(self.soon(), async |connection| {
                let mut transaction = connection.begin().await?;
                // Whoever reads or writes waits behind it while it waits for its lock.
                sqlx::raw_sql("SET LOCAL lock_timeout = '1s'").execute(&mut *transaction).await?;
                sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {partition}")))
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await
            })
            .await?;
            tracing::info!(partition, "an old month is dropped");
        }
        Ok(())
    }

    fn soon(&self) -> Instant {
        Instant::now() + millis(self.config.read_timeout_ms)
    }
}

/// Forgets ids of a partition's events, those behind `after`, and returns the last of them.
async fn forget_ids(connection: &mut PgConnection, partition: &str, after: Uuid) -> sqlx::Result<Option<Uuid>> {
    let forget = format!(
        "WITH ids AS (SELECT event_id FROM {partition} WHERE event_id > $1 ORDER BY event_id LIMIT {IDS}),
              forgotten AS (DELETE FROM audit_event_ids WHERE event_id IN (SELECT event_id FROM ids))
         SELECT event_id FROM ids ORDER BY event_id DESC LIMIT 1"
    );
    let row = sqlx::query(AssertSqlSafe(forget)).bind(after).fetch_optional(connection).await?;
    row.map(|row| row.try_get(0)).transpose()
}
