//! What child processes use, counted for whoever asked for them, and until when they may run.
//!
//! A [`Meter`] counts the jobs that its threads make, and ends them all at one moment where it has a limit: so whoever
//! gives a piece of work its time need not trust that every job in it was given what is left of it. The kernel tells what a child and the descendants that it waited
//! for have used when the child is waited for. Containers are children of the engine, not of this process: what runs
//! in them is not counted here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::clock::Instant;

thread_local! {
    static HERE: RefCell<Meter> = RefCell::default();
}

/// Adds up what jobs use. Clones stand for the same sum, and have the same limit.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    used: Arc<Mutex<Used>>,
    limit: Option<Limit>,
}

/// When all jobs of a piece of work end, whatever deadline each of them has.
#[derive(Clone, Debug)]
struct Limit {
    end: Instant,
    cancel: Cancel,
}

/// What jobs have used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// CPU time of all children that have ended, in user and kernel mode.
    pub cpu: Duration,
    /// The largest resident size of any of them, in bytes.
    pub peak_rss_bytes: u64,
    /// The command lines, each once.
    pub commands: BTreeSet<String>,
}

impl Meter {
    /// A meter that has counted nothing.
    pub fn new() -> Meter {
        Meter::default()
    }

    /// The same sum, whose jobs end at `end`, and as soon as `cancel` is set, also those that name no such flag.
    #[must_use]
    pub fn until(mut self, end: Instant, cancel: &Cancel) -> Meter {
        self.limit = Some(Limit { end, cancel: cancel.clone() });
        self
    }

    /// The same sum without a limit, for what has to be put in order after a limit was reached. Its jobs have their own
    /// deadlines.
    #[must_use]
    pub fn unlimited(mut self) -> Meter {
        self.limit = None;
        self
    }

    /// `deadline`, or what is left of the limit where that is less.
    pub(crate) fn within(&self, deadline: Duration) -> Duration {
        let left = self.limit.as_ref().map(|limit| limit.end.saturating_duration_since(Instant::now()));
        left.map_or(deadline, |left| left.min(deadline))
    }

    /// The flag that stops jobs which name none.
    pub(crate) fn cancel(&self) -> Cancel {
        self.limit.as_ref().map_or_else(Cancel::new, |limit| limit.cancel.clone())
    }

    /// Does `work`, and counts every job that this thread makes in it.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _back = Back(HERE.replace(self.clone()));
        work()
    }

    /// What counts the jobs of this thread. A thread that works for another one takes its meter along.
    pub fn here() -> Meter {
        HERE.with_borrow(Meter::clone)
    }

    /// What was counted so far.
    pub fn used(&self) -> Used {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_command(&self, command: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.commands.contains(command) {
            used.commands.insert(command.to_owned());
        }
    }

    fn add(&self, usage: &libc::rusage) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.cpu += duration(usage.ru_utime) + duration(usage.ru_stime);
        used.peak_rss_bytes = used.peak_rss_bytes.max(resident_bytes(usage));
    }
}

/// Puts the meter before this one back, also when the work panics.
struct Back(Meter);

impl Drop for Back {
    fn drop(&mut self) {
        HERE.set(std::mem::take(&mut self.0));
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Linux counts in kibibytes, macOS in bytes.
fn resident_bytes(usage: &libc::rusage) -> u64 {
    let size = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    if cfg!(target_os = "linux") { size * 1024 } else { size }
}

/// Waits for the child `pid`, or with `block` unset only looks, and counts for `meter` what it used. `None` where it
/// still runs. The child is gone afterwards: std's own wait must not be called for it any more.
pub(crate) fn wait(pid: u32, block: bool, meter: &Meter) -> std::io::Result<Option<ExitStatus>> {
    let pid = libc::pid_t::try_from(pid).map_err(std::io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // std waits without the usage; there is no safe call for this one.
        // SAFETY: `status` and `usage` are writable for the whole call, and the kernel writes nothing else.
        #[allow(unsafe_code)]
        let waited = unsafe { libc::wait4(pid, &raw mut status, flags, usage.as_mut_ptr()) };
        if waited == pid {
            // SAFETY: it was zeroed, which is a valid usage, and the kernel has filled it since.
            #[allow(unsafe_code)]
            meter.add(&unsafe { usage.assume_init() });
            return Ok(Some(ExitStatus::from_raw(status)));
        }
        if waited == 0 {
            return Ok(None);
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
