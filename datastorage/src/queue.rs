//! The queue in Redis, for events that PostgreSQL could not take at once.
//!
//! An event counts as queued when Redis has answered, and Redis answers when its append-only file is on
//! disk: a server that is set up otherwise is not used. An answer that was lost may leave an event in
//! the queue twice; its id makes that harmless.

mod drain;
mod entry;
mod link;
mod script;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use drain::drain;
pub use link::Length;
use link::{Link, broken};

use crate::config::{self, millis};
use crate::event::AuditEvent;
use crate::state::ServerState;

/// The stream of events that wait for PostgreSQL. Each entry has one field, `event`, with its JSON.
pub const STREAM: &str = "audit:dlq:events";
/// The stream of entries that PostgreSQL refused: their own fields, and why they are here.
pub const DEAD_LETTERS: &str = "audit:dead-letter:events";
/// A hash from entry to how often PostgreSQL refused it.
const TRIES: &str = "audit:dlq:tries";
const GROUP: &str = "datastorage";

/// What the entries of both streams take, in bytes.
const BYTES: &str = "audit:dlq:bytes";

const ASK_EVERY: Duration = Duration::from_secs(1);

/// The queue, and what is known about the server that holds it.
pub struct Queue {
    link: Link,
    max_bytes: u64,
    wait: Duration,
}

impl Queue {
    pub fn new(redis: &config::Redis, queue: &config::Queue) -> Queue {
        Queue { link: Link::new(redis), max_bytes: queue.max_bytes, wait: millis(redis.timeout_ms) * 2 }
    }

    pub fn state(&self) -> watch::Receiver<ServerState<Length>> {
        self.link.state.subscribe()
    }

    /// Queues all events. Once it has returned they outlive a crash of Redis.
    ///
    /// # Errors
    /// When Redis did not say that it has them. It may have them all the same.
    pub async fn push(&self, events: &[AuditEvent]) -> Result<()> {
        let events: Vec<String> =
            events.iter().map(serde_json::to_string).collect::<Result<_, _>>().context("writing an event as JSON")?;
        let (count, command) = (events.len(), script::push(self.max_bytes, &events));
        drop(events);
        let twice = async {
            match self.link.run::<u64>(&command).await {
                // A connection that broke says nothing about the server: it may be back already.
                Err(error) if error.downcast_ref().is_some_and(broken) => self.link.run(&command).await,
                result => result,
            }
        };
        let pushed = timeout(self.wait, twice).await;
        pushed
            .with_context(|| format!("no answer within {:?}", self.wait))
            .flatten()
            .map(drop)
            .with_context(|| format!("adding {count} events to the queue {STREAM}"))
    }

    /// Asks after Redis each second until `stop` turns true.
    pub async fn watch(self: Arc<Queue>, mut stop: watch::Receiver<bool>) {
        let look = script::look();
        loop {
            let asked = timeout(self.wait, self.link.run::<(u64, u64, u64, u64)>(&look)).await;
            match asked.context("asking after Redis: no answer").flatten() {
                Ok((length, dead_letters, bytes, oldest_ms)) => {
                    self.link.state.set(ServerState::Up(Length {
                        length,
                        dead_letters,
                        bytes,
                        oldest: millis(oldest_ms),
                    }));
                }
                Err(error) => self.link.state.set(ServerState::Down(format!("{error:#}"))),
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}
