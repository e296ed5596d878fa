//! The one way to run a child process.
//!
//! `xshell::cmd!` builds the command; a [`Job`] runs it: in a process group of its own, with a
//! deadline, its output in a log, stopped as a group when the deadline passes or the work is
//! cancelled. An error shows the command, how it ended and the last lines that it printed.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use xshell::{Shell, cmd};

use crate::cancel::{Cancel, NOTICE};
use crate::clock::Instant;
use crate::meter::{self, Meter};
use crate::{reaper, surroundings};

/// How long a child may run when its job names no deadline.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);
/// How long a group has between SIGTERM and SIGKILL when its job says nothing else.
const GRACE: Duration = Duration::from_secs(3);
/// How long SIGKILL may take. What is still there then hangs in the kernel or is another user's, and goes on.
const LAST: Duration = Duration::from_secs(2);
/// How long `sudo kill` may take.
const SUDO: Duration = Duration::from_secs(2);
/// What an error shows of the output.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 * 1024;

/// Writes the whole standard input of a child.
type Feeder<'a> = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send + 'a>;

/// A command that is about to run, and under which conditions.
pub struct Job<'a> {
    command: Command,
    shown: String,
    deadline: Duration,
    cancel: Cancel,
    log: Option<Utf8PathBuf>,
    feeder: Option<Feeder<'a>>,
    user: Option<(u32, u32)>,
    foreground: bool,
    inherit_output: bool,
    leader_first: bool,
    grace: Duration,
    stop_signal: Signal,
    sudo: Option<OsString>,
    meter: Meter,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It was stopped because its deadline, in whole milliseconds, had passed.
    DeadlinePassed { deadline_ms: u64 },
    /// It was stopped because the work was cancelled.
    Cancelled,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exited(code) => write!(f, "exit code {code}"),
            Ended::Signalled(signal) => write!(f, "signal {signal}"),
            Ended::DeadlinePassed { deadline_ms } => {
                write!(f, "stopped: still running after its deadline of {:.1} s", *deadline_ms as f64 / 1000.0)
            }
            Ended::Cancelled => write!(f, "stopped: the work was cancelled"),
        }
    }
}

