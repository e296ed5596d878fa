//! The state of a run, folded from its events.

use std::collections::{BTreeMap, HashMap};

use super::{Event, RunResult, RunStarted, Usage, What};
use crate::plan::{Need, On, Step, StepId};
use crate::shards::Split;

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepStatus {
    /// A need is not met yet.
    Waiting,
    /// It could run and has no slot.
    Ready,
    /// It runs.
    Running,
    /// It ended well.
    Finished,
    /// It ended with this error.
    Failed(String),
    /// It never began.
    Skipped {
        /// The step that failed; none where the run was cancelled.
        because: Option<StepId>,
        /// Why, in words.
        reason: String,
    },
    /// It was told to stop, and came back with this.
    Cancelled(String),
}

/// A step and what has become of it. Times are microseconds since the run began.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// As planned.
    pub step: Step,
    /// Where it is.
    pub status: StepStatus,
    /// When all its needs were met.
    pub ready_us: Option<u64>,
    /// When it began.
    pub started_us: Option<u64>,
    /// When it ended, or was given up.
    pub ended_us: Option<u64>,
    /// When it told of each milestone.
    pub reached_us: BTreeMap<String, u64>,
    /// The last that it told.
    pub note: String,
    /// What it used; known when it has ended.
    pub usage: Usage,
    /// What it told to stay true.
    pub facts: BTreeMap<String, String>,
}

impl StepState {
    /// How long it ran, or has run until `now_us`; none where it never began.
    pub fn elapsed_us(&self, now_us: u64) -> Option<u64> {
        Some(self.ended_us.unwrap_or(now_us).saturating_sub(self.started_us?))
    }

    /// When a need for it was met; none where it was not, or not yet.
    pub fn met_us(&self, on: &On) -> Option<u64> {
        let at_end = self.ended_us.filter(|_| self.status == StepStatus::Finished);
        match on {
            On::Milestone(name) => self.reached_us.get(name).copied().or(at_end),
            On::Finish => at_end,
        }
    }

    /// Whether it will not change any more.
    pub fn is_over(&self) -> bool {
        !matches!(self.status, StepStatus::Waiting | StepStatus::Ready | StepStatus::Running)
    }

    /// Whether it took another time than it usually does: see [`super::StepContext::unusual`].
    pub fn was_unusual(&self) -> bool {
        self.facts.contains_key(super::UNUSUAL)
    }
}

/// Where a spec is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecStatus {
    /// It is going to run.
    Listed,
    /// It runs.
    Running,
    /// It has passed.
    Passed,
    /// It has failed, with this message.
    Failed(String),
    /// It was left out.
    Ignored,
    /// It did not come to an end, or never began, for this reason.
    Unfinished(String),
}

/// A spec and what has become of it. Times are microseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecState {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub status: SpecStatus,
    /// When it began, the first time.
    pub started_us: Option<u64>,
    /// When it ended.
    pub ended_us: Option<u64>,
    /// How often it ran.
    pub attempts: u32,
    /// Whether it wants a part of the system for itself.
    pub alone: bool,
}

impl SpecState {
    /// What became of it where that is no end: in a run that is over.
    pub fn unended(&self) -> &'static str {
        if self.started_us.is_some() { "did not end" } else { "did not run" }
    }

    /// Whether it passed, but not at once.
    pub fn is_flaky(&self) -> bool {
        self.status == SpecStatus::Passed && self.attempts > 1
    }

    /// How long it ran, or has run until `now_us`; none where it never began.
    pub fn elapsed_us(&self, now_us: u64) -> Option<u64> {
        Some(self.ended_us.unwrap_or(now_us).saturating_sub(self.started_us?))
    }
}

/// What the whole machine had used by some moment of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineState {
    /// When, in microseconds since the run began.
    pub at_us: u64,
    /// CPU time since the first of these moments, in seconds, over all cores.
    pub cpu_s: f64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
}

/// All that is known of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// What the run is; none before its first event.
    pub run: Option<RunStarted>,
    /// The plan's steps, in the plan's order.
    pub steps: Vec<StepState>,
    /// The specs, in the order they became known.
    pub specs: Vec<SpecState>,
    /// How all specs are split, in a run of one shard that came to know them.
    pub split: Option<Split>,
    /// What the machine used, from the first step's begin to the last one's end; empty where that is not known.
    pub machine: Vec<MachineState>,
    /// Lines about the run as a whole, with their times.
    pub notes: Vec<(u64, String)>,
    /// How it ended, and the first line of why; none while it goes on, or where it was killed.
    pub result: Option<(RunResult, String)>,
    /// When the last event happened.
    pub last_us: u64,
    step_index: HashMap<StepId, usize>,
    spec_index: HashMap<String, usize>,
}

