//! A child that runs beside others.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use camino::Utf8PathBuf;
use rustix::process::Signal;

use super::ended::{ProcessError, ended};
use super::job::Job;
use super::run::Group;
use super::sink::Sink;
use crate::cancel::{Cancel, NOTICE};
use crate::clock::Instant;

/// A child that runs until this guard is dropped.
pub struct Daemon {
    group: Group,
    shown: String,
    log: Option<Utf8PathBuf>,
    sink: Sink,
}

impl Job<'_> {
    /// Starts it and leaves it running; the guard stops it when dropped. The output goes to the
    /// job's log, and the job's deadline does not count.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn daemon(mut self) -> Result<Daemon> {
        let sink = Sink::open(self.log.as_deref())?;
        self.command.stdout(sink.writer()?).stderr(sink.writer()?);
        let group = self.spawn()?;
        Ok(Daemon { group, shown: self.shown, log: self.log, sink })
    }
}

impl Daemon {
    /// The child's process id, which is also its group's.
    pub fn pid(&self) -> u32 {
        self.group.child.id()
    }

    /// Fails, with the last lines that it printed, when the child is no longer running.
    ///
    /// # Errors
    /// A [`ProcessError`] with how it ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.group.reap(false).context("asking after a child process")? else {
            return Ok(());
        };
        self.group.ended();
        Err(ProcessError {
            command: self.shown.clone(),
            ended: ended(status),
            tail: self.sink.tail(),
            log: self.log.clone(),
        }
        .into())
    }

    /// Polls `ready` until it says yes; fails when the child ends first or `deadline` passes.
    ///
    /// # Errors
    /// With the command, what was waited for (`what`), and the last lines that it printed.
    pub fn wait_until(&mut self, what: &str, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let end = Instant::now() + deadline;
        while !ready() {
            self.check().with_context(|| format!("waiting for {what}"))?;
            if Instant::now() >= end {
                return Err(anyhow!(
                    "waiting for {what}: not so after {:.0} s; `{}` is still running and last said:\n{}",
                    deadline.as_secs_f64(),
                    self.shown,
                    self.sink.tail()
                ));
            }
            std::thread::sleep(NOTICE);
        }
        Ok(())
    }

    /// SIGTERM, or the job's own signal, then SIGKILL to what is left after `grace`.
    pub fn stop(self, grace: Duration) {
        self.stop_or_kill(grace, &Cancel::new());
    }

    /// As [`Daemon::stop`], with SIGKILL at once when `now` is set.
    pub fn stop_or_kill(mut self, grace: Duration, now: &Cancel) {
        self.group.grace = grace;
        self.group.stop_or_kill(now);
    }

    /// SIGKILL, as when the machine takes it away.
    pub fn kill(mut self) {
        self.group.signal(Signal::KILL);
        let _ = self.group.reap(true);
        self.group.ended();
    }
}