/// A child that did not end well: the command, how it ended, and the last lines that it printed.
#[derive(Debug)]
pub struct ProcessError {
    /// The command line as a person would type it.
    pub command: String,
    pub ended: Ended,
    /// The last lines of standard output and standard error.
    pub tail: String,
    /// Where all of the output is.
    pub log: Option<Utf8PathBuf>,
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.command, self.ended)?;
        // On the first line, too, since often no other is read: mostly the last word says why.
        if let Some(last) = self.tail.lines().rfind(|line| !line.trim().is_empty()) {
            write!(f, ": {}", last.trim())?;
        }
        for line in self.tail.lines() {
            write!(f, "\n    {line}")?;
        }
        if let Some(log) = &self.log {
            write!(f, "\n    all of its output: {log}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ProcessError {}

/// What a child that ended by itself has left.
#[derive(Debug)]
pub struct Finished {
    pub ended: Ended,
    /// Standard output, where it was asked for.
    pub stdout: String,
    /// The last lines of what it printed.
    pub tail: String,
}

impl Finished {
    /// Whether it exited with code 0.
    pub fn success(&self) -> bool {
        self.ended == Ended::Exited(0)
    }
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

    /// Runs it to its end, which must be exit code 0.
    ///
    /// # Errors
    /// A [`ProcessError`] when it ends otherwise, or an error that says why it could not start.
    pub fn run(self) -> Result<()> {
        self.finish(false)?.into_result().map(drop)
    }

    /// Runs it to its end, which must be exit code 0, and returns what it wrote to standard output
    /// without the white space at its end.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn read(self) -> Result<String> {
        let mut stdout = self.finish(true)?.into_result()?.stdout;
        stdout.truncate(stdout.trim_end().len());
        Ok(stdout)
    }

    /// Runs it to its end, whichever exit code that brings; standard output is kept.
    ///
    /// # Errors
    /// When it cannot start, its deadline passes, or the work is cancelled.
    pub fn output(self) -> Result<Finished> {
        let outcome = self.finish(true)?;
        match outcome.finished.ended {
            Ended::Exited(_) | Ended::Signalled(_) => Ok(outcome.finished),
            _ => outcome.into_result(),
        }
    }

    /// Runs it and hands each line of its standard output to `on_line` as it comes, until the child
    /// ends or `on_line` breaks, which stops the child and is a success.
    ///
    /// # Errors
    /// As [`Job::run`]; `None` when the child ended well without a break.
    pub fn lines<T>(mut self, mut on_line: impl FnMut(&str) -> ControlFlow<T>) -> Result<Option<T>> {
        let sink = Sink::open(self.log.as_deref())?;
        self.command.stdout(Stdio::piped()).stderr(sink.writer()?);
        self.deadline = self.meter.within(self.deadline);
        let mut group = self.spawn()?;
        let stdout = group.child.stdout.take().context("the child's standard output was not piped")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { break };
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + self.deadline;
        let ended = loop {
            match receiver.recv_timeout(NOTICE) {
                Ok(line) => {
                    if let ControlFlow::Break(value) = on_line(&line) {
                        group.stop();
                        return Ok(Some(value));
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break group.wait(end, self.deadline, &self.cancel)?,
            }
            if self.cancel.is_cancelled() {
                group.stop();
                break Ended::Cancelled;
            }
            if Instant::now() >= end {
                group.stop();
                break Ended::DeadlinePassed { deadline_ms: millis(self.deadline) };
            }
        };
        let finished = Finished { ended, stdout: String::new(), tail: sink.tail() };
        Outcome { shown: self.shown, log: self.log, finished }.into_result().map(|_| None)
    }

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

    fn finish(mut self, capture: bool) -> Result<Outcome> {
        if self.cancel.is_cancelled() {
            let finished = Finished { ended: Ended::Cancelled, stdout: String::new(), tail: String::new() };
            return Ok(Outcome { shown: self.shown, log: self.log, finished });
        }
        self.deadline = self.meter.within(self.deadline);
        let sink = Sink::open(self.log.as_deref())?;
        let captured = if capture { Some(surroundings::spool()?) } else { None };
        if capture {
            surroundings::speak_english(&mut self.command);
        }
        if !self.foreground && !self.inherit_output {
            let stdout = match &captured {
                Some(file) => file.try_clone().context("sharing a temporary file")?,
                None => sink.writer()?,
            };
            self.command.stdout(stdout).stderr(sink.writer()?);
        }
        let feeder = self.feeder.take();
        if feeder.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut group = self.spawn()?;
        let stdin = group.child.stdin.take();
        let end = Instant::now() + self.deadline;
        let ended = std::thread::scope(|scope| {
            let feeding = feeder.map(|feeder| {
                scope.spawn(move || match stdin {
                    Some(mut stdin) => feeder(&mut stdin),
                    None => Ok(()),
                })
            });
            let ended = group.wait(end, self.deadline, &self.cancel);
            match feeding.map(std::thread::ScopedJoinHandle::join) {
                // A child that stops reading says why by itself.
                Some(Ok(Err(error))) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(error).with_context(|| format!("writing the standard input of `{}`", self.shown))
                }
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                _ => ended,
            }
        })?;
        let mut tail = sink.tail();
        let mut stdout = Vec::new();
        if let Some(mut file) = captured {
            file.rewind().and_then(|()| file.read_to_end(&mut stdout)).context("reading back the output")?;
        }
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        if ended != Ended::Exited(0) && !stdout.trim().is_empty() {
            tail = format!("{}\n{tail}", last_lines(&stdout));
        }
        Ok(Outcome { shown: self.shown, log: self.log, finished: Finished { ended, stdout, tail } })
    }

    /// The one place where a child process comes to exist.
    fn spawn(&mut self) -> Result<Group> {
        self.meter.note_command(&self.shown);
        if !self.foreground {
            self.command.process_group(0);
        }
        if let Some((uid, gid)) = self.user {
            self.command.uid(uid).gid(gid);
        }
        let child = self.command.spawn().map_err(|error| {
            let program = self.command.get_program().to_string_lossy();
            if error.kind() == std::io::ErrorKind::NotFound {
                anyhow!("starting `{}`: no program or folder {program} here", self.shown)
            } else {
                anyhow!("starting `{}`: {error}", self.shown)
            }
        })?;
        if !self.foreground {
            let way = match (self.leader_first, self.grace > GRACE) {
                (_, true) => reaper::Way::Patient,
                (true, false) => reaper::Way::LeaderFirst,
                (false, false) => reaper::Way::Plain,
            };
            reaper::watch(child.id(), way, self.stop_signal);
        }
        Ok(Group {
            child,
            own: !self.foreground,
            leader_first: self.leader_first,
            grace: self.grace,
            stop_signal: self.stop_signal,
            sudo: self.sudo.clone(),
            status: None,
            over: false,
            meter: self.meter.clone(),
        })
    }
}

/// What a finished child leaves behind, before it is judged.
struct Outcome {
    shown: String,
    log: Option<Utf8PathBuf>,
    finished: Finished,
}

impl Outcome {
    fn into_result(self) -> Result<Finished> {
        if self.finished.success() {
            return Ok(self.finished);
        }
        let Finished { ended, tail, .. } = self.finished;
        Err(ProcessError { command: self.shown, ended, tail: tail.trim().to_owned(), log: self.log }.into())
    }
}

/// A running child and its process group.
struct Group {
    child: Child,
    /// Whether the group is the child's own, so that it may be stopped as a whole.
    own: bool,
    /// Whether the others of the group may come to their end when the child is stopped.
    leader_first: bool,
    /// How long it has between [`Group::stop_signal`] and SIGKILL.
    grace: Duration,
    /// What tells it to end.
    stop_signal: Signal,
    /// The program that signals it as root; none where it is this user's.
    sudo: Option<OsString>,
    /// How the child ended, once it was waited for.
    status: Option<ExitStatus>,
    over: bool,
    /// Who is told what it used.
    meter: Meter,
}

impl Group {
    /// Waits for the child itself, or with `block` unset only looks.
    fn reap(&mut self, block: bool) -> std::io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = meter::wait(self.child.id(), block, &self.meter)?;
        }
        Ok(self.status)
    }

    /// Waits for the child, and stops its group at `end` or when cancelled.
    fn wait(&mut self, end: Instant, deadline: Duration, cancel: &Cancel) -> Result<Ended> {
        let mut pause = Duration::from_micros(500);
        loop {
            if let Some(status) = self.reap(false).context("waiting for a child process")? {
                self.ended();
                return Ok(ended(status));
            }
            if cancel.is_cancelled() {
                self.stop();
                return Ok(Ended::Cancelled);
            }
            if Instant::now() >= end {
                self.stop();
                return Ok(Ended::DeadlinePassed { deadline_ms: millis(deadline) });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(NOTICE);
        }
    }

    fn ended(&mut self) {
        if !self.over && self.own {
            reaper::forget(self.child.id());
        }
        self.over = true;
    }

    fn signal(&mut self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // All fail only when nothing is left to signal.
        if let Some(sudo) = &self.sudo {
            // sudo hands SIGTERM on. Without it, what it has started would go on, so that SIGKILL is for that alone.
            let group = format!("-{pid}");
            let whom = if signal == Signal::KILL { descendants(self.child.id()) } else { vec![group] };
            let kill = Shell::new().map(|sh| {
                let kill = cmd!(sh, "{sudo} --non-interactive kill -s").arg(signal.as_raw().to_string());
                Job::new(kill.arg("--").args(whom)).deadline(SUDO).output()
            });
            let _ = kill;
        } else if self.own {
            let _ = kill_process_group(pid, signal);
        } else {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Whether nobody is left of the group, once the child itself has gone.
    fn group_is_gone(&self) -> bool {
        match test_kill_process_group(Pid::from_child(&self.child)) {
            // They are there, and are root's.
            Err(rustix::io::Errno::PERM) => self.sudo.is_none(),
            asked => !self.own || asked.is_err(),
        }
    }

    /// Tells the group to end, gives it its grace, then SIGKILL.
    fn stop(&mut self) {
        self.stop_or_kill(&Cancel::new());
    }

    /// As [`Group::stop`], with the grace over as soon as `now` is set.
    fn stop_or_kill(&mut self, now: &Cancel) {
        if self.over {
            return;
        }
        let begin = Instant::now();
        let mut told_all = !self.leader_first;
        if self.own {
            reaper::told(self.child.id());
        }
        if told_all {
            self.signal(self.stop_signal);
        } else {
            let _ = rustix::process::kill_process(Pid::from_child(&self.child), self.stop_signal);
        }
        while begin.elapsed() < self.grace && !now.is_cancelled() {
            let child_gone = matches!(self.reap(false), Ok(Some(_)) | Err(_));
            if child_gone && self.group_is_gone() {
                self.ended();
                return;
            }
            if !told_all && begin.elapsed() > self.grace / 2 {
                self.signal(self.stop_signal);
                told_all = true;
            }
            std::thread::sleep(NOTICE);
        }
        self.signal(Signal::KILL);
        let begin = Instant::now();
        while matches!(self.reap(false), Ok(None)) && begin.elapsed() < LAST {
            std::thread::sleep(NOTICE);
        }
        self.ended();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A child that runs until this guard is dropped.
pub struct Daemon {
    group: Group,
    shown: String,
    log: Option<Utf8PathBuf>,
    sink: Sink,
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

/// Removes `dir` with all it holds once this process has ended, however it ends.
pub fn remove_dir_at_exit(dir: &Utf8Path) {
    reaper::remove_dir(dir);
}

/// Where output goes, and from where its last lines are read back.
struct Sink {
    file: File,
    start: u64,
}

impl Sink {
    fn open(log: Option<&Utf8Path>) -> Result<Sink> {
        let file = match log {
            None => surroundings::spool()?,
            Some(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
                }
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .read(true)
                    .open(path)
                    .with_context(|| format!("opening the log {path}"))?
            }
        };
        let start = file.metadata().context("asking for a log's length")?.len();
        Ok(Sink { file, start })
    }

    fn writer(&self) -> Result<File> {
        self.file.try_clone().context("sharing a log")
    }

    fn tail(&self) -> String {
        // The child may still be writing through the same open file: its offset must stay where it is.
        let read = || -> std::io::Result<String> {
            let length = self.file.metadata()?.len();
            let start = self.start.max(length.saturating_sub(TAIL_BYTES));
            let mut bytes = vec![0; usize::try_from(length.saturating_sub(start)).unwrap_or(0)];
            self.file.read_exact_at(&mut bytes, start)?;
            Ok(last_lines(&String::from_utf8_lossy(&bytes)))
        };
        read().unwrap_or_else(|error| format!("(its output cannot be read back: {error})"))
    }
}

/// The processes that `pid` has started, and those that they have started, where the system lists them.
fn descendants(pid: u32) -> Vec<String> {
    let parents: Vec<(String, String)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in parentheses, may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned();
            Some((entry.file_name().into_string().ok()?, parent))
        })
        .collect();
    let mut found = vec![pid.to_string()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child.clone()));
        next += 1;
    }
    found.split_off(1)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signalled(signal),
        (None, None) => Ended::Exited(-1),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The command line, quoted where a shell would need it, without its environment.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c));
            if plain { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
