//! The trace that chrome://tracing and Perfetto show: steps and specs on lanes, by what they use.

use serde_json::{Value, json};

use crate::events::{SpecStatus, StepStatus, Timeline};
use crate::plan::Resource;

/// The run as a Chrome trace, in JSON.
pub fn trace(timeline: &Timeline) -> String {
    let mut events = Vec::new();
    for (number, resource) in Resource::ALL.into_iter().enumerate() {
        let process = number + 1;
        events.push(name("process_name", process, 0, &format!("steps: {}", resource.name())));
        let mut lanes = Lanes::default();
        let mut steps: Vec<_> = timeline.steps.iter().filter(|state| state.step.resource == resource).collect();
        steps.sort_by_key(|state| state.started_us);
        for state in steps {
            let Some(start_us) = state.started_us else { continue };
            let end_us = state.ended_us.unwrap_or(timeline.last_us);
            let needs: Vec<String> = state.step.needs.iter().map(|need| need.what().to_string()).collect();
            let arguments = json!({
                "title": state.step.title,
                "phases": state.step.phases,
                "status": status(&state.status),
                "after": needs,
                "cpu_s": state.usage.cpu_s,
                "bytes": state.usage.bytes,
                "waited_us": start_us.saturating_sub(state.ready_us.unwrap_or(start_us)),
                "facts": state.facts,
            });
            let lane = lanes.take(start_us, end_us);
            events.push(span(state.step.id.as_str(), "step", process, lane, start_us, end_us, &arguments));
            let milestones = state.reached_us.iter().map(|(name, at_us)| {
                let id = state.step.id.milestone(name);
                json!({ "ph": "i", "s": "t", "name": id, "cat": "milestone", "pid": process, "tid": lane, "ts": at_us })
            });
            events.extend(milestones);
        }
    }
    let process = Resource::ALL.len() + 1;
    events.push(name("process_name", process, 0, "specs"));
    let mut lanes = Lanes::default();
    let mut specs: Vec<_> = timeline.specs.iter().collect();
    specs.sort_by_key(|spec| spec.started_us);
    for spec in specs {
        let Some(start_us) = spec.started_us else { continue };
        let end_us = spec.ended_us.unwrap_or(timeline.last_us);
        let arguments = json!({ "passed": spec.status == SpecStatus::Passed, "attempts": spec.attempts });
        let lane = lanes.take(start_us, end_us);
        events.push(span(&spec.name, "spec", process, lane, start_us, end_us, &arguments));
    }
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events });
    format!("{trace}\n")
}

fn name(what: &str, process: usize, lane: usize, name: &str) -> Value {
    json!({ "ph": "M", "name": what, "pid": process, "tid": lane, "args": { "name": name } })
}

fn span(
    name: &str,
    category: &str,
    process: usize,
    lane: usize,
    start_us: u64,
    end_us: u64,
    arguments: &Value,
) -> Value {
    json!({
        "ph": "X", "name": name, "cat": category, "pid": process, "tid": lane,
        "ts": start_us, "dur": end_us.saturating_sub(start_us), "args": arguments,
    })
}

fn status(status: &StepStatus) -> &'static str {
    match status {
        StepStatus::Waiting => "waiting",
        StepStatus::Ready => "ready",
        StepStatus::Running => "running",
        StepStatus::Finished => "finished",
        StepStatus::Failed(_) => "failed",
        StepStatus::Skipped { .. } => "skipped",
        StepStatus::Cancelled(_) => "stopped",
    }
}

/// As few lanes as there are things at the same time.
#[derive(Default)]
struct Lanes {
    free_from_us: Vec<u64>,
}

impl Lanes {
    fn take(&mut self, start_us: u64, end_us: u64) -> usize {
        let free = self.free_from_us.iter().position(|&free| free <= start_us);
        let lane = free.unwrap_or_else(|| {
            self.free_from_us.push(0);
            self.free_from_us.len() - 1
        });
        self.free_from_us[lane] = end_us;
        lane
    }
}
