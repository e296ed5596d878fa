//! Runs a plan: the scheduler decides, a closure does the work, the recorder hears of everything.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use camino::Utf8PathBuf;
use e2e_support::meter::Used;
use e2e_support::{Cancel, Meter, clock};

use crate::error::WrongUsage;
use crate::events::{
    ALREADY_THERE, COMMANDS, POLLS, Recorder, RunResult, SpecsFailed, StepStatus, Stop, UNUSUAL, Usage, What,
};
use crate::machine::Moment;
use crate::plan::{Plan, Resource, Slots, Step, StepId, StepKind};
use crate::schedule::{self, Cancellation, Change, End, OnFailure, Options, SkipCause};

/// How often a live picture is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// From so many cores on, a cluster is expected to start beside a compilation without holding it up for as long as it
/// takes itself; on two it does (docs/benchmarks).
const CORES_FOR_BOTH: usize = 4;
/// How often it is noted what the machine uses.
const SAMPLE: Duration = Duration::from_millis(500);

impl Cancellation for Cancel {
    fn is_cancelled(&self) -> bool {
        Self::is_cancelled(self)
    }

    fn cancel(&self, reason: &str) {
        Self::cancel(self, reason);
    }

    fn reason(&self) -> String {
        Self::reason(self).unwrap_or("cancelled").to_owned()
    }
}

/// What a running step is given: a way to stop, and a way to tell. It may be used from several threads.
#[derive(Debug)]
pub struct StepContext<'r> {
    inner: &'r schedule::Context<Cancel, What>,
    step: &'r Step,
    log: Utf8PathBuf,
    usage: Mutex<Usage>,
}

impl StepContext<'_> {
    /// Set when the step is to end early. Hand it to every child process and every wait.
    pub fn cancel(&self) -> &Cancel {
        self.inner.cancel()
    }

    /// The step's own log; children append to it.
    pub fn log(&self) -> &Utf8PathBuf {
        &self.log
    }

    /// How long the step may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.step.deadline_s)
    }

    /// Tells that the step has reached its milestone of this name: what waits for that may begin.
    pub fn reach(&self, milestone: &str) {
        if let Some(place) = self.step.place_of(milestone) {
            self.inner.reach(place);
        }
    }

    /// Tells where the step is, in one line.
    pub fn progress(&self, note: impl Into<String>) {
        self.inner.say(What::StepProgress { step: self.step.id.clone(), note: note.into() });
    }

    /// Tells something that stays true of the step: a command, a polling interval, a hash of what went in.
    pub fn fact(&self, key: impl Into<String>, value: impl Into<String>) {
        self.inner.say(What::StepFact { step: self.step.id.clone(), key: key.into(), value: value.into() });
    }

    /// Tells that what the step makes was there before it began: its time says nothing about the next run's.
    pub fn already_there(&self, what: impl Into<String>) {
        self.fact(ALREADY_THERE, what);
    }

    /// Tells that the step takes another time now than it usually does, so that nothing is expected of the next one.
    pub fn unusual(&self, why: impl Into<String>) {
        self.fact(UNUSUAL, why);
    }

    /// Tells how often the step asks for something until it is there.
    pub fn asks_for(&self, what: &str, pause: Duration) {
        self.fact(format!("{POLLS} {what}"), format!("every {} ms", pause.as_millis()));
    }

    /// Adds CPU time that no child of the step has used.
    pub fn add_cpu(&self, cpu: Duration) {
        self.usage().cpu_s += cpu.as_secs_f64();
    }

    /// Adds bytes moved into the node.
    pub fn add_bytes(&self, bytes: u64) {
        self.usage().bytes += bytes;
    }

    /// Notes the largest resident size of a child.
    pub fn note_peak_rss(&self, bytes: u64) {
        let mut usage = self.usage();
        usage.peak_rss_bytes = usage.peak_rss_bytes.max(bytes);
    }

    /// Tells what becomes of the specs.
    pub fn tell(&self, what: What) {
        self.inner.say(what);
    }

    /// Counts in what the step's children used.
    fn add_children(&self, used: &Used, folders: &[(Utf8PathBuf, &str)]) {
        self.add_cpu(used.cpu);
        self.note_peak_rss(used.peak_rss_bytes);
        if !used.commands.is_empty() {
            // The run's own folder is new in every run, and others are elsewhere on every machine.
            let told = |command: &String| {
                folders.iter().fold(command.clone(), |text, (folder, name)| text.replace(folder.as_str(), name))
            };
            let commands = used.commands.iter().map(told);
            self.fact(COMMANDS, commands.collect::<Vec<_>>().join("\n"));
        }
    }

    fn usage(&self) -> std::sync::MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the steps of a plan ended, taken together.
