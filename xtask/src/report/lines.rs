//! Plain lines with times, for where no terminal is.

use std::collections::HashMap;
use std::io::Write;

use super::text::{self, duration};
use crate::events::{Event, Reporter, RunFolder, StepStatus, Timeline, What};
use crate::plan::StepId;

/// After how much silence a line tells what is still running, in microseconds.
const SILENCE_US: u64 = 15_000_000;
/// How far apart the progress lines of one step are at least, in microseconds.
const PROGRESS_US: u64 = 5_000_000;

/// Writes a line for each event that is worth one.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    folder: RunFolder,
    last_us: u64,
    progress_us: HashMap<StepId, u64>,
}

impl<W: Write> Lines<W> {
    /// Lines go to `out`; a failed step's log is named by where it lies in `folder`.
    pub fn new(out: W, folder: RunFolder) -> Self {
        Self { out, folder, last_us: 0, progress_us: HashMap::new() }
    }

    /// The lines' end, with a time before the first of them.
    pub(super) fn write(&mut self, at_us: u64, text: &str) {
        self.last_us = at_us;
        let indent = "             ";
        let text = text.replace('\n', &format!("\n{indent}"));
        // Nobody is left to tell where this stream is closed; the events are kept in any case.
        let _ = writeln!(self.out, "{:>11}  {text}", duration(at_us)).and_then(|()| self.out.flush());
    }

    /// Writes as it is, without a time.
    pub(super) fn raw(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    fn is_too_soon(&mut self, step: &StepId, at_us: u64) -> bool {
        let last = self.progress_us.get(step).copied();
        if last.is_some_and(|last| at_us.saturating_sub(last) < PROGRESS_US) {
            return true;
        }
        self.progress_us.insert(step.clone(), at_us);
        false
    }
}

impl<W: Write> Reporter for Lines<W> {
    fn event(&mut self, event: &Event, timeline: &Timeline) {
        match &event.what {
            // Its begin is told; what it is at follows only if it takes its time.
            What::StepStarted { step } => {
                self.progress_us.insert(step.clone(), event.at_us);
            }
            What::StepProgress { step, .. } if self.is_too_soon(step, event.at_us) => return,
            _ => {}
        }
        if let Some((_, line)) = text::line(event, timeline) {
            self.write(event.at_us, &line);
        }
        if let What::StepFailed { step, .. } = &event.what {
            let log = self.folder.step_log(step);
            if log.is_file() {
                self.write(event.at_us, &format!("{step}: its log is {log}"));
            }
        }
    }

    fn tick(&mut self, timeline: &Timeline, now_us: u64) {
        if now_us.saturating_sub(self.last_us) < SILENCE_US {
            return;
        }
        let running = timeline.steps.iter().filter(|state| state.status == StepStatus::Running);
        let running: Vec<String> = running
            .map(|state| {
                let elapsed = duration(state.elapsed_us(now_us).unwrap_or(0));
                let note = if state.note.is_empty() { String::new() } else { format!(", {}", state.note) };
                format!("{} ({elapsed}{note})", state.step.id)
            })
            .collect();
        if !running.is_empty() {
            self.write(now_us, &format!("still running: {}", running.join(", ")));
        }
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}
