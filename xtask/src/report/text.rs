//! Numbers as people read them, and one line for each event.

use crate::events::{Event, SpecState, SpecStatus, StepState, Timeline, Usage, What};

/// `0.4 s`, `14.2 s`, `2 min 05 s`.
pub fn duration(us: u64) -> String {
    let seconds = us as f64 / 1e6;
    if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = (us + 500_000) / 1_000_000;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// `12 B`, `3.4 kB`, `21 MB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 9.95 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// What a step used, in words; empty where nothing is known.
pub fn usage(usage: &Usage) -> String {
    let mut parts = Vec::new();
    if usage.cpu_s >= 0.05 {
        parts.push(format!("{:.1} s CPU", usage.cpu_s));
    }
    if usage.bytes > 0 {
        parts.push(format!("{} moved", bytes(usage.bytes)));
    }
    if usage.peak_rss_bytes > 0 {
        parts.push(format!("{} memory", bytes(usage.peak_rss_bytes)));
    }
    parts.join(", ")
}

/// How weighty a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something begins or goes on.
    Quiet,
    /// Something ended well.
    Good,
    /// Something was left out.
    Pale,
    /// Something went wrong.
    Bad,
}

/// What a person is told of an event, and how; none where it is not worth a line.
pub fn line(event: &Event, timeline: &Timeline) -> Option<(Tone, String)> {
    let step = |id| timeline.step(id);
    Some(match &event.what {
        What::RunStarted(run) => (
            Tone::Quiet,
            format!(
                "{}: schedule {}, build {}, {} steps",
                run.subject(),
                run.plan.schedule,
                run.plan.build.name(),
                run.plan.steps.len()
            ),
        ),
        What::StepStarted { step: id } => (Tone::Quiet, format!("{id}: begins{}", expected(step(id)))),
        What::StepProgress { step, note } => (Tone::Quiet, format!("{step}: {note}")),
        What::StepReached { step: id, .. } => {
            let state = step(id)?;
            (Tone::Quiet, format!("{id}: {} after {}", state.note, elapsed(Some(state), timeline)))
        }
        What::StepFinished { step: id, usage: used } => {
            let used = usage(used);
            let used = if used.is_empty() { used } else { format!(" ({used})") };
            (Tone::Good, format!("{id}: done in {}{used}", elapsed(step(id), timeline)))
        }
        What::StepFailed { step: id, error, .. } => {
            (Tone::Bad, format!("{id}: FAILED after {}: {error}", elapsed(step(id), timeline)))
        }
        What::StepCancelled { step: id, .. } => {
            (Tone::Pale, format!("{id}: stopped after {}", elapsed(step(id), timeline)))
        }
        What::SpecsListed { specs, .. } => (Tone::Quiet, format!("{} specs", specs.len())),
        What::SpecPassed { spec, attempts } => {
            let flaky = if *attempts > 1 { format!(", FLAKY: passed in attempt {attempts}") } else { String::new() };
            (Tone::Good, format!("spec {spec}: ok in {}{flaky}", spec_elapsed(spec, timeline)))
        }
        What::SpecFailed { spec, error, .. } => {
            (Tone::Bad, format!("spec {spec}: FAILED after {}: {error}", spec_elapsed(spec, timeline)))
        }
        // Of those that never began there may be many, all for the same reason, which the step tells.
        What::SpecUnfinished { attempts: 0, .. } => return None,
        What::SpecUnfinished { spec, reason, .. } => (Tone::Bad, format!("spec {spec}: DID NOT END: {reason}")),
        What::Note { text } => (Tone::Quiet, text.clone()),
        What::RunFinished { result, reason } => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let bad = *result != crate::events::RunResult::Passed;
            (
                if bad { Tone::Bad } else { Tone::Good },
                format!("{} in {}{reason}", result.name(), duration(event.at_us)),
            )
        }
        // What was skipped follows from what failed; the summary lists it.
        What::StepSkipped { .. }
        | What::StepReady { .. }
        | What::StepFact { .. }
        | What::MachineUsed { .. }
        | What::SpecsSplit(_)
        | What::SpecStarted { .. }
        | What::SpecIgnored { .. } => {
            return None;
        }
    })
}