#[derive(Debug)]
pub struct Outcome {
    /// What to tell as the run's result.
    pub result: RunResult,
    /// Why, in one line; empty where all is well.
    pub reason: String,
    /// The step that failed first by itself, with its error; none where none did.
    pub failed: Option<(StepId, anyhow::Error)>,
}

/// Runs every step of `plan` with `work`, at most `slots` at a time, and returns once every step has ended.
///
/// `stop` ends the run from outside; what runs when its time is over has failed. A failure stops the steps that run
/// beside it. The run's last event is the caller's to record, once it has cleaned up.
///
/// # Errors
/// The plan cannot be run at all: no thread could be started. A failing step is no error here, but an [`Outcome`].
pub fn execute<F>(plan: &Plan, slots: Slots, stop: &Stop, recorder: &mut Recorder, work: F) -> anyhow::Result<Outcome>
where
    F: Fn(&Step, &StepContext<'_>) -> anyhow::Result<()> + Sync,
{
    let graph = plan.graph().map_err(|error| anyhow!(error)).context("ordering the steps")?;
    let steps: HashMap<&StepId, &Step> = plan.steps.iter().map(|step| (&step.id, step)).collect();
    let options = Options {
        slots: slots.to_vec(),
        on_failure: OnFailure::Stop,
        tick: Some(TICK),
        hold_behind: (slots.cpu < CORES_FOR_BOTH).then_some(Resource::Cpu as usize),
    };
    let own = stop.cancel().child();
    let mut machine = Machine::start(recorder);
    let folder = recorder.folder().clone();
    let folders = recorder.folders().to_vec();
    let usages: Mutex<HashMap<StepId, Usage>> = Mutex::default();
    let mut failed = None;
    let mut out_of_time = Vec::new();
    schedule::run(
        graph,
        &options,
        &own,
        |id: &StepId, inner: &schedule::Context<Cancel, What>| {
            let step = steps.get(id).copied().with_context(|| format!("the plan has no step {id}"))?;
            let context = StepContext { inner, step, log: folder.step_log(id), usage: Mutex::default() };
            // The deadline holds for every child of the step, whatever else the step asks of it.
            let meter = Meter::new().until(clock::Instant::now() + context.deadline(), context.cancel());
            let result = meter.run(|| work(step, &context));
            context.add_children(&meter.used(), &folders);
            let usage = *context.usage();
            usages.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), usage);
            result
        },
        |change| {
            let usage = |id: &StepId| {
                let mut usages = usages.lock().unwrap_or_else(PoisonError::into_inner);
                usages.remove(id).unwrap_or_default()
            };
            match change {
                Change::Ready(id) => recorder.record(What::StepReady { step: id.clone() }),
                Change::Held(id) => {
                    let note = "begins later: what runs beside it takes longer".to_owned();
                    recorder.record(What::StepProgress { step: id.clone(), note });
                }
                Change::Started(id) => recorder.record(What::StepStarted { step: id.clone() }),
                Change::Reached(id, place) => {
                    let milestone = steps.get(id).and_then(|step| step.milestones.get(place));
                    if let Some(milestone) = milestone.map(|milestone| milestone.name.clone()) {
                        recorder.record(What::StepReached { step: id.clone(), milestone });
                    }
                }
                Change::Said(_, what) => recorder.record(what),
                Change::Tick => {}
                Change::Ended(id, end) => {
                    let usage = usage(id);
                    let what = match &end {
                        End::Cancelled(error) if failed.is_none() && stop.is_out_of_time() => {
                            out_of_time.push(id.clone());
                            let error = format!("{}: {error:#}", stop.reason());
                            What::StepFailed { step: id.clone(), error, usage }
                        }
                        _ => ended(id, &end, usage),
                    };
                    recorder.record(what);
                    if let End::Failed(error) = end {
                        failed.get_or_insert((id.clone(), error));
                    }
                }
            }
            recorder.tick();
            machine.tell(recorder, SAMPLE);
        },
    )?;
    machine.tell(recorder, Duration::ZERO);
    Ok(outcome(plan, stop, recorder, failed, &out_of_time))
}

