//! The queue in Redis, for events that PostgreSQL could not take at once.
//!
//! An event counts as queued when Redis has answered, and Redis answers when its append-only file is on
//! disk: a server that is set up otherwise is not used. An answer that was lost may leave an event in
//! the queue twice; its id makes that harmless.

mod drain;
mod link;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::timeout;

pub use drain::drain;
pub use link::State;
use link::{Link, broken};

use crate::config::{self, millis};
use crate::event::AuditEvent;

/// The stream of events that wait for PostgreSQL. Each entry has one field, `event`, with its JSON.
pub const STREAM: &str = "audit:dlq:events";
/// The stream of entries that PostgreSQL refused: their own fields, and why they are here.
pub const DEAD_LETTERS: &str = "audit:dead-letter:events";
/// A hash from entry to how often PostgreSQL refused it.
const TRIES: &str = "audit:dlq:tries";
const GROUP: &str = "datastorage";

/// Adds all events or none, and none when the queue would grow beyond its limit.
const PUSH: &str = "
if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then
    return redis.error_reply('FULL the queue has reached its limit')
end
for i = 2, #ARGV do
    redis.call('XADD', KEYS[1], '*', 'event', ARGV[i])
end
return #ARGV - 1";

const ASK_EVERY: Duration = Duration::from_secs(1);

/// The queue, and what is known about the server that holds it.
pub struct Queue {
    link: Link,
    max_events: u64,
    wait: Duration,
}

impl Queue {
    pub fn new(redis: &config::Redis, queue: &config::Queue) -> Queue {
        Queue { link: Link::new(redis), max_events: queue.max_events, wait: millis(redis.timeout_ms) * 2 }
    }

    pub fn state(&self) -> watch::Receiver<State> {
        self.link.state()
    }

    /// Queues all events. Once it has returned they outlive a crash of Redis.
    ///
    /// # Errors
    /// When Redis did not say that it has them. It may have them all the same.
    pub async fn push(&self, events: &[AuditEvent]) -> Result<()> {
        let mut command = redis::cmd("EVAL");
        command.arg(PUSH).arg(1).arg(STREAM).arg(self.max_events);
        for event in events {
            command.arg(serde_json::to_string(event).context("writing an event as JSON")?);
        }
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
            .with_context(|| format!("adding {} events to the queue {STREAM}", events.len()))
    }

    /// Asks after Redis each second until `stop` turns true.
    pub async fn watch(self: Arc<Queue>, mut stop: watch::Receiver<bool>) {
        loop {
            let mut length = redis::cmd("XLEN");
            let asked = timeout(self.wait, self.link.run::<u64>(length.arg(STREAM))).await;
            match asked.context("asking after Redis: no answer").flatten() {
                Ok(length) => self.link.set(State::Up { length }),
                Err(error) => self.link.set(State::Down(format!("{error:#}"))),
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}
