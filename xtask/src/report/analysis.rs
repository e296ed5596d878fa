//! What a finished run tells about its time: where it went, and what it could not have been shorter than.

use std::collections::HashMap;

use crate::events::{StepState, StepStatus, Timeline};
use crate::plan::{Origin, StepId, StepKind};

/// What begins so soon after something else has ended, in microseconds, begins because of it.
const AT_ONCE_US: u64 = 50_000;

/// One step of the way that decided how long the run took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStep {
    /// Which step.
    pub id: StepId,
    /// When it began, in microseconds since the run began.
    pub start_us: u64,
    /// When the next step of the path could go on: its end, or a milestone of it.
    pub end_us: u64,
    /// How long it could have run but had no slot or was better begun later, but for the time of the step before it.
    pub waited_us: u64,
}

/// Whether every step ended well or with red specs, so that the run's times say something about the whole plan.
pub fn is_whole(timeline: &Timeline) -> bool {
    let ended = |state: &StepState| state.started_us.is_some() && state.ended_us.is_some();
    let stopped = |state: &StepState| matches!(state.status, StepStatus::Cancelled(_));
    let broken =
        |state: &StepState| matches!(state.status, StepStatus::Failed(_)) && state.step.kind != StepKind::Specs;
    let well = |state: &StepState| ended(state) && !stopped(state) && !broken(state);
    !timeline.steps.is_empty() && timeline.steps.iter().all(well)
}

/// The steps that decided how long the run took, first to last: each is the need that the next one waited for longest,
/// or what it waited for without a need.
/// Of a run that did not get to its end, nothing.
pub fn critical_path(timeline: &Timeline) -> Vec<PathStep> {
    let last = timeline.steps.iter().max_by_key(|state| state.ended_us);
    let Some(mut state) = last.filter(|_| is_whole(timeline)) else {
        return Vec::new();
    };
    let mut end_us = state.ended_us.unwrap_or(0);
    let mut path = Vec::new();
    loop {
        let start_us = state.started_us.unwrap_or(0);
        let released = state.step.needs.iter().filter_map(|need| {
            let other = timeline.step(&need.step)?;
            // Red specs have ended, too.
            let at_us = other.met_us(&need.on).or(other.ended_us)?;
            Some((at_us, other))
        });
        let last = released.max_by_key(|(at, _)| *at);
        let ready_us = state.ready_us.unwrap_or_else(|| last.map_or(0, |(at, _)| at));
        let let_go = (start_us.saturating_sub(ready_us) > AT_ONCE_US).then(|| let_go_by(timeline, start_us)).flatten();
        let waited_us = start_us.saturating_sub(let_go.map_or(ready_us, |(at, _)| at));
        let last = let_go.or(last);
        path.push(PathStep { id: state.step.id.clone(), start_us, end_us, waited_us });
        let Some((at, other)) = last else { break };
        end_us = at;
        state = other;
    }
    path.reverse();
    path
}

/// The step whose end let another one begin that had waited without a need: it left a slot, or was to be over first.
fn let_go_by(timeline: &Timeline, start_us: u64) -> Option<(u64, &StepState)> {
    let before = timeline.steps.iter().filter(|state| state.started_us.is_some_and(|begun_us| begun_us < start_us));
    let ends = before.filter_map(|state| Some((state.ended_us?, state)));
    let just_ended = ends.filter(|(at, _)| *at <= start_us && start_us - at <= AT_ONCE_US);
    just_ended.max_by_key(|(at, _)| *at)
}

/// The time of one of the suite's phases, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseTime {
    /// Its name.
    pub name: String,
    /// When its first step began; none where none did.
    pub start_us: Option<u64>,
    /// When its last step ended.
    pub end_us: u64,
    /// How long at least one of its steps ran.
    pub busy_us: u64,
    /// What its steps' children used of the CPU, in seconds; of a step that serves several phases, an equal share.
    pub cpu_s: f64,
}

/// The times of the suite's phases, in its order.
pub fn phases(timeline: &Timeline) -> Vec<PhaseTime> {
    let names = timeline.run.as_ref().map_or(&[][..], |run| &run.plan.phases);
    names.iter().map(|name| phase(timeline, name)).collect()
}

fn phase(timeline: &Timeline, name: &str) -> PhaseTime {
    let mut time = PhaseTime { name: name.to_owned(), start_us: None, end_us: 0, busy_us: 0, cpu_s: 0.0 };
    let mut spans = Vec::new();
    for state in timeline.steps.iter().filter(|state| state.step.phases.iter().any(|phase| phase == name)) {
        let Some(start) = state.started_us else { continue };
        spans.push((start, state.ended_us.unwrap_or(timeline.last_us)));
        time.cpu_s += state.usage.cpu_s / state.step.phases.len() as f64;
    }
    time.start_us = spans.iter().map(|(start, _)| *start).min();
    time.end_us = spans.iter().map(|(_, end)| *end).max().unwrap_or(0);
    time.busy_us = covered(spans);
    time
}

