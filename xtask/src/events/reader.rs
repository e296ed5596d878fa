//! Reads the events of a run, also one that still goes on or was killed.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::{Event, SCHEMA, What};

/// Whether someone still writes a run's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The writer lives.
    Alive,
    /// The writer has closed the file, or died: the kernel gave its lock back.
    Gone,
}

/// All events of this file. A torn last line, the mark of a killed run, is left out.
///
/// # Errors
/// The file cannot be read, or is not a list of events that this program understands.
pub fn read(path: &Utf8Path) -> anyhow::Result<Vec<Event>> {
    Follower::open(path)?.more()
}

/// Reads a run's events as they are written.
#[derive(Debug)]
pub struct Follower {
    path: Utf8PathBuf,
    file: File,
    offset: u64,
    line: usize,
    torn: Vec<u8>,
}

impl Follower {
    /// Begins at the first event.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Utf8Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {path}"))?;
        Ok(Self { path: path.to_owned(), file, offset: 0, line: 0, torn: Vec::new() })
    }

    /// The events since the last call; never waits.
    ///
    /// # Errors
    /// The file cannot be read, or a whole line of it is no event.
    pub fn more(&mut self) -> anyhow::Result<Vec<Event>> {
        let mut bytes = std::mem::take(&mut self.torn);
        let before = bytes.len();
        self.file
            .seek(SeekFrom::Start(self.offset))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .with_context(|| format!("reading {}", self.path))?;
        self.offset += (bytes.len() - before) as u64;
        let mut events = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line += 1;
            let event: Event = serde_json::from_slice(&rest[..end])
                .with_context(|| format!("line {} of {} is no event", self.line, self.path))?;
            if let What::RunStarted(started) = &event.what
                && started.schema > SCHEMA
            {
                bail!(
                    "{} was written by a newer version (schema {}, this one reads {SCHEMA})",
                    self.path,
                    started.schema
                );
            }
            events.push(event);
            rest = &rest[end + 1..];
        }
        self.torn = rest.to_vec();
        Ok(events)
    }

    /// Whether the writer still lives. Ask before the last [`Follower::more`], or its last events may be missed.
    ///
    /// # Errors
    /// The file system has no locks.
    pub fn liveness(&self) -> anyhow::Result<Liveness> {
        match self.file.try_lock_shared() {
            Ok(()) => {
                self.file.unlock().with_context(|| format!("unlocking {}", self.path))?;
                Ok(Liveness::Gone)
            }
            Err(TryLockError::WouldBlock) => Ok(Liveness::Alive),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", self.path)),
        }
    }
}
