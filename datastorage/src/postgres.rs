//! PostgreSQL: whether it can be used, and what is done with it.
//!
//! One task, the [keeper](keep), brings the schema up to date whenever the server comes (back), and
//! asks after it each second. Requests look at what it found, so that an outage costs the first of them
//! a timeout and the others nothing.

mod failure;
mod insert;
mod query;
mod retention;
mod schema;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

pub use failure::Failure;
pub use query::{Filter, Key, Page, Stored};
pub use retention::retain;

use crate::config::{self, millis, read_secret};
use crate::metrics::Metrics;
use crate::state::{ServerState, Watched};

/// How often the keeper asks, and how often it tries while there is no answer.
const ASK_EVERY: Duration = Duration::from_secs(1);
const TRY_EVERY: Duration = Duration::from_millis(300);
/// Requests do not wait for it, and a machine that is short of time must get through it once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_secs(1);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A migration of a large table takes its time; another replica may be at it.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(600);
const PREPARE_EVERY: Duration = Duration::from_secs(3600);

/// The connections to PostgreSQL and what is known about it.
pub struct Postgres {
    config: config::Postgres,
    metrics: Arc<Metrics>,
    pool: RwLock<PgPool>,
    state: Watched<()>,
    trouble: Notify,
    /// The first days of the months whose partitions are known to be there.
    months: Mutex<BTreeSet<Date>>,
}

impl Postgres {
    /// Connects to nothing yet: that is the [keeper's](keep) part.
    ///
    /// # Errors
    /// When the password file cannot be read.
    pub(crate) fn new(config: &config::Postgres, metrics: Arc<Metrics>) -> Result<Arc<Postgres>> {
        Ok(Arc::new(Postgres {
            config: config.clone(),
            metrics,
            pool: RwLock::new(pool(config)?),
            state: Watched::new("PostgreSQL"),
            trouble: Notify::new(),
            months: Mutex::default(),
        }))
    }

    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.subscribe()
    }

    pub fn is_up(&self) -> bool {
        self.state.is_up()
    }

    /// Makes the keeper look at once, and after the schema. Until it has, PostgreSQL counts as down if it failed; but
    /// not if it had no time, or only refuses.
    fn report(&self, failure: &Failure) {
        self.metrics.count_failure(failure);
        match failure {
            Failure::Event(_) => return,
            Failure::Busy(_) | Failure::Refused(_) => {}
            Failure::Outage(reason) => self.state.set(ServerState::Down(reason.clone())),
        }
        self.trouble.notify_one();
    }

    /// Lends a connection to `work` until `deadline`.
    async fn with_connection<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Failure> {
        let mut connection = loop {
            let pool = self.pool();
            if pool.is_closed() {
                return Err(no_connection());
            }
            // In a task of its own: to connect takes a while, and a connection that comes too late for this
            // request is there for the next.
            let acquire = async move { pool.close_event().do_until(pool.acquire()).await.flatten() };
            match timeout_at(deadline, tokio::spawn(acquire)).await {
                // Another pool took its place, unless the service ends.
                Ok(Ok(Err(sqlx::Error::PoolClosed))) => {}
                Ok(Ok(connection)) => break connection?,
                Ok(Err(_)) | Err(_) => return Err(no_connection()),
            }
        };
        let result = timeout_at(deadline, work(&mut connection)).await;
        if !matches!(result, Ok(Ok(_) | Err(sqlx::Error::Database(_) | sqlx::Error::PoolTimedOut))) {
            // It may hang, or still owe the answer to what was given up.
            connection.close_on_drop();
        }
        Ok(result.map_err(|_| Failure::Outage("it did not answer in time".to_owned()))??)
    }

    fn pool(&self) -> PgPool {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was begun during an outage must not outlive it: attempts to connect that wait for an answer of a pod that is
    /// gone, or for their next try, hold the places of a pool until their time is over.
    fn renew_pool(&self) -> Result<()> {
        let new = pool(&self.config)?;
        let old = std::mem::replace(&mut *self.pool.write().unwrap_or_else(PoisonError::into_inner), new);
        tokio::spawn(close(old));
        Ok(())
    }

    fn months(&self) -> std::sync::MutexGuard<'_, BTreeSet<Date>> {
        // The set is never left half changed.
        self.months.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While one attempt is without an answer another one starts: packets of the first may go to a pod that is gone
    /// for as long as the node keeps track of that connection, and those of the second go to its successor.
    async fn connect(&self) -> Result<PgConnection> {
        let options = options(&self.config)?;
        let place = format!("{} as {}", self.config.address, self.config.user);
        let mut attempts = JoinSet::new();
        let first_answer = async {
            loop {
                let options = options.clone();
                attempts.spawn(async move { PgConnection::connect_with(&options).await });
                if let Ok(Some(answer)) = timeout(CONNECT_AGAIN_AFTER, attempts.join_next()).await {
                    return answer.context("the attempt broke off")?.map_err(anyhow::Error::from);
                }
            }
        };
        timeout(CONNECT_TIMEOUT, first_answer)
            .await
            .with_context(|| format!("connecting to {place}: no answer within {CONNECT_TIMEOUT:?}"))?
            .with_context(|| format!("connecting to {place}"))
    }

    /// Migrates, checks that a commit is durable, and makes partitions ahead of need.
    async fn prepare(&self, connection: &mut PgConnection) -> Result<()> {
        let wait = millis(self.config.read_timeout_ms);
        let late = || format!("looking after the schema: no answer within {wait:?}");
        if !timeout(wait, schema::is_current(connection)).await.with_context(late)?? {
            let migrated = timeout(MIGRATE_TIMEOUT, schema::migrate(connection)).await;
            migrated.with_context(|| format!("migrating the schema: not done within {MIGRATE_TIMEOUT:?}"))??;
        }
        let rest = async {
            if schema::commits_are_lazy(connection).await? {
                self.pool().set_connect_options(options(&self.config)?.options([("synchronous_commit", "on")]));
            }
            self.months().clear();
            match self.ensure_months(connection, schema::months_ahead(jiff::Timestamp::now())).await {
                // It is tried again with the first event that needs one.
                Err(error @ sqlx::Error::Database(_)) => {
                    tracing::error!(%error, "partitions could not be made ahead of need");
                    Ok(())
                }
                result => result.context("making partitions ahead of need"),
            }
        };
        timeout(wait, rest).await.with_context(late)?
    }

    async fn ensure_months(
        &self,
        connection: &mut PgConnection,
        months: impl IntoIterator<Item = Date>,
    ) -> sqlx::Result<()> {
        for month in months {
            if !self.months().contains(&month) {
                schema::ensure_partition(connection, month).await?;
                self.months().insert(month);
            }
        }
        Ok(())
    }
}