/// Notes in the run's events what the machine uses.
struct Machine {
    /// None where the system does not tell.
    before: Option<Moment>,
    told: Instant,
}

impl Machine {
    fn start(recorder: &mut Recorder) -> Self {
        let before = Moment::now();
        if let Some(Moment { memory_bytes, .. }) = before {
            recorder.record(What::MachineUsed { cpu_s: 0.0, memory_bytes });
        }
        Self { before, told: Instant::now() }
    }

    /// Notes it if the last time is at least `pause` ago.
    fn tell(&mut self, recorder: &mut Recorder, pause: Duration) {
        let Some(before) = self.before.filter(|_| self.told.elapsed() >= pause) else { return };
        self.told = Instant::now();
        if let Some(now) = Moment::now() {
            let cpu_s = now.cpu_s - before.cpu_s;
            recorder.record(What::MachineUsed { cpu_s, memory_bytes: now.memory_bytes });
        }
    }
}

fn ended(id: &StepId, end: &End<StepId>, usage: Usage) -> What {
    let step = id.clone();
    match end {
        End::Finished => What::StepFinished { step, usage },
        End::Failed(error) => What::StepFailed { step, error: format!("{error:#}"), usage },
        End::Cancelled(error) => What::StepCancelled { step, error: format!("{error:#}"), usage },
        End::Skipped(SkipCause::Failed(because)) => {
            What::StepSkipped { step, reason: format!("{because} failed"), because: Some(because.clone()) }
        }
        End::Skipped(SkipCause::Cancelled(reason)) => What::StepSkipped { step, because: None, reason: reason.clone() },
    }
}

fn outcome(
    plan: &Plan,
    stop: &Stop,
    recorder: &Recorder,
    failed: Option<(StepId, anyhow::Error)>,
    out_of_time: &[StepId],
) -> Outcome {
    if stop.is_by_hand() {
        return Outcome { result: RunResult::Interrupted, reason: stop.reason(), failed };
    }
    let Some((id, error)) = failed else {
        if recorder.timeline().steps.iter().all(|state| state.status == StepStatus::Finished) {
            return Outcome { result: RunResult::Passed, reason: String::new(), failed: None };
        }
        let is_specs = |id: &StepId| plan.step(id).is_some_and(|step| step.kind == StepKind::Specs);
        let running: Vec<&str> = out_of_time.iter().map(StepId::as_str).collect();
        let reason = match running.as_slice() {
            [] => stop.reason(),
            _ => format!("{}; what still ran then: {}", stop.reason(), running.join(", ")),
        };
        let specs_ran = out_of_time.iter().any(is_specs);
        let result = if specs_ran { RunResult::SpecsFailed } else { RunResult::SetupFailed };
        return Outcome { result, reason, failed: None };
    };
    let result = if error.is::<WrongUsage>() {
        RunResult::WrongUsage
    } else if error.is::<SpecsFailed>() {
        RunResult::SpecsFailed
    } else {
        RunResult::SetupFailed
    };
    let text = format!("{error:#}");
    let reason = format!("{id}: {}", text.lines().next().unwrap_or_default());
    Outcome { result, reason, failed: Some((id, error)) }
}
