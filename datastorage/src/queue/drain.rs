//! Works off the queue: reads entries as a member of a consumer group, writes their events, and
//! acknowledges only what is committed.
//!
//! Entries that this replica has read and not yet acknowledged are *in hand*. They are its own in
//! Redis, too, so that after a crash they are read again, by this replica or by another. What they
//! hold is in memory only until its first try, and is bounded in bytes: an entry that waits for its
//! next try is read again when that is due.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::entry::{Entry, Held, read};
use super::{DEAD_LETTERS, GROUP, Queue, STREAM, TRIES, script};
use crate::config::{self, millis};
use crate::event::{BATCH_MAX, Batch};
use crate::metrics::Metrics;
use crate::postgres::{Failure, Postgres};

/// An entry is given up when PostgreSQL has refused it this often.
const TRIES_MAX: u32 = 6;
/// So many that events that are refused, and wait for their next try, do not hold up the others.
const IN_HAND_MAX: usize = 4 * BATCH_MAX;
/// What one read from Redis, and one write to PostgreSQL, may take, but for the last entry of it.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// No more is read while the entries that wait for their first try take so much.
const HELD_BYTES: usize = 2 * STEP_BYTES;
/// How often new entries are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// Entries of other replicas that are looked at with one question.
const PENDING_PAGE: usize = 1000;

/// Works off the queue until `stop` turns true.
///
/// `wait` bounds one write to PostgreSQL.
pub(crate) async fn drain(
    queue: Arc<Queue>,
    postgres: Arc<Postgres>,
    metrics: Arc<Metrics>,
    settings: config::Queue,
    wait: Duration,
    stop: watch::Receiver<bool>,
) {
    let consumer = settings.consumer.clone().unwrap_or_else(host_name);
    let mut stopped = stop.clone();
    while !*stop.borrow() {
        let result = async {
            let connection = queue.link.connect(queue.wait).await?;
            let mut drain = Drain {
                connection,
                postgres: &postgres,
                metrics: &metrics,
                consumer: &consumer,
                settings: &settings,
                wait,
                in_hand: BTreeMap::new(),
                held_bytes: 0,
                left: HashSet::new(),
                before: Some("0".to_owned()),
                share: BATCH_MAX,
                claimed: None,
            };
            drain.open().await?;
            drain.work(stop.clone()).await
        };
        if let Err(error) = result.await {
            tracing::debug!(error = format!("{error:#}"), "working off the queue was interrupted");
        }
        tokio::select! {
            () = tokio::time::sleep(REOPEN_AFTER) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }
}

/// In a pod its name, which no other replica has.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "datastorage".to_owned() } else { name.trim().to_owned() }
}

struct Drain<'a> {
    connection: MultiplexedConnection,
    postgres: &'a Arc<Postgres>,
    metrics: &'a Metrics,
    consumer: &'a str,
    settings: &'a config::Queue,
    wait: Duration,
    /// By id, which is nearly the order of age.
    in_hand: BTreeMap<String, InHand>,
    /// What the entries in hand hold together.
    held_bytes: usize,
    /// Entries of a newer version. They stay in the queue for it, and are not taken over again.
    left: HashSet<String>,
    /// Up to where this replica has taken up again what it had in hand before; nothing once that is all.
    before: Option<String>,
    /// How many events are written at once. Failures make it smaller, down to one, so that an event that
    /// PostgreSQL refuses, or that even brings it down, does not hold up the others for long.
    share: usize,
    /// When entries were last taken over from other replicas.
    claimed: Option<Instant>,
}

struct InHand {
    /// Nothing once it was tried: then it is read again.
    held: Option<Held>,
    due: Instant,
    /// The pause after the next failure.
    pause: Duration,
}

/// Events that are written together, and the ids of their entries.
struct Share {
    ids: Vec<String>,
    events: Arc<Batch>,
}

