//! A command that is about to run, and under which conditions.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::Utf8PathBuf;
use rustix::process::Signal;

use super::ended::shown;
use crate::cancel::Cancel;
use crate::meter::Meter;
use crate::surroundings;

/// How long a child may run when its job names no deadline.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);
/// How long a group has between SIGTERM and SIGKILL when its job says nothing else.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Writes the whole standard input of a child.
pub(super) type Feeder<'a> = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send + 'a>;

/// A command that is about to run, and under which conditions.
pub struct Job<'a> {
    pub(super) command: Command,
    pub(super) shown: String,
    pub(super) deadline: Duration,
    pub(super) cancel: Cancel,
    pub(super) log: Option<Utf8PathBuf>,
    pub(super) feeder: Option<Feeder<'a>>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) foreground: bool,
    pub(super) inherit_output: bool,
    pub(super) leader_first: bool,
    pub(super) grace: Duration,
    pub(super) stop_signal: Signal,
    pub(super) sudo: Option<OsString>,
    pub(super) meter: Meter,
}

impl<'a> Job<'a> {
    /// A job for `command`, which is usually an `xshell::Cmd`. Standard input is empty.
    pub fn new(command: impl Into<Command>) -> Job<'a> {
        let mut command: Command = command.into();
        let shown = shown(&command);
        command.stdin(Stdio::null());
        surroundings::keep_out(&mut command);
        let meter = Meter::here();
        Job {
            command,
            shown,
            deadline: DEFAULT_DEADLINE,
            cancel: meter.cancel(),
            log: None,
            feeder: None,
            user: None,
            foreground: false,
            inherit_output: false,
            leader_first: false,
            grace: GRACE,
            stop_signal: Signal::TERM,
            sudo: None,
            meter,
        }
    }

    /// Stops the child when it runs for longer than this, or earlier where the thread's [`Meter`] has a limit.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Stops the child when `cancel` is set.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Appends the output to this file.
    #[must_use]
    pub fn log(mut self, log: impl Into<Utf8PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Gives the child these bytes as its standard input.
    #[must_use]
    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.feed(move |stdin| stdin.write_all(&bytes))
    }

    /// Lets `feeder` write the child's standard input, on a thread of its own.
    #[must_use]
    pub fn feed(mut self, feeder: impl FnOnce(&mut dyn Write) -> std::io::Result<()> + Send + 'a) -> Self {
        self.feeder = Some(Box::new(feeder));
        self
    }

    /// Runs the child as this user and group; needs root.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Leaves the terminal and this process's group to the child, for a program that asks for a
    /// password. Its output is not kept.
    #[must_use]
    pub fn foreground(mut self) -> Self {
        self.foreground = true;
        self.command.stdin(Stdio::inherit());
        self
    }

    /// Lets the child write to this process's own output. It is not kept then.
    #[must_use]
    pub fn inherit_output(mut self) -> Self {
        self.inherit_output = true;
        self
    }

    /// Where it has to be stopped, only the child itself is told so at first, and what it started has half of the
    /// grace to come to its end: an engine that is stopped while it starts a container leaves mounts and rules of ports
    /// behind.
    #[must_use]
    pub fn leader_first(mut self) -> Self {
        self.leader_first = true;
        self
    }

    /// Where it has to be stopped, its group has this time between SIGTERM and SIGKILL: for what cleans up itself.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Where it has to be stopped, its group gets this signal in the place of SIGTERM, also when this process has died.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// Its program is a `sudo` that asks for no password. What that starts takes signals from root alone, and outlives a
    /// sudo that is killed: it is stopped by `sudo kill`.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.sudo = Some(self.command.get_program().to_owned());
        self
    }
}
