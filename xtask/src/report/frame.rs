//! The picture of a run at one moment, as lines of text: pure, so that it can be tested.

use std::collections::HashMap;

use console::{Style, measure_text_width, truncate_str};

use super::text::{SpecCounts, duration};
use crate::events::{SpecStatus, StepState, StepStatus, Timeline};
use crate::plan::{On, StepId, StepKind};

/// What the picture has to fit into, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// What runs, for how long and for how much longer, and what waits for what: at `now_us` since the run began.
///
/// Every line fits `size`; where lines do not all fit, waiting steps are the first to go, then running ones, and what
/// is left out is counted.
pub fn frame(timeline: &Timeline, now_us: u64, size: Size) -> Vec<String> {
    let running: Vec<&StepState> = timeline.steps.iter().filter(|state| state.status == StepStatus::Running).collect();
    let waiting: Vec<&StepState> =
        timeline.steps.iter().filter(|state| matches!(state.status, StepStatus::Waiting | StepStatus::Ready)).collect();
    let names = running.iter().chain(&waiting).map(|state| state.step.id.as_str().chars().count());
    let column = names.max().unwrap_or(0).min(size.width / 3);

    let mut lines = vec![heading(timeline, now_us, running.len())];
    let room = size.height.saturating_sub(1);
    let (shown, hidden) = fit(&running, room);
    for state in shown {
        lines.push(running_line(timeline, state, now_us, column));
    }
    if hidden > 0 {
        lines.push(dim(&format!("  … and {hidden} more that run")));
    }
    // What waits must not push what has ended off a terminal.
    let room = size.height.saturating_sub(lines.len()).min((size.height / 3).max(3));
    let (shown, hidden) = fit(&waiting, room);
    for state in shown {
        lines.push(waiting_line(timeline, state, column));
    }
    if hidden > 0 && room > 0 {
        lines.push(dim(&format!("  … and {hidden} more that wait")));
    }
    lines.truncate(size.height.max(1));
    lines.iter().map(|line| truncate_str(line, size.width, "…").into_owned()).collect()
}

/// Those that fit, one line being kept for the number of the others.
fn fit<'s, 't>(states: &'s [&'t StepState], room: usize) -> (&'s [&'t StepState], usize) {
    if states.len() <= room {
        return (states, 0);
    }
    let shown = room.saturating_sub(1);
    (&states[..shown], states.len() - shown)
}

fn dim(text: &str) -> String {
    Style::new().for_stderr().dim().apply_to(text).to_string()
}

fn heading(timeline: &Timeline, now_us: u64, running: usize) -> String {
    let Some(run) = &timeline.run else { return "a run that has not begun".to_owned() };
    let over = timeline.steps.iter().filter(|state| state.is_over()).count();
    let bold = Style::new().for_stderr().bold();
    let mut text = format!(
        "{}  {}",
        bold.apply_to(duration(now_us)),
        bold.apply_to(format!("{} ({})", run.subject(), run.plan.schedule)),
    );
    text.push_str(&format!("  {over} of {} steps over", timeline.steps.len()));
    if running > 0 {
        let left_us = time_left_us(timeline, now_us);
        let left = if left_us < 100_000 {
            "longer than expected".to_owned()
        } else {
            format!("about {} left", duration(left_us))
        };
        text.push_str(&format!(", {running} running, {left}"));
    } else if let Some((_, note)) = timeline.notes.last() {
        text.push_str(&format!(", {note}"));
    }
    text
}

