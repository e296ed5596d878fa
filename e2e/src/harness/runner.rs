//! Runs specs: their turns, deadlines, events, evidence and clean-up.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use futures::future::join_all;
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::context::Context;
use super::journal::{Entry, Journal, Outcome};
use super::spec::Spec;
use super::surroundings::{Part, Surroundings};
use super::trace::Trace;
use super::turns::Turns;
use super::{evidence, http};

/// Set to `1`: what the specs make stays.
const KEEP_VARIABLE: &str = "E2E_KEEP";
/// Specs mostly wait for the cluster, so more of them than there are cores run side by side.
const SIDE_BY_SIDE: usize = 8;
/// For the evidence of one spec.
const EVIDENCE_DEADLINE: Duration = Duration::from_secs(20);
/// For what a spec disturbed to be as it was: longer than the waits for its pods and its answers.
const RESTORE_DEADLINE: Duration = Duration::from_secs(120);
/// For all deletions together. Nobody waits for the objects to be gone.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(20);

/// What all specs of an invocation share.
struct Shared {
    runtime: Runtime,
    surroundings: Arc<dyn Surroundings>,
    http: reqwest::Client,
    journal: Journal,
    evidence: Option<PathBuf>,
    turns: Arc<Turns>,
    finished: Mutex<Vec<Context>>,
    /// The first event that could not be told.
    untold: Mutex<Option<anyhow::Error>>,
}

/// Lists the specs as `--list` does, those that are alone as `[alone] NAME: test`: needs no surroundings.
pub(crate) fn list(arguments: &Arguments, specs: Vec<Spec>) -> Conclusion {
    let trial = |spec: Spec| {
        let trial = Trial::test(spec.name, || Ok(()));
        if spec.alone.is_some() { trial.with_kind("alone") } else { trial }
    };
    libtest_mimic::run(arguments, specs.into_iter().map(trial).collect())
}

