//! Carries a plan out on a site, and leaves its reports.

use anyhow::{Context, Result};
use e2e_support::{Cancel, signals};

use crate::environment::environment;
use crate::events::{
    Outcome, Recorder, Reporter, RunFolder, RunInfo, RunResult, Runs, StepContext, Timeline, What, execute,
};
use crate::evidence;
use crate::leftovers;
use crate::paths::Paths;
use crate::plan::{Plan, Slots, Step};
use crate::report;
use crate::steps::Site;

/// What becomes of the cluster at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is deleted.
    Delete,
    /// It stays if a step or spec failed, for a look; else it is deleted.
    KeepFailed,
    /// It stays, unless a signal stopped the run that was making it.
    Keep,
}

/// A run that is over.
#[derive(Debug)]
pub struct Driven {
    pub outcome: Outcome,
    pub timeline: Timeline,
    /// Whether the cluster is still there.
    pub kept: bool,
}

/// Runs every step of `plan`, collects evidence if one failed, cleans up and writes the reports.
///
/// # Errors
/// When nothing could be run, or the cluster cannot be deleted. A step that fails is an outcome.
pub fn drive(site: &Site, plan: &Plan, folder: &RunFolder, after: Afterwards, cancel: &Cancel) -> Result<Driven> {
    let work = |step: &Step, context: &StepContext<'_>| site.execute(step, context);
    let driven = drive_with(site, plan, folder, after, cancel, report::reporters(folder), work)?;
    Runs::of(&site.paths.root).retain(&site.suite.name, site.suite.keep)?;
    Ok(driven)
}

/// As [`drive`], with other reporters, and with `work` for each step.
///
/// # Errors
/// As [`drive`].
pub fn drive_with(
    site: &Site,
    plan: &Plan,
    folder: &RunFolder,
    after: Afterwards,
    cancel: &Cancel,
    reporters: Vec<Box<dyn Reporter>>,
    work: impl Fn(&Step, &StepContext<'_>) -> Result<()> + Sync,
) -> Result<Driven> {
    let slots = Slots::for_cores(std::thread::available_parallelism().map_or(1, usize::from));
    let environment = environment(&site.paths.root, &site.workshop);
    let Paths { root, target, cache } = site.paths.clone();
    let mut folders = vec![(target, "{target}"), (root, "{root}"), (cache, "{cache}")];
    // `cargo xtask` names the very program that it is, a start of the task's own program none.
    folders.extend(std::env::var("CARGO").ok().map(|cargo| (cargo.into(), "cargo")));
    let info = RunInfo { command: std::env::args().skip(1).collect(), environment, folders };
    let mut recorder = Recorder::start(folder.clone(), plan, slots, info, reporters)?;
    let outcome = execute(plan, slots, cancel, &mut recorder, work)?;
    let failed = outcome.result != RunResult::Passed;
    // A person who pressed Ctrl-C waits for the end, not for evidence.
    let stopped_by_hand = signals::was_signalled();
    if failed && !stopped_by_hand {
        recorder.note("collecting logs and events");
        evidence::collect(site, folder);
    }
    let kept = match after {
        _ if stopped_by_hand => site.cluster_is_there,
        Afterwards::Keep => true,
        Afterwards::KeepFailed => failed,
        Afterwards::Delete => false,
    };
    if kept {
        site.instance.files.write_kept()?;
    } else {
        recorder.note("deleting the cluster");
    }
    // The deletions run beside the writing of reports.
    let (deleted, timeline) = std::thread::scope(|scope| {
        // Only space is lost where this fails.
        scope.spawn(|| leftovers::remove_superseded(&site.engine, site.instance.checkout()));
        let deleting = (!kept).then(|| {
            scope.spawn(|| {
                let log = folder.path().join("delete.log");
                crate::cluster::delete(&site.engine, site.instance.cluster(), &site.paths.cache, Some(&log))?;
                site.instance.files.remove()
            })
        });
        recorder.record(What::RunFinished { result: outcome.result, reason: outcome.reason.clone() });
        let timeline = recorder.close().and_then(|timeline| {
            report::write(folder, &timeline)?;
            Ok(timeline)
        });
        let deleted = deleting.map_or(Ok(()), |thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that deletes the cluster died")))
        });
        (deleted, timeline)
    });
    deleted
        .with_context(|| format!("deleting the cluster {}; `cargo xtask gc` tries again", site.instance.cluster()))?;
    Ok(Driven { outcome, timeline: timeline?, kept })
}