/// How much of the time axis these spans cover together.
fn covered(mut spans: Vec<(u64, u64)>) -> u64 {
    spans.sort_unstable();
    let mut covered = 0;
    let mut until = 0;
    for (start, end) in spans {
        covered += end.saturating_sub(start.max(until));
        until = until.max(end);
    }
    covered
}

/// What the whole machine used from the first step's begin to the last one's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineUse {
    /// CPU time over all cores, in seconds.
    pub cpu_s: f64,
    /// How long that was, in seconds.
    pub elapsed_s: f64,
    /// The most memory that was in use, in bytes.
    pub peak_memory_bytes: u64,
}

impl MachineUse {
    /// How many cores were busy on the mean.
    pub fn busy_cores(self) -> f64 {
        if self.elapsed_s > 0.0 { self.cpu_s / self.elapsed_s } else { 0.0 }
    }
}

/// What the machine used in this run; none where the system did not tell.
pub fn machine(timeline: &Timeline) -> Option<MachineUse> {
    let (first, last) = (timeline.machine.first()?, timeline.machine.last()?);
    Some(MachineUse {
        cpu_s: last.cpu_s - first.cpu_s,
        elapsed_s: last.at_us.saturating_sub(first.at_us) as f64 / 1e6,
        peak_memory_bytes: timeline.machine.iter().map(|moment| moment.memory_bytes).max()?,
    })
}

/// CPU time of the steps' own children, in seconds: without containers, whose parent is the engine.
pub fn children_cpu_s(timeline: &Timeline) -> f64 {
    timeline.steps.iter().map(|state| state.usage.cpu_s).sum()
}

/// What no order of the same steps could undercut on this machine, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowerBound {
    /// The longest way through the needs that the schedule did not add, by the steps' own times.
    pub path_s: f64,
    /// All CPU time, divided by the cores: the machine's where it is known, else that of the steps' children.
    pub cpu_s: f64,
}

impl LowerBound {
    /// The larger of the two.
    pub fn seconds(self) -> f64 {
        self.path_s.max(self.cpu_s)
    }
}

/// The lower bound that follows from a run's own times; none where it did not get to its end.
pub fn lower_bound(timeline: &Timeline) -> Option<LowerBound> {
    if !is_whole(timeline) {
        return None;
    }
    let cores = timeline.run.as_ref().map_or(1, |run| run.cores.max(1));
    let children_s = children_cpu_s(timeline);
    let cpu_s = machine(timeline).map_or(children_s, |machine| machine.cpu_s.max(children_s));
    let own_us = |state: &StepState| state.elapsed_us(timeline.last_us).unwrap_or(0);
    Some(LowerBound { path_s: longest_way_us(timeline, own_us) as f64 / 1e6, cpu_s: cpu_s / cores as f64 })
}

/// The longest way through the needs that the schedule did not add, in microseconds, where each step takes as long as
/// `own_us` says; up to a milestone as long as in this run, and no longer than the whole step.
pub fn longest_way_us(timeline: &Timeline, own_us: impl Fn(&StepState) -> u64) -> u64 {
    // Steps stand behind what they need, so one pass suffices.
    let mut times: HashMap<&StepId, (&StepState, u64, u64)> = HashMap::new();
    for state in &timeline.steps {
        let mut start_us = 0;
        for need in state.step.needs.iter().filter(|need| need.origin != Origin::Schedule) {
            let Some((other, start, end)) = times.get(&need.step) else { continue };
            let until_us = other.met_us(&need.on).zip(other.started_us).map(|(at_us, from_us)| at_us - from_us);
            start_us = start_us.max(until_us.map_or(*end, |until_us| end.min(&(start + until_us)).to_owned()));
        }
        times.insert(&state.step.id, (state, start_us, start_us + own_us(state)));
    }
    times.values().map(|(.., end)| *end).max().unwrap_or(0)
}

/// When the last step had ended, in microseconds; what came after it, like clean-up, is no part of the work.
pub fn end_us(timeline: &Timeline) -> u64 {
    timeline.steps.iter().filter_map(|state| state.ended_us).max().unwrap_or(timeline.last_us)
}

/// When everything that is not the specs had ended, in microseconds; none where it never did.
pub fn set_up_us(timeline: &Timeline) -> Option<u64> {
    let set_up = timeline.steps.iter().filter(|state| state.step.kind != StepKind::Specs);
    set_up.map(|state| state.started_us.and(state.ended_us)).try_fold(0, |last, end| Some(last.max(end?)))
}
