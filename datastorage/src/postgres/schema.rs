//! The schema: migrations, and the partitions of the months.

use anyhow::{Context, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

/// How many months beyond the current one have their partition beforehand.
const MONTHS_AHEAD: i32 = 3;

/// In their order, from version 1 on.
const MIGRATIONS: [(&str, &str); 2] = [
    ("audit events", include_str!("../../migrations/0001_audit_events.sql")),
    ("detached partitions", include_str!("../../migrations/0002_detached_partitions.sql")),
];

/// Whether there is nothing to migrate: a quick look, that waits for no lock.
pub(super) async fn is_current(connection: &mut PgConnection) -> Result<bool> {
    let made: bool = sqlx::query_scalar(
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('audit_event_ids') IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await
    .context("looking after the schema")?;
    if !made {
        return Ok(false);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) >= $1 AND bool_and(success) FROM _sqlx_migrations")
        .bind(MIGRATIONS.len() as i64)
        .fetch_one(connection)
        .await
        .map(|current: Option<bool>| current.unwrap_or(false))
        .context("asking for the schema's version")
}

/// Applies the migrations that are missing, under PostgreSQL's advisory lock, so that replicas that
/// start at the same time do not meet. A schema that is newer than this program is left as it is: a
/// rollback must be able to start.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *connection).await?;
    let migrations = (1..).zip(MIGRATIONS).map(|(version, (name, sql))| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.context("migrating the schema")?;
    sqlx::raw_sql("RESET statement_timeout; RESET lock_timeout").execute(connection).await?;
    Ok(())
}

/// Whether the server answers a commit before it is on disk, if it is not told otherwise.
pub(super) async fn commits_are_lazy(connection: &mut PgConnection) -> Result<bool> {
    let (fsync, commit): (String, String) =
        sqlx::query_as("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            .fetch_one(connection)
            .await
            .context("asking for PostgreSQL's settings")?;
    if fsync == "off" {
        tracing::error!("PostgreSQL runs with fsync = off: a crash of its machine can lose events");
    }
    Ok(commit == "off")
}

/// The first days of the months for which events can come now or soon.
pub(super) fn months_ahead(now: Timestamp) -> impl Iterator<Item = Date> {
    let this_month = month_of(now);
    // Events may be seven days old, so that at the start of a month the one before is still in play.
    (-1..=MONTHS_AHEAD).map(move |months| this_month.saturating_add(months.months()))
}

/// The first day of the month, in UTC, that `time` is in.
pub(super) fn month_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date().first_of_month()
}

pub(super) async fn ensure_partition(connection: &mut PgConnection, month: Date) -> sqlx::Result<()> {
    sqlx::query("SELECT audit_events_ensure_partition($1::text::date)")
        .bind(month.to_string())
        .execute(connection)
        .await
        .map(drop)
}
