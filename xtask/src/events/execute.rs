//! Runs a plan: the scheduler decides, a closure does the work, the recorder hears of everything.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use camino::Utf8PathBuf;
use e2e_support::Cancel;

use super::recorder::Recorder;
use super::{ALREADY_THERE, RunResult, SpecStatus, Usage, What};
use crate::plan::{Plan, Slots, Step, StepId, StepKind};
use crate::schedule::{self, Cancellation, Change, End, OnFailure, Options, SkipCause};

/// How often a live picture is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(100);

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

    /// Adds CPU time of a child.
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

    /// Tells which specs are going to run.
    pub fn specs_listed(&self, specs: Vec<String>) {
        self.inner.say(What::SpecsListed { specs });
    }

    /// Tells that a spec runs.
    pub fn spec_started(&self, spec: impl Into<String>) {
        self.inner.say(What::SpecStarted { spec: spec.into() });
    }

    /// Tells that a spec has passed in this attempt, from 1.
    pub fn spec_passed(&self, spec: impl Into<String>, attempts: u32) {
        self.inner.say(What::SpecPassed { spec: spec.into(), attempts });
    }

    /// Tells that a spec has failed for good.
    pub fn spec_failed(&self, spec: impl Into<String>, error: impl Into<String>, attempts: u32) {
        self.inner.say(What::SpecFailed { spec: spec.into(), error: error.into(), attempts });
    }

    /// Tells that a spec was left out.
    pub fn spec_ignored(&self, spec: impl Into<String>) {
        self.inner.say(What::SpecIgnored { spec: spec.into() });
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
    /// The step that failed first, with its error; none where none did.
    pub failed: Option<(StepId, anyhow::Error)>,
}

/// Runs every step of `plan` with `work`, at most `slots` at a time, and returns once every step has ended.
///
/// `cancel` stops the run from outside. A failure stops the steps that run beside it, through a child of `cancel`.
/// The run's last event is the caller's to record, once it has cleaned up.
///
/// # Errors
/// The plan cannot be run at all: no thread could be started. A failing step is no error here, but an [`Outcome`].
pub fn execute<F>(
    plan: &Plan,
    slots: Slots,
    cancel: &Cancel,
    recorder: &mut Recorder,
    work: F,
) -> anyhow::Result<Outcome>
where
    F: Fn(&Step, &StepContext<'_>) -> anyhow::Result<()> + Sync,
{
    let graph = plan.graph().map_err(|error| anyhow!(error)).context("ordering the steps")?;
    let steps: HashMap<&StepId, &Step> = plan.steps.iter().map(|step| (&step.id, step)).collect();
    let options =
        Options { slots: slots.to_vec(), on_failure: OnFailure::Stop, tick: recorder.wants_ticks().then_some(TICK) };
    let own = cancel.child();
    let folder = recorder.folder().clone();
    let usages: Mutex<HashMap<StepId, Usage>> = Mutex::default();
    let mut failed = None;
    schedule::run(
        graph,
        &options,
        &own,
        |id: &StepId, inner: &schedule::Context<Cancel, What>| {
            let step = steps.get(id).copied().with_context(|| format!("the plan has no step {id}"))?;
            let context = StepContext { inner, step, log: folder.step_log(id), usage: Mutex::default() };
            let result = work(step, &context);
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
                Change::Started(id) => recorder.record(What::StepStarted { step: id.clone() }),
                Change::Said(_, what) => recorder.record(what),
                Change::Tick => {}
                Change::Ended(id, end) => {
                    let what = ended(id, &end, usage(id));
                    recorder.record(what);
                    if let End::Failed(error) = end {
                        failed.get_or_insert((id.clone(), error));
                    }
                }
            }
            recorder.tick();
        },
    )?;
    Ok(outcome(plan, cancel, recorder, failed))
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

fn outcome(plan: &Plan, cancel: &Cancel, recorder: &Recorder, failed: Option<(StepId, anyhow::Error)>) -> Outcome {
    if cancel.is_cancelled() {
        return Outcome { result: RunResult::Interrupted, reason: Cancellation::reason(cancel), failed };
    }
    let Some((id, error)) = failed else {
        return Outcome { result: RunResult::Passed, reason: String::new(), failed: None };
    };
    let red = recorder.timeline().specs.iter().filter(|spec| matches!(spec.status, SpecStatus::Failed(_)));
    let in_specs = plan.step(&id).is_some_and(|step| step.kind == StepKind::Specs);
    let result = if in_specs && red.count() > 0 { RunResult::SpecsFailed } else { RunResult::SetupFailed };
    let text = format!("{error:#}");
    let reason = format!("{id}: {}", text.lines().next().unwrap_or_default());
    Outcome { result, reason, failed: Some((id, error)) }
}