/// How much longer it takes if the steps that are left take as long as expected, in microseconds.
pub fn time_left_us(timeline: &Timeline, now_us: u64) -> u64 {
    let left_us = |started_us: u64, expected_us: u64| (started_us + expected_us).saturating_sub(now_us);
    let mut ends: HashMap<&StepId, (&StepState, u64, u64)> = HashMap::new();
    let mut last = 0;
    for state in &timeline.steps {
        let expected_us = (state.step.expected.seconds * 1e6) as u64;
        let (start_us, end_us) = match (state.started_us, state.is_over()) {
            (_, true) => (0, 0),
            (Some(started_us), false) => (0, left_us(started_us, expected_us)),
            (None, false) => {
                let mut start_us = 0;
                for need in &state.step.needs {
                    let Some((other, start, end)) = ends.get(&need.step) else { continue };
                    let until_us = (other.step.expected_until_s(&need.on) * 1e6) as u64;
                    start_us = start_us.max(match (&need.on, other.started_us) {
                        (On::Finish, _) => *end,
                        _ if other.met_us(&need.on).is_some() => 0,
                        (On::Milestone(_), Some(started_us)) => left_us(started_us, until_us).min(*end),
                        (On::Milestone(_), None) => start + until_us,
                    });
                }
                (start_us, start_us + expected_us)
            }
        };
        last = last.max(end_us);
        ends.insert(&state.step.id, (state, start_us, end_us));
    }
    last
}

fn running_line(timeline: &Timeline, state: &StepState, now_us: u64, column: usize) -> String {
    let elapsed_us = state.elapsed_us(now_us).unwrap_or(0);
    let expected_us = (state.step.expected.seconds * 1e6) as u64;
    let late = elapsed_us > expected_us.saturating_mul(2).max(expected_us + 2_000_000);
    let time = Style::new().for_stderr();
    let time = if late { time.yellow() } else { time.cyan() };
    let elapsed = format!("{:>11}", duration(elapsed_us));
    let of = format!("of {:<11}", duration(expected_us));
    let note = note(timeline, state);
    format!(
        "  {}{}  {} {} {}  {note}",
        Style::new().for_stderr().bold().apply_to(&state.step.id),
        pad(state.step.id.as_str(), column),
        time.apply_to(elapsed),
        dim(&of),
        bar(elapsed_us, expected_us),
    )
}

/// What the step is at: of the specs, their numbers and those that run.
fn note(timeline: &Timeline, state: &StepState) -> String {
    let is_specs = state.step.kind == StepKind::Specs;
    if is_specs && !timeline.specs.is_empty() {
        let counts = SpecCounts::of(timeline);
        let over = counts.passed + counts.failed + counts.ignored;
        let mut text = format!("{over} of {}", counts.all);
        if counts.failed > 0 {
            let red = Style::new().for_stderr().red();
            text.push_str(&format!(", {}", red.apply_to(format!("{} failed", counts.failed))));
        }
        let running = timeline.specs.iter().filter(|spec| spec.status == SpecStatus::Running);
        let running: Vec<&str> = running.map(|spec| spec.name.as_str()).collect();
        if !running.is_empty() {
            text.push_str(&format!(": {}", running.join(", ")));
        }
        return text;
    }
    if state.note.is_empty() { dim(&state.step.title) } else { state.note.clone() }
}

fn bar(elapsed_us: u64, expected_us: u64) -> String {
    const CELLS: u64 = 12;
    let filled = (elapsed_us * CELLS).checked_div(expected_us).unwrap_or(CELLS).min(CELLS) as usize;
    let empty = CELLS as usize - filled;
    format!("{}{}", "━".repeat(filled), dim(&"─".repeat(empty)))
}

fn waiting_line(timeline: &Timeline, state: &StepState, column: usize) -> String {
    let why = if state.status == StepStatus::Ready && !state.note.is_empty() {
        state.note.clone()
    } else if state.status == StepStatus::Ready {
        format!("waits for a slot ({})", state.step.resource.name())
    } else {
        let needs: Vec<String> = timeline.unmet(state).map(|what| what.to_string()).collect();
        format!("waits for {}", needs.join(", "))
    };
    dim(&format!("  {}{}  {why}", state.step.id, pad(state.step.id.as_str(), column)))
}

fn pad(text: &str, column: usize) -> String {
    " ".repeat(column.saturating_sub(measure_text_width(text)))
}
