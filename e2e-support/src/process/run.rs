//! A job runs: its child comes to exist, is waited for, and is stopped with its process group.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use xshell::{Shell, cmd};

use super::ended::{Ended, Finished, Outcome, ended, millis};
use super::job::{GRACE, Job};
use super::sink::{Sink, last_lines};
use crate::cancel::{Cancel, NOTICE};
use crate::clock::Instant;
use crate::meter::{self, Meter};
use crate::{reaper, surroundings};

/// How long SIGKILL may take. What is still there then hangs in the kernel or is another user's, and goes on.
const LAST: Duration = Duration::from_secs(2);
/// How long `sudo kill` may take.
const SUDO: Duration = Duration::from_secs(2);

impl Job<'_> {
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
    pub(super) fn spawn(&mut self) -> Result<Group> {
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

/// A running child and its process group.
pub(super) struct Group {
    pub(super) child: Child,
    /// Whether the group is the child's own, so that it may be stopped as a whole.
    own: bool,
    /// Whether the others of the group may come to their end when the child is stopped.
    leader_first: bool,
    /// How long it has between [`Group::stop_signal`] and SIGKILL.
    pub(super) grace: Duration,
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
    pub(super) fn reap(&mut self, block: bool) -> std::io::Result<Option<ExitStatus>> {
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

    pub(super) fn ended(&mut self) {
        if !self.over && self.own {
            reaper::forget(self.child.id());
        }
        self.over = true;
    }

    pub(super) fn signal(&mut self, signal: Signal) {
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
    pub(super) fn stop_or_kill(&mut self, now: &Cancel) {
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