impl Drain<'_> {
    async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connection).await
    }

    /// Makes the group where it is missing, and measures the queue anew, which people may have changed.
    async fn open(&mut self) -> Result<()> {
        let mut create = redis::cmd("XGROUP");
        // From the very first entry: events may have been queued before there was a group.
        create.arg("CREATE").arg(STREAM).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.run::<()>(&create).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error).context("making the consumer group"),
            _ => {}
        }
        self.run::<()>(&script::measure()).await.context("measuring the queue")
    }

    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut state = self.postgres.state();
        while !*stop.borrow() {
            if !self.postgres.is_up() {
                tokio::select! {
                    _ = state.wait_for(|state| state.is_up()) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                continue;
            }
            self.claim().await?;
            let is_more = self.has_room() && self.take_next().await?;
            self.attempt().await?;
            if !is_more {
                tokio::select! {
                    () = tokio::time::sleep(self.until_due()) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
        }
        Ok(())
    }

    /// How long there is nothing to do, at most [`LOOK_EVERY`].
    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let next = self.in_hand.values().map(|entry| entry.due.saturating_duration_since(now)).min();
        next.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
    }

    fn has_room(&self) -> bool {
        self.in_hand.len() < IN_HAND_MAX && self.held_bytes < HELD_BYTES
    }

    /// Reads what this replica had in hand before, then new entries, and tells whether there were any.
    async fn take_next(&mut self) -> Result<bool> {
        let is_again = self.before.is_some();
        let command = script::take(self.consumer, self.before.as_deref().unwrap_or(">"), BATCH_MAX, STEP_BYTES);
        let entries: Vec<Entry> = self.run(&command).await.context("reading the queue")?;
        if is_again {
            self.before = entries.last().map(|(id, _)| id.clone());
        }
        let is_more = is_again || !entries.is_empty();
        self.take(entries).await?;
        Ok(is_more)
    }

    /// Takes over what other replicas have had in hand for too long.
    async fn claim(&mut self) -> Result<()> {
        let idle_ms = self.settings.claim_idle_ms;
        if self.claimed.is_some_and(|at| at.elapsed() < millis(idle_ms) / 2) {
            return Ok(());
        }
        let mut after = "-".to_owned();
        while self.has_room() {
            let mut command = redis::cmd("XPENDING");
            command.arg(STREAM).arg(GROUP).arg("IDLE").arg(idle_ms).arg(&after).arg("+").arg(PENDING_PAGE);
            let pending: Vec<(String, String, u64, u64)> =
                self.run(&command).await.context("looking for entries that were left in hand")?;
            let Some((last, ..)) = pending.last() else { break };
            after = format!("({last}");
            let ids = pending.iter().map(|(id, ..)| id);
            let ids: Vec<&String> =
                ids.filter(|id| !self.in_hand.contains_key(*id) && !self.left.contains(*id)).collect();
            if !ids.is_empty() {
                let command = script::claim(self.consumer, idle_ms, STEP_BYTES, &ids);
                let entries: Vec<Entry> = self.run(&command).await.context("taking over entries of other replicas")?;
                self.take(entries).await?;
            }
        }
        self.run::<()>(&script::tidy()).await.context("forgetting old consumers")?;
        self.claimed = Some(Instant::now());
        Ok(())
    }

    async fn take(&mut self, entries: Vec<Entry>) -> Result<()> {
        let mut gone = Vec::new();
        for (id, fields) in entries {
            let Some(fields) = fields else {
                gone.push(id);
                continue;
            };
            let held = read(&fields);
            if matches!(held, Held::Newer) {
                if self.left.insert(id.clone()) {
                    tracing::warn!(entry = id, "an event of the queue is left to the newer version that queued it");
                }
                continue;
            }
            // An entry in hand that is read again keeps its place in time.
            if !self.in_hand.contains_key(&id) {
                self.held_bytes += held.bytes();
                let pause = millis(self.settings.retry_base_ms);
                self.in_hand.insert(id, InHand { held: Some(held), due: Instant::now(), pause });
            }
        }
        if gone.is_empty() { Ok(()) } else { self.acknowledge(&gone).await }
    }

    /// Tries what is due.
    async fn attempt(&mut self) -> Result<()> {
        let now = Instant::now();
        let due = self.in_hand.iter().filter(|(_, entry)| entry.due <= now).take(BATCH_MAX);
        let mut due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        due.reverse();
        let (mut written, mut failed) = (0, false);
        while !due.is_empty() {
            let Share { ids, events } = self.gather(&mut due).await?;
            let Some(first) = events.first() else { continue };
            let time = first.event_timestamp;
            match self.postgres.insert(events, self.wait).await {
                Ok(_) => {
                    self.acknowledge(&ids).await?;
                    written += ids.len();
                }
                Err(Failure::Event(reason)) if ids.len() == 1 => self.refused(&ids[0], &reason).await?,
                Err(Failure::Refused(reason)) if ids.len() == 1 => {
                    failed = true;
                    // The entry is to blame only where another event would have been written.
                    match self.postgres.try_insert(time, self.wait).await {
                        Ok(()) => self.refused(&ids[0], &reason).await?,
                        Err(_) => {
                            tracing::warn!(reason, "PostgreSQL takes no events, though it answers");
                            self.postpone(&ids[0]);
                            break;
                        }
                    }
                }
                Err(Failure::Event(_) | Failure::Refused(_)) => failed = true,
                Err(Failure::Outage(_) | Failure::Busy(_)) => {
                    failed = true;
                    ids.iter().for_each(|id| self.postpone(id));
                    break;
                }
            }
        }
        if written > 0 {
            self.metrics.worked_off.inc_by(written as u64);
            tracing::info!(events = written, "events of the queue are written");
        }
        self.share = if failed { self.share.div_ceil(8) } else { (self.share * 8).min(BATCH_MAX) };
        Ok(())
    }

    /// Takes events for one write from the end of `due`, and reads those again that were tried before.
    async fn gather(&mut self, due: &mut Vec<String>) -> Result<Share> {
        let (mut ids, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
        while ids.len() < self.share && bytes < STEP_BYTES {
            let Some(id) = due.pop() else { break };
            let held = match self.in_hand.get_mut(&id).and_then(|entry| entry.held.take()) {
                Some(held) => {
                    self.held_bytes -= held.bytes();
                    held
                }
                None => {
                    let mut again = redis::cmd("XRANGE");
                    again.arg(STREAM).arg(&id).arg(&id);
                    let found: Vec<Entry> = self.run(&again).await.context("reading an entry again")?;
                    match found.first().and_then(|(_, fields)| fields.as_ref()) {
                        Some(fields) => read(fields),
                        // Another replica has settled it.
                        None => {
                            self.in_hand.remove(&id);
                            continue;
                        }
                    }
                }
            };
            match held {
                Held::Event { event, bytes: more } => {
                    bytes += more;
                    events.push(*event);
                    ids.push(id);
                }
                Held::Unreadable(reason) => self.refused(&id, &reason).await?,
                Held::Newer => {
                    self.in_hand.remove(&id);
                }
            }
        }
        Ok(Share { ids, events: Batch::new(events).into() })
    }

    async fn acknowledge(&mut self, ids: &[String]) -> Result<()> {
        self.run::<()>(&script::settle(ids)).await.context("acknowledging entries of the queue")?;
        for id in ids {
            self.forget(id);
        }
        Ok(())
    }

    /// Counts a try of an entry that is itself to blame. The count is kept in Redis, so that it goes on
    /// after a restart.
    async fn refused(&mut self, id: &str, reason: &str) -> Result<()> {
        let mut get = redis::cmd("HGET");
        let before: Option<u32> = self.run(get.arg(TRIES).arg(id)).await.context("reading an entry's tries")?;
        let tries = before.unwrap_or(0) + 1;
        if tries < TRIES_MAX {
            tracing::warn!(entry = id, tries, reason, "an event of the queue was refused");
            let mut set = redis::cmd("HSET");
            self.run::<()>(set.arg(TRIES).arg(id).arg(tries)).await.context("counting an entry's tries")?;
            self.postpone(id);
            return Ok(());
        }
        let moved: u32 =
            self.run(&script::bury(id, reason, tries)).await.context("moving an entry to the dead letters")?;
        if moved == 1 {
            tracing::error!(entry = id, tries, reason, "an event of the queue is given up and kept in {DEAD_LETTERS}");
        }
        self.forget(id);
        Ok(())
    }

    fn forget(&mut self, id: &str) {
        if let Some(held) = self.in_hand.remove(id).and_then(|entry| entry.held) {
            self.held_bytes -= held.bytes();
        }
    }

    fn postpone(&mut self, id: &str) {
        if let Some(entry) = self.in_hand.get_mut(id) {
            entry.due = Instant::now() + entry.pause;
            entry.pause = (entry.pause * 2).min(PAUSE_MAX);
        }
    }
}
