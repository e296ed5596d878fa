//! Works off the queue: reads entries as a member of a consumer group, writes their events, and
//! acknowledges only what is committed.
//!
//! Entries that this replica has read and not yet acknowledged are *in hand*. They are its own in
//! Redis, too, so that after a crash they are read again, by this replica or by another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{DEAD_LETTERS, GROUP, Queue, STREAM, TRIES};
use crate::config::{self, millis};
use crate::event::{AuditEvent, BATCH_MAX};
use crate::postgres::{Failure, Postgres};

/// An entry is given up when PostgreSQL has refused it this often.
const TRIES_MAX: u32 = 6;
/// So many that events that are refused, and wait for their next try, do not hold up the others.
const IN_HAND_MAX: usize = 4 * BATCH_MAX;
const BLOCK: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Moves an entry, as it is, to the dead letters; does nothing if another replica has settled it.
const BURY: &str = "
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
local fields = entry and entry[2] or {}
for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
return 1";

/// Forgets consumers that have nothing pending and were not seen for an hour: each new pod brings a name.
const TIDY: &str = "
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local of = {}
    for i = 1, #consumer, 2 do of[consumer[i]] = consumer[i + 1] end
    if of['pending'] == 0 and of['idle'] > 3600000 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of['name'])
    end
end
return 0";

/// An entry of a stream: its id, and its fields and values in turn; none if it was deleted meanwhile.
type Entry = (String, Option<Vec<Vec<u8>>>);

