//! What the specs do, told while they run: a JSON line with all that will, and one per start and end, for whoever
//! watches.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Names the file to which the lines are appended. Unset: none are written.
const JOURNAL_VARIABLE: &str = "E2E_EVENTS";

/// The file of the lines.
pub(crate) struct Journal(Option<Mutex<File>>);

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Entry<'a> {
    /// All that are going to run.
    SpecsListed {
        specs: Vec<&'a str>,
    },
    SpecStarted {
        spec: &'a str,
    },
    SpecFinished {
        spec: &'a str,
        outcome: Outcome,
        /// From its start, without the time that it had to wait for its turn.
        seconds: f64,
        /// Why it failed; empty where it passed.
        message: &'a str,
        /// The folder of the evidence, where some was kept.
        evidence: Option<&'a Path>,
    },
}

/// How a spec ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

impl Journal {
    /// # Errors
    /// Where the file that [`JOURNAL_VARIABLE`] names cannot be opened.
    pub(crate) fn from_environment() -> Result<Journal> {
        match std::env::var_os(JOURNAL_VARIABLE) {
            Some(path) => Journal::append_to(Path::new(&path)),
            None => Ok(Journal(None)),
        }
    }

    fn append_to(path: &Path) -> Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {} ({JOURNAL_VARIABLE})", path.display()))?;
        Ok(Journal(Some(Mutex::new(file))))
    }

    /// Appends a line in one write, so that a reader never sees two of them mixed.
    ///
    /// # Errors
    /// Where it cannot be written, as on a full disk.
    pub(crate) fn write(&self, entry: &Entry<'_>) -> Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut line = serde_json::to_vec(entry).context("writing an event of the specs as JSON")?;
        line.push(b'\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).context("appending to the file of the specs' events")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn writes_one_json_line_per_entry() {
        let path = std::env::temp_dir().join(format!("specs-journal-{}.jsonl", uuid::Uuid::new_v4()));
        let journal = Journal::append_to(&path).unwrap();
        journal.write(&Entry::SpecStarted { spec: "auth::s46" }).unwrap();
        let evidence = Some(Path::new("/run/evidence/s46"));
        let message = "expected 401,\nfound 201";
        journal
            .write(&Entry::SpecFinished {
                spec: "auth::s46",
                outcome: Outcome::Failed,
                seconds: 1.5,
                message,
                evidence,
            })
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                json!({"event": "spec_started", "spec": "auth::s46"}),
                json!({"event": "spec_finished", "spec": "auth::s46", "outcome": "failed", "seconds": 1.5,
                       "message": message, "evidence": "/run/evidence/s46"}),
            ]
        );
    }
}
