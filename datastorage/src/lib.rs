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
pub mod postgres;
mod problem;
pub mod queue;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use config::{Config, millis};
use postgres::Postgres;
use queue::Queue;

/// How long the tasks behind the API have to end.
const TASKS_GRACE: Duration = Duration::from_secs(5);
const HEALTH_GRACE: Duration = Duration::from_secs(1);

/// The running service. Dropped, it ends at once; [`Service::stop`] ends it in good order.
pub struct Service {
    pub api: SocketAddr,
    pub health: SocketAddr,
    /// Ends the API.
    stop: watch::Sender<bool>,
    /// Ends what the API needs, and the health port.
    end: watch::Sender<bool>,
    serving: JoinSet<()>,
    tasks: JoinSet<()>,
}

impl Service {
    /// Starts the service. PostgreSQL and Redis need not be there yet.
    ///
    /// # Errors
    /// When it cannot listen, or a secret cannot be read.
    pub async fn start(config: Config) -> Result<Service> {
        let stop = watch::Sender::new(false);
        let end = watch::Sender::new(false);
        let grace = millis(config.http.shutdown_grace_ms);
        let postgres = Postgres::new(&config.postgres)?;
        let queue = Arc::new(Queue::new(&config.redis, &config.queue));

        let mut tasks = JoinSet::new();
        tasks.spawn(postgres::keep(postgres.clone(), end.subscribe()));
        tasks.spawn(queue.clone().watch(end.subscribe()));
        let wait = millis(config.postgres.read_timeout_ms);
        tasks.spawn(queue::drain(queue.clone(), postgres.clone(), config.queue, wait, end.subscribe()));

        let health = health::Health { postgres: postgres.clone(), queue: queue.clone(), stop: stop.subscribe() };
        let (listener, health_address) = listen(&config.listen.health, "listen.health").await?;
        tasks.spawn(serve::serve(listener, health::router(health), end.subscribe(), HEALTH_GRACE));

        let api = api::Api {
            postgres,
            queue,
            max_body_bytes: config.http.max_body_bytes,
            write_wait: millis(config.postgres.write_timeout_ms),
        };
        let (listener, api_address) = listen(&config.listen.api, "listen.api").await?;
        let mut serving = JoinSet::new();
        serving.spawn(serve::serve(listener, api::router(api, &config.http), stop.subscribe(), grace));

        tracing::info!(api = %api_address, health = %health_address, "listening");
        Ok(Service { api: api_address, health: health_address, stop, end, serving, tasks })
    }

    /// Ends the service: it is not ready at once, finishes the requests that it is working on, and leaves
    /// the rest of the queue to its next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // Bounded by the grace that it was started with.
        self.serving.join_next().await;
        self.end.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(TASKS_GRACE, ended).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        tracing::info!("stopped");
    }
}

async fn listen(address: &str, key: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address} ({key})"))?;
    let address = listener.local_addr().context("asking for the port that was taken")?;
    Ok((listener, address))
}
