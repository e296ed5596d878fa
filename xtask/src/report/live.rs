//! The live picture on a terminal: what has ended scrolls by for good, what goes on is redrawn below it.

use std::fmt::Write as _;
use std::io::Write as _;

use console::{Style, Term, measure_text_width};

use super::frame::{Size, frame};
use super::text::{self, Tone, duration};
use crate::events::{Event, Reporter, RunFolder, Timeline, What};

/// How far apart two pictures are at least, in microseconds.
const PICTURE_US: u64 = 80_000;

/// Draws a run on the terminal while it goes on.
#[derive(Debug)]
pub struct Live {
    painter: Painter,
    folder: RunFolder,
    pending: Vec<String>,
    drawn_us: Option<u64>,
}

impl Live {
    /// On this process's terminal.
    pub fn new(folder: RunFolder) -> Self {
        Self { painter: Painter::new(Term::stderr()), folder, pending: Vec::new(), drawn_us: None }
    }

    fn draw(&mut self, timeline: &Timeline, now_us: u64) {
        self.drawn_us = Some(now_us);
        let lines = std::mem::take(&mut self.pending);
        if timeline.result.is_some() {
            self.painter.paint(&lines, &[]);
        } else {
            let picture = frame(timeline, now_us, self.painter.size());
            self.painter.paint(&lines, &picture);
        }
    }
}

impl Reporter for Live {
    fn event(&mut self, event: &Event, timeline: &Timeline) {
        self.pending.extend(lasting(event, timeline, &self.folder));
        if matches!(event.what, What::RunFinished { .. }) {
            self.draw(timeline, event.at_us);
        } else {
            self.tick(timeline, event.at_us);
        }
    }

    fn tick(&mut self, timeline: &Timeline, now_us: u64) {
        let due = self.drawn_us.is_none_or(|drawn| now_us.saturating_sub(drawn) >= PICTURE_US);
        if due && (timeline.result.is_none() || !self.pending.is_empty()) {
            self.draw(timeline, now_us);
        }
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}

/// The lines that stay: what ended, what failed with all that is known, what the run as a whole says.
pub fn lasting(event: &Event, timeline: &Timeline, folder: &RunFolder) -> Vec<String> {
    let shown = match &event.what {
        What::StepFinished { .. }
        | What::StepFailed { .. }
        | What::StepCancelled { .. }
        | What::SpecFailed { .. }
        | What::SpecUnfinished { .. }
        | What::Note { .. }
        | What::RunStarted(_) => true,
        What::SpecPassed { attempts, .. } => *attempts > 1,
        _ => false,
    };
    let Some((tone, line)) = text::line(event, timeline).filter(|_| shown) else { return Vec::new() };
    let (mark, style) = match tone {
        Tone::Good => ("✓", Style::new().for_stderr().green()),
        Tone::Bad => ("✗", Style::new().for_stderr().red().bold()),
        Tone::Pale => ("-", Style::new().for_stderr().dim()),
        Tone::Quiet => (" ", Style::new().for_stderr()),
    };
    let mut lines = Vec::new();
    for (number, part) in line.lines().enumerate() {
        let body =
            if matches!(tone, Tone::Bad | Tone::Pale) { style.apply_to(part).to_string() } else { part.to_owned() };
        if number == 0 {
            lines.push(format!("{:>11} {} {body}", duration(event.at_us), style.apply_to(mark)));
        } else {
            lines.push(format!("{:>13} {body}", ""));
        }
    }
    if let What::StepFailed { step, .. } = &event.what {
        let log = folder.step_log(step);
        if log.is_file() {
            lines.push(format!("{:>13} its log is {log}", ""));
        }
    }
    lines
}

/// Draws lines that stay, and below them a picture that the next one replaces.
#[derive(Debug)]
pub struct Painter {
    term: Term,
    /// The widths of the lines of the picture on the screen.
    drawn: Vec<usize>,
}

impl Painter {
    /// On this terminal.
    pub fn new(term: Term) -> Self {
        Self { term, drawn: Vec::new() }
    }

    /// How large a picture may be: one line is kept for the cursor.
    pub fn size(&self) -> Size {
        let (height, width) = self.term.size();
        // A line that fills its row to the end would be joined with the next when the window is made wider.
        Size {
            width: usize::from(width).saturating_sub(1).max(20),
            height: usize::from(height).saturating_sub(2).max(1),
        }
    }

    /// Replaces the picture: `lasting` stays above `picture`. One write, so that nothing flickers.
    pub fn paint(&mut self, lasting: &[String], picture: &[String]) {
        let out = self.sequence(lasting, picture);
        // Without a terminal to draw on there is nobody to tell.
        let _ = self.term.write_all(out.as_bytes()).and_then(|()| self.term.flush());
    }

    fn sequence(&mut self, lasting: &[String], picture: &[String]) -> String {
        // Synchronized update, where the terminal knows it: all of this appears at once.
        let mut out = String::from("\x1b[?2026h");
        // A terminal that was made narrower has broken the old lines anew; they take more rows than there were lines.
        let width = self.size().width + 1;
        let rows: usize = self.drawn.iter().map(|drawn| drawn.div_ceil(width).max(1)).sum();
        if rows > 0 {
            let _ = write!(out, "\x1b[{rows}A");
        }
        out.push('\r');
        for line in lasting.iter().chain(picture) {
            out.push_str(line);
            // What an older, longer line left behind it.
            out.push_str("\x1b[K\n");
        }
        out.push_str("\x1b[J\x1b[?2026l");
        self.drawn = picture.iter().map(|line| measure_text_width(line)).collect();
        out
    }
}
