//! Keeps audit events in PostgreSQL, and in a queue in Redis while PostgreSQL is away.
//!
//! **Invariant**: an event that was answered 201 or 202 is in PostgreSQL exactly once, at once or after
//! PostgreSQL is back, through any restart of PostgreSQL, Redis or this service. It rests on three
//! things: an answer is given only after one of the two has the event on disk; an event leaves the queue
//! only after it is committed; and its id, which no way of writing it changes, is unique in PostgreSQL,
//! so that to write it again is harmless.

mod api;
pub mod config;
pub mod event;
mod health;
mod metrics;
pub mod postgres;
mod problem;
pub mod queue;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serving::auth::{Access, Authenticator};
use serving::listen::Listening;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use config::{Config, millis};
use metrics::Metrics;
use postgres::Postgres;
use queue::Queue;

/// How long the tasks behind the API have to end.
const TASKS_GRACE: Duration = Duration::from_secs(5);
/// How long the health and metrics listeners may take to close at the very end.
const LAST_CLOSE: Duration = Duration::from_secs(1);
/// Connections to the health listener, and to the metrics one.
const MAX_PROBES: usize = 64;
/// For one call to the Kubernetes API.
const KUBERNETES_DEADLINE: Duration = Duration::from_secs(5);

/// The running service. Dropped, it ends at once; [`Service::stop`] ends it in good order.
pub struct Service {
    pub api: SocketAddr,
    pub health: SocketAddr,
    pub metrics: SocketAddr,
    listening: [Listening; 3],
    /// Makes it unready.
    stop: watch::Sender<bool>,
    /// Ends what the API needs.
    end: watch::Sender<bool>,
    tasks: JoinSet<()>,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
}

impl Service {
    /// Starts the service. PostgreSQL and Redis need not be there yet.
    ///
    /// # Errors
    /// When it cannot listen, a secret cannot be read, or there is no Kubernetes API to ask about tokens.
    pub async fn start(config: Config) -> Result<Service> {
        let stop = watch::Sender::new(false);
        let end = watch::Sender::new(false);
        let metrics = Arc::new(Metrics::default());
        let postgres = Postgres::new(&config.postgres, metrics.clone())?;
        let queue = Arc::new(Queue::new(&config.redis, &config.queue));
        let authenticator = authenticator(&config.auth).await?;

        let probes = health::Health { postgres: postgres.clone(), queue: queue.clone(), stop: stop.subscribe() };
        let listen = async |key, address: &String, max_connections, router| {
            Listening::start(key, address, max_connections, router, problem::refusal).await
        };
        let shown = metrics::router(&metrics, postgres.clone(), queue.clone());
        let api = api::router(&config, postgres.clone(), queue.clone(), metrics.clone(), authenticator);
        let addresses = &config.listen;
        let listening = [
            listen("listen.api", &addresses.api, config.http.max_connections, api).await?,
            listen("listen.health", &addresses.health, MAX_PROBES, health::router(probes)).await?,
            listen("listen.metrics", &addresses.metrics, MAX_PROBES, shown).await?,
        ];

        let mut tasks = JoinSet::new();
        tasks.spawn(postgres::keep(postgres.clone(), end.subscribe()));
        tasks.spawn(postgres::retain(postgres.clone(), end.subscribe()));
        tasks.spawn(queue.clone().watch(end.subscribe()));
        let wait = millis(config.postgres.read_timeout_ms);
        tasks.spawn(queue::drain(queue, postgres, metrics, config.queue, wait, end.subscribe()));

        let [api, health, metrics] = [0, 1, 2].map(|at: usize| listening[at].address());
        tracing::info!(%api, %health, %metrics, "listening");
        Ok(Service {
            api,
            health,
            metrics,
            listening,
            stop,
            end,
            tasks,
            shutdown_delay: millis(config.http.shutdown_delay_ms),
            shutdown_grace: millis(config.http.shutdown_grace_ms),
        })
    }

    /// Ends the service: it is not ready at once, takes connections for a moment still, finishes the requests that it is
    /// working on, and leaves the rest of the queue to its next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        tokio::time::sleep(self.shutdown_delay).await;
        let [api, health, metrics] = self.listening;
        api.stop(self.shutdown_grace).await;
        self.end.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(TASKS_GRACE, ended).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        tokio::join!(health.stop(LAST_CLOSE), metrics.stop(LAST_CLOSE));
        tracing::info!("stopped");
    }
}

/// Who says whose a token is; nobody where anybody may use the API.
async fn authenticator(config: &config::Auth) -> Result<Option<Authenticator>> {
    if !config.enabled {
        tracing::warn!("auth.enabled is false: events are taken from anybody, and shown to anybody");
        return Ok(None);
    }
    let client = serving::kubernetes::connect().await.context("auth.enabled is true")?;
    let access = Access {
        namespace: config.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
        service: "datastorage",
        audience: Some(config.audience.clone()),
    };
    Ok(Some(Authenticator::new(client, access, KUBERNETES_DEADLINE, millis(config.cache_ttl_ms))))
}