impl Timeline {
    /// The state after these events.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut timeline = Self::default();
        for event in events {
            timeline.apply(event);
        }
        timeline
    }

    /// The state after one more event. Steps that the plan does not have are ignored.
    pub fn apply(&mut self, event: &Event) {
        let at = event.at_us;
        self.last_us = self.last_us.max(at);
        match &event.what {
            What::RunStarted(started) => self.begin(started),
            What::StepReady { step } => self.change(step, |state| {
                state.ready_us = Some(at);
                state.status = StepStatus::Ready;
            }),
            What::StepStarted { step } => self.change(step, |state| {
                state.started_us = Some(at);
                state.status = StepStatus::Running;
                // It told why the step had not begun.
                state.note.clear();
            }),
            What::StepReached { step, milestone } => self.change(step, |state| {
                state.reached_us.insert(milestone.clone(), at);
                if let Some(place) = state.step.place_of(milestone) {
                    state.note.clone_from(&state.step.milestones[place].title);
                }
            }),
            What::StepProgress { step, note } => self.change(step, |state| state.note.clone_from(note)),
            What::StepFact { step, key, value } => self.change(step, |state| {
                state.facts.insert(key.clone(), value.clone());
            }),
            What::StepFinished { step, usage } => self.end(step, at, StepStatus::Finished, *usage),
            What::StepFailed { step, error, usage } => self.end(step, at, StepStatus::Failed(error.clone()), *usage),
            What::StepCancelled { step, error, usage } => {
                self.end(step, at, StepStatus::Cancelled(error.clone()), *usage);
            }
            What::StepSkipped { step, because, reason } => {
                let status = StepStatus::Skipped { because: because.clone(), reason: reason.clone() };
                self.end(step, at, status, Usage::default());
            }
            What::SpecsSplit(split) => self.split = Some(split.clone()),
            What::SpecsListed { specs, alone } => {
                for spec in specs {
                    self.spec(spec).alone |= alone.contains(spec);
                }
            }
            What::SpecStarted { spec } => {
                let state = self.spec(spec);
                state.started_us.get_or_insert(at);
                state.status = SpecStatus::Running;
            }
            What::SpecPassed { spec, attempts } => self.end_spec(spec, at, SpecStatus::Passed, *attempts),
            What::SpecFailed { spec, error, attempts } => {
                self.end_spec(spec, at, SpecStatus::Failed(error.clone()), *attempts);
            }
            What::SpecUnfinished { spec, reason, attempts } => {
                self.end_spec(spec, at, SpecStatus::Unfinished(reason.clone()), *attempts);
            }
            What::SpecIgnored { spec } => self.spec(spec).status = SpecStatus::Ignored,
            What::MachineUsed { cpu_s, memory_bytes } => {
                self.machine.push(MachineState { at_us: at, cpu_s: *cpu_s, memory_bytes: *memory_bytes });
            }
            What::Note { text } => self.notes.push((at, text.clone())),
            What::RunFinished { result, reason } => self.result = Some((*result, reason.clone())),
        }
    }

    /// The state of this step.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.step_index.get(id).map(|&at| &self.steps[at])
    }

    /// What a step waits for that is not there yet: steps, or milestones of steps.
    pub fn unmet(&self, state: &StepState) -> impl Iterator<Item = StepId> {
        let is_met = |need: &&Need| self.step(&need.step).is_some_and(|other| other.met_us(&need.on).is_some());
        state.step.needs.iter().filter(move |need| !is_met(need)).map(Need::what)
    }

    fn begin(&mut self, started: &RunStarted) {
        self.steps = started.plan.steps.iter().cloned().map(fresh).collect();
        self.step_index = self.steps.iter().enumerate().map(|(at, state)| (state.step.id.clone(), at)).collect();
        self.run = Some(started.clone());
    }

    fn change(&mut self, step: &StepId, change: impl FnOnce(&mut StepState)) {
        if let Some(&at) = self.step_index.get(step) {
            change(&mut self.steps[at]);
        }
    }

    fn end(&mut self, step: &StepId, at: u64, status: StepStatus, usage: Usage) {
        self.change(step, |state| {
            state.ended_us = Some(at);
            state.status = status;
            state.usage = usage;
        });
    }

    fn spec(&mut self, name: &str) -> &mut SpecState {
        let at = *self.spec_index.entry(name.to_owned()).or_insert_with(|| {
            self.specs.push(SpecState {
                name: name.to_owned(),
                status: SpecStatus::Listed,
                started_us: None,
                ended_us: None,
                attempts: 0,
                alone: false,
            });
            self.specs.len() - 1
        });
        &mut self.specs[at]
    }

    fn end_spec(&mut self, name: &str, at: u64, status: SpecStatus, attempts: u32) {
        let state = self.spec(name);
        state.ended_us = Some(at);
        state.status = status;
        state.attempts = attempts;
    }
}

fn fresh(step: Step) -> StepState {
    StepState {
        step,
        status: StepStatus::Waiting,
        ready_us: None,
        started_us: None,
        ended_us: None,
        reached_us: BTreeMap::new(),
        note: String::new(),
        usage: Usage::default(),
        facts: BTreeMap::new(),
    }
}