/// Runs the specs that the arguments select.
///
/// # Errors
/// What keeps the specs from being run at all, or what became of them from being told to who watches. That a spec fails
/// is none: the conclusion tells.
pub(crate) fn run(
    mut arguments: Arguments,
    mut specs: Vec<Spec>,
    runtime: Runtime,
    surroundings: Arc<dyn Surroundings>,
) -> Result<Conclusion> {
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    // Threads take trials in this order; one that is alone would keep its thread from others while it waits. Among
    // themselves these go by number: those that count come before those that replace what is counted.
    specs.sort_by_key(|spec| spec.alone.map(|_| spec.number()));
    let selected = |spec: &Spec| !arguments.is_filtered_out(&Trial::test(spec.name, || Ok(())));
    let sharing = specs.iter().filter(|spec| spec.alone.is_none() && selected(spec)).count();
    let listed = specs.iter().filter(|spec| selected(spec)).map(|spec| spec.name).collect();
    let shared = Arc::new(Shared {
        runtime,
        surroundings,
        http: http::client()?,
        journal: Journal::from_environment()?,
        evidence: evidence::folder_from_environment(),
        turns: Turns::new(sharing),
        finished: Mutex::default(),
        untold: Mutex::default(),
    });
    shared.tell(&Entry::SpecsListed { specs: listed });
    let trials = specs.into_iter().map(|spec| {
        let shared = Arc::clone(&shared);
        Trial::test(spec.name, move || shared.run(&spec).map_err(Failed::from))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    shared.clean_up();
    let untold = shared.untold.lock().unwrap_or_else(PoisonError::into_inner).take();
    untold.map_or(Ok(conclusion), Err)
}

impl Shared {
    /// Runs one spec to its end on the calling thread.
    fn run(&self, spec: &Spec) -> Result<(), String> {
        self.runtime.block_on(async {
            let turn = self.turns.take(spec.number(), spec.alone).await;
            self.tell(&Entry::SpecStarted { spec: spec.name });
            let begun = Instant::now();
            let (surroundings, turns) = (Arc::clone(&self.surroundings), Arc::clone(&self.turns));
            let context = Context::new(spec.number(), surroundings, self.http.clone(), turns, turn);
            let trace = Arc::new(Trace::default());

            let mut result = attempt(spec, context.clone(), Arc::clone(&trace)).await;
            let mut folder = None;
            if let Err(message) = &result {
                folder = self.keep_evidence(spec, &context, &trace, message).await;
            }
            let parts = spec.alone.iter().flat_map(|alone| alone.uses.iter().chain([&alone.with]));
            for part in parts {
                let Err(error) = self.restore(*part).await else { continue };
                let before = result.err().map(|message| format!("{message}\nand ")).unwrap_or_default();
                result = Err(format!("{before}what the spec disturbed was not brought back: {error:#}"));
            }

            context.end_turn();
            self.finished.lock().unwrap_or_else(PoisonError::into_inner).push(context);
            self.tell(&Entry::SpecFinished {
                spec: spec.name,
                outcome: if result.is_ok() { Outcome::Passed } else { Outcome::Failed },
                seconds: begun.elapsed().as_secs_f64(),
                message: result.as_ref().err().map_or("", String::as_str),
                evidence: folder.as_deref(),
            });
            result
        })
    }

    fn tell(&self, entry: &Entry<'_>) {
        if let Err(error) = self.journal.write(entry) {
            eprintln!("{error:#}");
            self.untold.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    async fn restore(&self, part: Part) -> Result<()> {
        let restored = timeout(RESTORE_DEADLINE, self.surroundings.restore(part)).await;
        restored.with_context(|| format!("it took longer than {RESTORE_DEADLINE:?}"))?
    }

    /// Returns the folder, where one was written.
    async fn keep_evidence(&self, spec: &Spec, context: &Context, trace: &Trace, message: &str) -> Option<PathBuf> {
        // A colon, as in the full name, is no character for a file that is to be uploaded or unpacked elsewhere.
        let folder = self.evidence.as_ref()?.join(spec.short_name());
        match timeout(EVIDENCE_DEADLINE, evidence::keep(&folder, context, trace, message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("{}: {error:#}", spec.name),
            Err(_) => eprintln!("{}: not all evidence was kept within {EVIDENCE_DEADLINE:?}", spec.name),
        }
        folder.exists().then_some(folder)
    }

    /// Deletes what the specs made. It comes last because a deletion of a namespace costs the control plane more than
    /// the spec did that made it.
    fn clean_up(&self) {
        let finished = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        if std::env::var_os(KEEP_VARIABLE).is_some_and(|value| value == "1") {
            return;
        }
        let deletions = finished.iter().map(Context::delete_belongings);
        let deleted = self.runtime.block_on(async { timeout(CLEAN_UP_DEADLINE, join_all(deletions)).await });
        match deleted {
            Ok(results) => {
                for error in results.into_iter().filter_map(Result::err) {
                    eprintln!("clean-up: {error:#}");
                }
            }
            Err(_) => eprintln!("clean-up: not everything was deleted within {CLEAN_UP_DEADLINE:?}"),
        }
    }
}

/// Runs a spec until it ends or its deadline comes.
async fn attempt(spec: &Spec, context: Context, trace: Arc<Trace>) -> Result<(), String> {
    let body = AssertUnwindSafe(Arc::clone(&trace).follow((spec.run)(context))).catch_unwind();
    match timeout(spec.deadline(), body).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("{error:#}")),
        Ok(Err(panic)) => Err(format!("the spec panicked: {}", panic_message(&*panic))),
        Err(_) => {
            let waiting_for = match trace.waiting_for() {
                nothing if nothing.is_empty() => "something that it does not tell".to_owned(),
                what => what,
            };
            Err(format!("the spec did not end within {:?}; it was waiting for {waiting_for}", spec.deadline()))
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
