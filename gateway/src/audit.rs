//! The audit trail: what the gateway did, told to datastorage.
//!
//! Telling never blocks and never fails a signal. Events wait in a bounded buffer, go out in batches, and are tried
//! again until datastorage has taken them; each has an id of its own, so one that is sent twice is kept once.

mod event;
mod sender;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
pub use event::{Event, Subject};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config;
use crate::metrics::Metrics;

/// Where events are told. Clones tell the same trail.
#[derive(Clone)]
pub struct Trail {
    /// None where no audit is kept.
    sender: Option<mpsc::Sender<Waiting>>,
    /// What all events that wait may take together, in kibibytes.
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// An event, and the room that it takes for as long as it waits.
struct Waiting {
    event: Event,
    _room: OwnedSemaphorePermit,
}

/// The task that hands events on.
pub struct Worker {
    running: Option<Running>,
    flush_deadline: Duration,
    metrics: Arc<Metrics>,
}

struct Running {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// Starts the trail.
///
/// # Errors
/// When no HTTP client can be made.
pub fn start(config: &config::Audit, metrics: Arc<Metrics>) -> Result<(Trail, Worker)> {
    let flush_deadline = Duration::from_millis(config.flush_deadline_ms);
    let room = Arc::new(Semaphore::new(config.buffer_bytes / 1024));
    let Some(url) = &config.url else {
        tracing::warn!("audit.url is not set: no audit is kept");
        return Ok((
            Trail { sender: None, room, metrics: metrics.clone() },
            Worker { running: None, flush_deadline, metrics },
        ));
    };
    let (sender, receiver) = mpsc::channel(config.buffer_events);
    let (stop, stopped) = oneshot::channel();
    let worker = sender::Sender::new(url, config, metrics.clone()).context("making the audit's HTTP client")?;
    let running = Some(Running { task: tokio::spawn(worker.run(receiver, stopped)), stop });
    Ok((Trail { sender: Some(sender), room, metrics: metrics.clone() }, Worker { running, flush_deadline, metrics }))
}

impl Trail {
    /// Tells of an event. One that finds the buffer full is dropped and counted.
    pub fn tell(&self, event: Event) {
        let Some(sender) = &self.sender else { return };
        // Counted before the worker can take it out again, so that the gauge never goes below zero.
        self.metrics.audit_buffered.inc();
        let kibibytes = u32::try_from(event.bytes() / 1024 + 1).unwrap_or(u32::MAX);
        let sent = match Arc::clone(&self.room).try_acquire_many_owned(kibibytes) {
            Ok(room) => sender.try_send(Waiting { event, _room: room }).map_err(|error| error.to_string()),
            Err(_) => Err("no room for its bytes".to_owned()),
        };
        if let Err(error) = sent {
            self.metrics.audit_buffered.dec();
            self.metrics.audit_dropped.inc();
            tracing::warn!(error, "audit event dropped");
        }
    }
}

impl Worker {
    /// Takes no more events, and waits until those told so far are accepted, but no longer than the flush deadline;
    /// what is left then is dropped and counted.
    pub async fn flush(self) {
        let Some(Running { mut task, stop }) = self.running else { return };
        // Fails only if the task is over, which the wait below notices at once.
        let _ = stop.send(());
        if tokio::time::timeout(self.flush_deadline, &mut task).await.is_err() {
            task.abort();
            let left = self.metrics.audit_buffered.set(0);
            self.metrics.audit_dropped.inc_by(u64::try_from(left).unwrap_or_default());
            tracing::error!(
                dropped = left,
                deadline_ms = u64::try_from(self.flush_deadline.as_millis()).unwrap_or(u64::MAX),
                "audit events dropped: datastorage did not take them before the shutdown's deadline"
            );
        }
    }
}
