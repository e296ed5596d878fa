//! The last lines of a run: what came of it, and where its time went.

use std::fmt::Write as _;

use super::analysis;
use super::text::{SpecCounts, bytes, duration, not_run, red_specs, usage};
use crate::events::{RunFolder, RunResult, StepStatus, Timeline};
use crate::plan::StepKind;

/// The summary of a run that is over, for a terminal, without colours; ends with a line break.
pub fn summary(timeline: &Timeline, folder: Option<&RunFolder>) -> String {
    let mut out = String::new();
    if matches!(timeline.result, Some((RunResult::WrongUsage, _))) {
        // Where the time went is not what matters then, nor what never began.
        let errors = timeline.steps.iter().filter_map(|state| match &state.status {
            StepStatus::Failed(error) => Some(error),
            _ => None,
        });
        errors.for_each(|error| out.push_str(&format!("wrong usage: {error}\n")));
        last_line(&mut out, timeline, folder);
        return out;
    }
    failures(&mut out, timeline, folder);
    phases(&mut out, timeline);
    path(&mut out, timeline);
    bounds(&mut out, timeline);
    let flaky: Vec<&str> =
        timeline.specs.iter().filter(|spec| spec.is_flaky()).map(|spec| spec.name.as_str()).collect();
    if !flaky.is_empty() {
        let _ = writeln!(out, "flaky: {}", flaky.join(", "));
    }
    last_line(&mut out, timeline, folder);
    out
}

fn last_line(out: &mut String, timeline: &Timeline, folder: Option<&RunFolder>) {
    let mut last = String::from("\n");
    if !timeline.specs.is_empty() {
        let _ = write!(last, "{}; ", SpecCounts::of(timeline).sentence());
    }
    match &timeline.result {
        Some((result, _)) => {
            let _ = write!(last, "{} in {}", result.name(), duration(timeline.last_us));
        }
        None => {
            let _ = write!(last, "not finished after {}", duration(timeline.last_us));
        }
    }
    out.push_str(&last);
    if let Some(folder) = folder {
        let _ = write!(out, "; everything is in {}", folder.path());
    }
    out.push('\n');
}

/// What the machine did meanwhile, and what another order could gain.
fn bounds(out: &mut String, timeline: &Timeline) {
    let cores = timeline.run.as_ref().map_or(1, |run| run.cores.max(1));
    if let Some(machine) = analysis::machine(timeline) {
        let _ = writeln!(
            out,
            "\nThe machine computed {:.1} s ({:.1} s in this run's own processes, the rest in containers and beside it): \
             {:.2} of {cores} cores were busy on the mean; at most {} of memory were in use.",
            machine.cpu_s,
            analysis::children_cpu_s(timeline),
            machine.busy_cores(),
            bytes(machine.peak_memory_bytes),
        );
    }
    if let Some(bound) = analysis::lower_bound(timeline) {
        let _ = writeln!(
            out,
            "\nNo order of these steps takes less than {:.1} s here (longest way {:.1} s, CPU time over cores {:.1} s); this one took {}.",
            bound.seconds(),
            bound.path_s,
            bound.cpu_s,
            duration(analysis::end_us(timeline)),
        );
    }
}

fn failures(out: &mut String, timeline: &Timeline, folder: Option<&RunFolder>) {
    let mut red = String::new();
    for (spec, what, why) in red_specs(timeline) {
        let _ = writeln!(red, "spec {spec} {what}: {why}");
    }
    let not_run = not_run(timeline);
    if !not_run.is_empty() {
        let _ = writeln!(red, "{} specs did not run: {}", not_run.len(), not_run.join(", "));
    }
    // What each spec says tells more than how many they are, but where something else is to blame.
    let to_blame = timeline.result.as_ref().is_some_and(|(result, _)| *result == RunResult::SpecsFailed);
    for state in &timeline.steps {
        if let StepStatus::Failed(error) = &state.status {
            if to_blame && state.step.kind == StepKind::Specs {
                out.push_str(&std::mem::take(&mut red));
            }
            let _ = writeln!(out, "step {} failed: {error}", state.step.id);
            if let Some(folder) = folder {
                let _ = writeln!(out, "    its log: {}", folder.step_log(&state.step.id));
            }
        }
    }
    out.push_str(&red);
    let skipped = timeline.steps.iter().filter(|state| matches!(state.status, StepStatus::Skipped { .. }));
    let skipped: Vec<&str> = skipped.map(|state| state.step.id.as_str()).collect();
    if !skipped.is_empty() {
        let _ = writeln!(out, "never began: {}", skipped.join(", "));
    }
    if !out.is_empty() {
        out.push('\n');
    }
}

fn phases(out: &mut String, timeline: &Timeline) {
    let phases = analysis::phases(timeline);
    let width = phases.iter().map(|phase| phase.name.chars().count()).max().unwrap_or(0).max(5);
    let _ = writeln!(out, "{:width$}  {:>11}  {:>11}  {:>11}  {:>9}", "phase", "from", "to", "busy", "CPU");
    for phase in &phases {
        let Some(start_us) = phase.start_us else {
            let _ = writeln!(out, "{:width$}  {:>11}", phase.name, "–");
            continue;
        };
        let _ = writeln!(
            out,
            "{:width$}  {:>11}  {:>11}  {:>11}  {:>7.1} s",
            phase.name,
            duration(start_us),
            duration(phase.end_us),
            duration(phase.busy_us),
            phase.cpu_s,
        );
    }
}

fn path(out: &mut String, timeline: &Timeline) {
    let path = analysis::critical_path(timeline);
    if path.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ncritical path:");
    let width = path.iter().map(|step| step.id.as_str().chars().count()).max().unwrap_or(0);
    for step in &path {
        let used = timeline.step(&step.id).map(|state| usage(&state.usage)).unwrap_or_default();
        let waited = if step.waited_us >= 50_000 {
            format!("had waited {} to begin", duration(step.waited_us))
        } else {
            String::new()
        };
        let notes: Vec<String> = [used, waited].into_iter().filter(|note| !note.is_empty()).collect();
        let line = format!(
            "  {:width$}  {:>11}  from {:>11}  {}",
            step.id.as_str(),
            duration(step.end_us.saturating_sub(step.start_us)),
            duration(step.start_us),
            notes.join(", "),
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
}