fn expected(state: Option<&StepState>) -> String {
    let expected = state.map(|state| state.step.expected.seconds).filter(|seconds| *seconds >= 2.0);
    expected.map_or_else(String::new, |seconds| format!(" (about {})", duration((seconds * 1e6) as u64)))
}

fn elapsed(state: Option<&StepState>, timeline: &Timeline) -> String {
    duration(state.and_then(|state| state.elapsed_us(timeline.last_us)).unwrap_or(0))
}

fn spec_elapsed(name: &str, timeline: &Timeline) -> String {
    let spec = timeline.specs.iter().find(|spec| spec.name == name);
    duration(spec.and_then(|spec| spec.elapsed_us(timeline.last_us)).unwrap_or(0))
}

/// How many specs there are, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecCounts {
    /// All that are known.
    pub all: usize,
    /// Ended well, flaky ones among them.
    pub passed: usize,
    /// Ended well, but not in the first attempt.
    pub flaky: usize,
    /// Ended badly.
    pub failed: usize,
    /// Left out.
    pub ignored: usize,
    /// Running now; in a run that is over, begun and not ended.
    pub running: usize,
}

impl SpecCounts {
    /// The counts of a run.
    pub fn of(timeline: &Timeline) -> Self {
        let mut counts = Self { all: timeline.specs.len(), ..Self::default() };
        for spec in &timeline.specs {
            match spec.status {
                SpecStatus::Passed => counts.passed += 1,
                SpecStatus::Failed(_) => counts.failed += 1,
                SpecStatus::Ignored => counts.ignored += 1,
                SpecStatus::Running => counts.running += 1,
                SpecStatus::Unfinished(_) if spec.started_us.is_some() => counts.running += 1,
                SpecStatus::Listed | SpecStatus::Unfinished(_) => {}
            }
            counts.flaky += usize::from(spec.is_flaky());
        }
        counts
    }

    /// `45 passed, 1 failed, 1 did not end, 2 not run`, without what there is none of: of a run that is over.
    pub fn sentence(self) -> String {
        let rest = self.all - self.passed - self.failed - self.ignored - self.running;
        let parts = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.flaky, "flaky among the passed"),
            (self.ignored, "ignored"),
            (self.running, "did not end"),
            (rest, "not run"),
        ];
        let parts = parts.iter().filter(|(count, what)| *count > 0 || *what == "passed");
        parts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// The specs that began and did not pass: name, what happened, why.
pub fn red_specs(timeline: &Timeline) -> impl Iterator<Item = (&str, &'static str, &str)> {
    timeline.specs.iter().filter_map(|spec| match &spec.status {
        SpecStatus::Failed(error) => Some((spec.name.as_str(), "failed", error.as_str())),
        SpecStatus::Unfinished(why) if spec.started_us.is_some() => Some((&spec.name, "did not end", why)),
        _ => None,
    })
}

/// The specs that were to run and never began.
pub fn not_run(timeline: &Timeline) -> Vec<&str> {
    let unfinished = |spec: &&SpecState| matches!(spec.status, SpecStatus::Unfinished(_) | SpecStatus::Listed);
    let specs = timeline.specs.iter().filter(unfinished);
    specs.filter(|spec| spec.started_us.is_none()).map(|spec| spec.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (us, text) in [
            (0, "0.0 s"),
            (14_249_000, "14.2 s"),
            (99_949_000, "99.9 s"),
            (99_951_000, "1 min 40 s"),
            (125_400_000, "2 min 05 s"),
            (3_599_700_000, "60 min 00 s"),
        ] {
            assert_eq!(duration(us), text, "{us}");
        }
        for (count, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (21_400_000, "21 MB"), (999_600, "1.0 MB")]
        {
            assert_eq!(bytes(count), text, "{count}");
        }
    }
}
