//! One run, as numbers: read off its events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::events::{COMMANDS, POLLS, RunResult, Timeline};
use crate::hash::hex;
use crate::plan::{Slots, StepId, StepKind};
use crate::report::{analysis, text::SpecCounts};

/// The fact with the hash of what goes into a step.
pub const INPUTS: &str = "inputs";

/// All that is kept of one run. Times are seconds since its first step was ready to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Of the round, from 1; 0 for what ran to warm up.
    pub round: u32,
    /// Which one of the round it was, from 1.
    pub place: usize,
    /// Who ran.
    pub contender: String,
    /// The folder with its events, logs and reports, within the bench's.
    pub folder: String,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// How it ended.
    pub result: RunResult,
    /// Why, in one line; empty where all is well.
    pub reason: String,
    /// The text that was edited in; none where nothing was.
    pub edit: Option<String>,
    /// How many cores others kept busy in the second before it.
    pub busy_cores_before: Option<f64>,
    /// How many steps of each kind could run at a time.
    pub slots: Slots,
    /// The cores of the machine.
    pub cores: usize,
    /// When everything was deployed and ready; none where it never was.
    pub set_up_s: Option<f64>,
    /// How long the specs ran; none where they did not.
    pub tests_s: Option<f64>,
    /// When the last step had ended.
    pub total_s: f64,
    /// CPU time of the whole machine, over all cores; none where the system does not tell.
    pub machine_cpu_s: Option<f64>,
    /// CPU time of the steps' own children: containers are not among them.
    pub children_cpu_s: f64,
    /// The most memory that was in use on the machine, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes moved into the node.
    pub moved_bytes: u64,
    /// The longest way through the needs that are no schedule's, by the steps' own times.
    pub longest_way_s: Option<f64>,
    /// The steps that decided how long it took, first to last.
    pub critical_path: Vec<PathPart>,
    /// The suite's phases, in its order.
    pub phases: Vec<Phase>,
    /// The steps, in the plan's order.
    pub steps: Vec<Step>,
    /// How many specs passed, of those the flaky ones, and how many failed.
    pub specs: Specs,
}

/// A step's part of the way that decided how long a run took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathPart {
    pub step: StepId,
    /// For how long it held the next one up, in seconds.
    pub seconds: f64,
    /// How long it could have run but had no slot or was better begun later, in seconds.
    pub waited_s: f64,
}

/// A phase of the suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    /// How long at least one of its steps ran, in seconds.
    pub busy_s: f64,
}

/// A step that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    pub begin_s: f64,
    pub end_s: f64,
    /// How long it could have run but had no slot or was better begun later.
    pub waited_s: f64,
    /// CPU time of its children.
    pub cpu_s: f64,
    /// The largest resident size of any of its children.
    pub peak_rss_bytes: u64,
    pub moved_bytes: u64,
    /// What must be alike for times to be compared.
    pub conditions: BTreeMap<String, String>,
}

impl Step {
    /// How long it ran.
    pub fn seconds(&self) -> f64 {
        self.end_s - self.begin_s
    }
}

/// How the specs ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specs {
    pub passed: usize,
    pub flaky: usize,
    pub failed: usize,
}

/// What is known of a run before it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub round: u32,
    pub place: usize,
    pub contender: String,
    pub folder: String,
    pub edit: Option<String>,
    pub busy_cores_before: Option<f64>,
}

impl Run {
    /// Whether its times count.
    pub fn passed(&self) -> bool {
        self.result == RunResult::Passed
    }

    /// How many cores were busy on the mean.
    pub fn busy_cores(&self) -> Option<f64> {
        self.machine_cpu_s.filter(|_| self.total_s > 0.0).map(|cpu_s| cpu_s / self.total_s)
    }

