//! Where output goes, and from where its last lines are read back.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::surroundings;

/// What an error shows of the output.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 * 1024;

/// Where output goes, and from where its last lines are read back.
pub(super) struct Sink {
    file: File,
    start: u64,
}

impl Sink {
    pub(super) fn open(log: Option<&Utf8Path>) -> Result<Sink> {
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

    pub(super) fn writer(&self) -> Result<File> {
        self.file.try_clone().context("sharing a log")
    }

    pub(super) fn tail(&self) -> String {
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

pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