fn no_connection() -> Failure {
    Failure::Busy("no connection to PostgreSQL was free in time".to_owned())
}

/// Keeps PostgreSQL usable until `stop` turns true.
pub async fn keep(postgres: Arc<Postgres>, mut stop: watch::Receiver<bool>) {
    let mut link: Option<PgConnection> = None;
    // When the schema was last looked after; never, after a trouble that may come from it.
    let mut prepared: Option<Instant> = None;
    loop {
        match tend(&postgres, link.take(), &mut prepared).await {
            Ok(connection) => {
                link = Some(connection);
                postgres.state.set(ServerState::Up(()));
            }
            Err(error) => {
                prepared = None;
                postgres.state.set(ServerState::Down(format!("{error:#}")));
            }
        }
        let pause = if link.is_some() { ASK_EVERY } else { TRY_EVERY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = postgres.trouble.notified() => prepared = None,
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    close(postgres.pool()).await;
}

/// Idle connections say goodbye; one that hangs is not worth waiting for.
async fn close(pool: PgPool) {
    let _ = timeout(CLOSE_TIMEOUT, pool.close()).await;
}

/// Asks after PostgreSQL on the keeper's own connection, or on a new one, and prepares the schema where
/// that is due.
async fn tend(postgres: &Postgres, link: Option<PgConnection>, prepared: &mut Option<Instant>) -> Result<PgConnection> {
    let mut connection = match link {
        Some(connection) => connection,
        None => {
            let connection = postgres.connect().await?;
            postgres.renew_pool()?;
            connection
        }
    };
    let wait = millis(postgres.config.write_timeout_ms).min(CONNECT_TIMEOUT);
    match timeout(wait, connection.ping()).await {
        Err(_) => bail!("asking after PostgreSQL: no answer within {wait:?}"),
        Ok(Err(error)) => return Err(error).context("asking after PostgreSQL"),
        Ok(Ok(())) => {}
    }
    if prepared.is_none_or(|at| at.elapsed() > PREPARE_EVERY) {
        postgres.prepare(&mut connection).await?;
        *prepared = Some(Instant::now());
    }
    Ok(connection)
}

/// With the password that is in its file now.
fn pool(config: &config::Postgres) -> Result<PgPool> {
    let pool =
        PgPoolOptions::new().max_connections(config.max_connections).acquire_timeout(millis(config.read_timeout_ms));
    Ok(pool.connect_lazy_with(options(config)?))
}

fn options(config: &config::Postgres) -> Result<PgConnectOptions> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&config.address.host)
        .port(config.address.port)
        .database(&config.database)
        .username(&config.user)
        .ssl_mode(if config.tls.enabled { PgSslMode::VerifyFull } else { PgSslMode::Disable })
        .application_name("datastorage")
        // What nobody waits for any more shall not hold locks either.
        .options([("statement_timeout", config.read_timeout_ms), ("lock_timeout", config.read_timeout_ms)]);
    if let Some(file) = &config.tls.ca_file {
        options = options.ssl_root_cert(file);
    }
    if let Some(file) = &config.password_file {
        options = options.password(&read_secret(file)?);
    }
    Ok(options)
}
