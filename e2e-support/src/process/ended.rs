//! How a child ended, and the error where that is not well.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use camino::Utf8PathBuf;

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

/// What a finished child leaves behind, before it is judged.
pub(super) struct Outcome {
    pub(super) shown: String,
    pub(super) log: Option<Utf8PathBuf>,
    pub(super) finished: Finished,
}

impl Outcome {
    pub(super) fn into_result(self) -> Result<Finished> {
        if self.finished.success() {
            return Ok(self.finished);
        }
        let Finished { ended, tail, .. } = self.finished;
        Err(ProcessError { command: self.shown, ended, tail: tail.trim().to_owned(), log: self.log }.into())
    }
}

pub(super) fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signalled(signal),
        (None, None) => Ended::Exited(-1),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The command line, quoted where a shell would need it, without its environment.
pub(super) fn shown(command: &Command) -> String {
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
