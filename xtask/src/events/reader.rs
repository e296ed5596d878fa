//! Reads the events of a run, also one that still goes on or was killed.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::{Event, SCHEMA, What};

/// What every version writes in its first event.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

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
            let line = &rest[..end];
            let event = serde_json::from_slice::<Event>(line);
            let schema = match &event {
                Ok(Event { what: What::RunStarted(started), .. }) => Some(started.schema),
                Ok(_) => None,
                Err(_) => serde_json::from_slice::<Version>(line).ok().map(|version| version.schema),
            };
            match schema {
                Some(newer) if newer > SCHEMA => {
                    bail!("{} was written by a newer version (schema {newer}, this one reads {SCHEMA})", self.path)
                }
                Some(older) if event.is_err() && older < SCHEMA => bail!(
                    "{} was written by an older version (schema {older}, this one reads {SCHEMA}), which alone can read it",
                    self.path
                ),
                _ => {}
            }
            events.push(event.with_context(|| format!("line {} of {} is no event", self.line, self.path))?);
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