    /// What no order of these steps could undercut, in seconds.
    pub fn lower_bound_s(&self) -> Option<f64> {
        let cpu_s = self.machine_cpu_s.unwrap_or(self.children_cpu_s) / self.cores.max(1) as f64;
        self.longest_way_s.map(|way_s| way_s.max(cpu_s))
    }

    /// The numbers of a run that is over.
    pub fn of(planned: Planned, timeline: &Timeline) -> Self {
        let run = timeline.run.as_ref();
        let begun_us = timeline.steps.iter().filter_map(|state| state.ready_us).min().unwrap_or(0);
        let since = |us: u64| us.saturating_sub(begun_us) as f64 / 1e6;
        let seconds = |us: u64| us as f64 / 1e6;
        let machine = analysis::machine(timeline);
        let specs = SpecCounts::of(timeline);
        let steps = timeline.steps.iter().filter_map(|state| {
            let (start_us, end_us) = (state.started_us?, state.ended_us?);
            Some(Step {
                id: state.step.id.clone(),
                begin_s: since(start_us),
                end_s: since(end_us),
                waited_s: seconds(start_us.saturating_sub(state.ready_us.unwrap_or(start_us))),
                cpu_s: state.usage.cpu_s,
                peak_rss_bytes: state.usage.peak_rss_bytes,
                moved_bytes: state.usage.bytes,
                conditions: conditions(&state.facts),
            })
        });
        let tests = timeline.steps.iter().find(|state| state.step.kind == StepKind::Specs);
        let (result, reason) = timeline.result.clone().unwrap_or((RunResult::Interrupted, "it was killed".to_owned()));
        Self {
            round: planned.round,
            place: planned.place,
            contender: planned.contender,
            folder: planned.folder,
            edit: planned.edit,
            busy_cores_before: planned.busy_cores_before,
            started_at: run.map(|run| run.started_at.clone()).unwrap_or_default(),
            result,
            reason,
            slots: run.map_or_else(|| Slots::for_cores(1), |run| run.slots),
            cores: run.map_or(1, |run| run.cores),
            set_up_s: analysis::set_up_us(timeline).map(since),
            tests_s: tests.and_then(|state| Some(seconds(state.ended_us?.saturating_sub(state.started_us?)))),
            total_s: since(analysis::end_us(timeline)),
            machine_cpu_s: machine.map(|machine| machine.cpu_s),
            children_cpu_s: analysis::children_cpu_s(timeline),
            peak_memory_bytes: machine.map(|machine| machine.peak_memory_bytes),
            moved_bytes: timeline.steps.iter().map(|state| state.usage.bytes).sum(),
            longest_way_s: analysis::lower_bound(timeline).map(|bound| bound.path_s),
            critical_path: analysis::critical_path(timeline)
                .into_iter()
                .map(|part| PathPart {
                    step: part.id,
                    seconds: seconds(part.end_us.saturating_sub(part.start_us)),
                    waited_s: seconds(part.waited_us),
                })
                .collect(),
            phases: analysis::phases(timeline)
                .into_iter()
                .map(|phase| Phase { name: phase.name, busy_s: seconds(phase.busy_us) })
                .collect(),
            steps: steps.collect(),
            specs: Specs { passed: specs.passed, flaky: specs.flaky, failed: specs.failed },
        }
    }
}

/// The runs of a contender that count: those of the rounds that passed.
pub fn counted<'r>(name: &'r str, runs: &'r [Run]) -> impl Iterator<Item = &'r Run> {
    runs.iter().filter(move |run| run.contender == name && run.round > 0 && run.passed())
}

/// The facts that decide whether times may be compared. Commands are kept as a hash: the run's events have them in full.
fn conditions(facts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = |key: &str| key == COMMANDS || key == INPUTS || key.starts_with(POLLS);
    let short = |key: &str, value: &str| match key {
        COMMANDS => hex(&Sha256::digest(value))[..16].to_owned(),
        _ => value.to_owned(),
    };
    facts.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), short(key, value))).collect()
}