/// Works off the queue until `stop` turns true.
///
/// `wait` bounds one write to PostgreSQL.
pub async fn drain(
    queue: Arc<Queue>,
    postgres: Arc<Postgres>,
    settings: config::Queue,
    wait: Duration,
    stop: watch::Receiver<bool>,
) {
    let consumer = settings.consumer.clone().unwrap_or_else(host_name);
    let mut stopped = stop.clone();
    while !*stop.borrow() {
        let result = async {
            let connection = queue.link.connect(queue.wait + BLOCK).await?;
            let mut drain = Drain {
                connection,
                postgres: &postgres,
                consumer: &consumer,
                settings: &settings,
                wait,
                in_hand: BTreeMap::new(),
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

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "datastorage".to_owned() } else { name.trim().to_owned() }
}

struct Drain<'a> {
    connection: MultiplexedConnection,
    postgres: &'a Arc<Postgres>,
    consumer: &'a str,
    settings: &'a config::Queue,
    wait: Duration,
    /// By id, which is nearly the order of age.
    in_hand: BTreeMap<String, InHand>,
    /// How many events are written at once. Failures make it smaller, down to one, so that an event that
    /// PostgreSQL refuses, or that even brings it down, does not hold up the others for long.
    share: usize,
    /// When entries were last taken over from other replicas.
    claimed: Option<Instant>,
}

struct InHand {
    event: Result<AuditEvent, String>,
    due: Instant,
    /// The pause after the next failure.
    pause: Duration,
}

impl Drain<'_> {
    async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connection).await
    }

    /// Makes the group where it is missing, and takes up what this replica had in hand before.
    async fn open(&mut self) -> Result<()> {
        let mut create = redis::cmd("XGROUP");
        // From the very first entry: events may have been queued before there was a group.
        create.arg("CREATE").arg(STREAM).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.run::<()>(&create).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error).context("making the consumer group"),
            _ => {}
        }
        let mut after = "0".to_owned();
        loop {
            let entries = self.read(&after, None).await?;
            let Some((last, _)) = entries.last() else { return Ok(()) };
            after.clone_from(last);
            self.take(entries).await?;
        }
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
            let idle = self.until_due();
            if self.in_hand.len() < IN_HAND_MAX {
                let entries = self.read(">", Some(idle)).await?;
                self.take(entries).await?;
            } else {
                tokio::time::sleep(idle).await;
            }
            self.attempt().await?;
        }
        Ok(())
    }

    /// How long there is nothing to do, at most [`BLOCK`].
    fn until_due(&self) -> Duration {
        let now = Instant::now();
        self.in_hand.values().map(|entry| entry.due.saturating_duration_since(now)).min().unwrap_or(BLOCK).min(BLOCK)
    }

    /// Reads new entries (`>`), waiting for them for as long as `block`, or those in hand after an id.
    async fn read(&mut self, after: &str, block: Option<Duration>) -> Result<Vec<Entry>> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(self.consumer).arg("COUNT").arg(BATCH_MAX);
        // To Redis, 0 means for ever.
        if let Some(block) = block.filter(|block| block.as_millis() > 0) {
            command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
        }
        command.arg("STREAMS").arg(STREAM).arg(after);
        let streams: Option<Vec<(String, Vec<Entry>)>> = self.run(&command).await.context("reading the queue")?;
        Ok(streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
    }

    /// Takes over what other replicas have had in hand for too long.
    async fn claim(&mut self) -> Result<()> {
        let idle_ms = self.settings.claim_idle_ms;
        if self.claimed.is_some_and(|at| at.elapsed() < millis(idle_ms) / 2) {
            return Ok(());
        }
        let mut after = "0-0".to_owned();
        while self.in_hand.len() < IN_HAND_MAX {
            let mut command = redis::cmd("XAUTOCLAIM");
            command.arg(STREAM).arg(GROUP).arg(self.consumer).arg(idle_ms).arg(&after).arg("COUNT").arg(BATCH_MAX);
            let (next, entries, _deleted): (String, Vec<Entry>, Vec<String>) =
                self.run(&command).await.context("taking over entries of other replicas")?;
            self.take(entries).await?;
            if next == "0-0" {
                break;
            }
            after = next;
        }
        let mut tidy = redis::cmd("EVAL");
        self.run::<()>(tidy.arg(TIDY).arg(1).arg(STREAM).arg(GROUP)).await.context("forgetting old consumers")?;
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
            let event = fields
                .chunks_exact(2)
                .find(|pair| pair[0] == b"event")
                .ok_or_else(|| "the entry has no field `event`".to_owned())
                .and_then(|pair| serde_json::from_slice(&pair[1]).map_err(|error| error.to_string()));
            let pause = millis(self.settings.retry_base_ms);
            // An entry in hand that is read again keeps its place in time.
            self.in_hand.entry(id).or_insert(InHand { event, due: Instant::now(), pause });
        }
        if gone.is_empty() { Ok(()) } else { self.acknowledge(&gone).await }
    }

    /// Tries what is due.
    async fn attempt(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut due: Vec<String> = Vec::new();
        let mut unreadable = Vec::new();
        for (id, entry) in self.in_hand.iter().filter(|(_, entry)| entry.due <= now).take(BATCH_MAX) {
            match &entry.event {
                Ok(_) => due.push(id.clone()),
                Err(reason) => unreadable.push((id.clone(), reason.clone())),
            }
        }
        for (id, reason) in unreadable {
            self.refused(&id, &reason).await?;
        }
        let (mut written, mut failed) = (0, false);
        for ids in due.chunks(self.share) {
            let events: Arc<[AuditEvent]> =
                ids.iter().filter_map(|id| self.in_hand.get(id)?.event.as_ref().ok().cloned()).collect();
            match self.postgres.insert(events, self.wait).await {
                Ok(_) => {
                    self.acknowledge(ids).await?;
                    written += ids.len();
                }
                Err(Failure::Event(reason)) if ids.len() == 1 => self.refused(&ids[0], &reason).await?,
                Err(Failure::Event(_)) => failed = true,
                Err(Failure::Outage(_) | Failure::Busy) => {
                    failed = true;
                    ids.iter().for_each(|id| self.postpone(id));
                    break;
                }
            }
        }
        if written > 0 {
            tracing::info!(events = written, "events of the queue are written");
        }
        self.share = if failed { self.share.div_ceil(8) } else { (self.share * 8).min(BATCH_MAX) };
        Ok(())
    }

    async fn acknowledge(&mut self, ids: &[String]) -> Result<()> {
        let mut settle = redis::pipe();
        settle.atomic();
        settle.cmd("XACK").arg(STREAM).arg(GROUP).arg(ids).ignore();
        settle.cmd("XDEL").arg(STREAM).arg(ids).ignore();
        settle.cmd("HDEL").arg(TRIES).arg(ids).ignore();
        settle.query_async::<()>(&mut self.connection).await.context("acknowledging entries of the queue")?;
        for id in ids {
            self.in_hand.remove(id);
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
        let mut bury = redis::cmd("EVAL");
        bury.arg(BURY).arg(3).arg(STREAM).arg(DEAD_LETTERS).arg(TRIES).arg(GROUP).arg(id);
        bury.arg("reason").arg(reason).arg("tries").arg(tries).arg("entry").arg(id);
        bury.arg("moved_at").arg(jiff::Timestamp::now().to_string());
        let moved: u32 = self.run(&bury).await.context("moving an entry to the dead letters")?;
        if moved == 1 {
            tracing::error!(entry = id, tries, reason, "an event of the queue is given up and kept in {DEAD_LETTERS}");
        }
        self.in_hand.remove(id);
        Ok(())
    }

    fn postpone(&mut self, id: &str) {
        if let Some(entry) = self.in_hand.get_mut(id) {
            entry.due = Instant::now() + entry.pause;
            entry.pause = (entry.pause * 2).min(PAUSE_MAX);
        }
    }
}
