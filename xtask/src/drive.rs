//! Carries a plan out in a session, and leaves its reports.

use anyhow::{Context, Result};

use crate::called::called;
use crate::disk;
use crate::environment::environment;
use crate::events::{
    Recorder, Reporter, RunFolder, RunInfo, RunResult, Runs, StepState, StepStatus, Stop, Timeline, What,
};
use crate::evidence;
use crate::execute::{Outcome, StepContext, execute};
use crate::leftovers;
use crate::paths::Paths;
use crate::plan::{Plan, Role, Slots, Step};
use crate::report;
use crate::target::session::Session;

/// What becomes of the cluster at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is deleted.
    Delete,
    /// It stays if a step or spec failed, for a look; else it is deleted.
    KeepFailed,
    /// It stays, unless the run that was making it ended before it was whole.
    Keep,
}

/// What of the cluster is there after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing, or nothing that this run has made.
    Nothing,
    /// A cluster that answers.
    Cluster,
    /// What came of a cluster that could not be made.
    Remains,
}

/// A run that is over.
#[derive(Debug)]
pub struct Driven {
    pub outcome: Outcome,
    pub timeline: Timeline,
    pub left: Left,
    /// What went wrong after the verdict: the cluster could not be deleted, reports could not be written.
    pub afterwards: Vec<anyhow::Error>,
}

impl Driven {
    /// Says on standard error what went wrong after the verdict.
    pub fn tell_afterwards(&self) {
        for error in &self.afterwards {
            eprintln!("error: {error:#}");
        }
    }
}

/// Runs every step of `plan`, collects evidence if one failed, cleans up and writes the reports.
///
/// # Errors
/// When nothing could be run. A step that fails is an outcome, and what goes wrong after the verdict is told with it.
pub fn drive(session: &Session, plan: &Plan, folder: &RunFolder, after: Afterwards, stop: &Stop) -> Result<Driven> {
    let work = |step: &Step, context: &StepContext<'_>| session.execute(step, context);
    let mut driven = drive_with(session, plan, folder, after, stop, report::reporters(folder), work)?;
    driven.afterwards.extend(Runs::of(&session.paths.root).retain(&session.suite.name, session.suite.keep).err());
    Ok(driven)
}

/// As [`drive`], with other reporters, and with `work` for each step.
///
/// # Errors
/// As [`drive`].
pub fn drive_with(
    session: &Session,
    plan: &Plan,
    folder: &RunFolder,
    after: Afterwards,
    stop: &Stop,
    reporters: Vec<Box<dyn Reporter>>,
    work: impl Fn(&Step, &StepContext<'_>) -> Result<()> + Sync,
) -> Result<Driven> {
    let slots = Slots::for_cores(std::thread::available_parallelism().map_or(1, usize::from));
    let mut environment = environment(&session.paths.root, &session.workshop);
    environment.extend(session.zig.as_ref().map(|zig| ("services are compiled".to_owned(), zig.describe())));
    let Paths { root, target, cache } = session.paths.clone();
    let mut folders = vec![(target, "{target}"), (root, "{root}"), (cache, "{cache}")];
    environment.extend(session.target.limits().map(|limits| ("not shown here".to_owned(), limits.to_owned())));
    // `cargo xtask` names the very program that it is, a start of the task's own program none.
    folders.extend(std::env::var("CARGO").ok().map(|cargo| (cargo.into(), "cargo")));
    let partition = session.specs.as_ref().and_then(|specs| specs.shard.as_ref()).map(|shard| shard.partition);
    let info = RunInfo { command: std::env::args().skip(1).collect(), partition, environment, folders };
    let mut recorder = Recorder::start(folder.clone(), plan, slots, info, reporters)?;
    let outcome = execute(plan, slots, stop, &mut recorder, work)?;
    let failed = matches!(outcome.result, RunResult::SpecsFailed | RunResult::SetupFailed);
    // A person who pressed Ctrl-C waits for the end, not for evidence.
    if failed && !stop.is_by_hand() {
        recorder.note("collecting logs and events");
        evidence::collect(session, folder);
    }
    let mut left = left(after, session.target.was_there(), recorder.timeline(), outcome.result, stop.is_by_hand());
    // One that ended in the middle may have gone with all it had.
    if left != Left::Nothing && session.target.is_gone(session) {
        left = Left::Nothing;
    }
    let mut afterwards = Vec::new();
    if left == Left::Nothing {
        recorder.note("removing what was made");
    } else {
        afterwards.extend(session.instance.files.write_kept().err());
    }
    // The deletions run beside the writing of reports.
    let timeline = std::thread::scope(|scope| {
        // Only space is lost where this fails.
        scope.spawn(|| {
            session.engine().and_then(|engine| leftovers::remove_superseded(engine, &session.instance.runs()))
        });
        let deleting = (left == Left::Nothing).then(|| {
            scope.spawn(|| {
                let log = folder.path().join("delete.log");
                session.target.remove(session, Some(&log))?;
                session.instance.files.remove()
            })
        });
        recorder.record(What::RunFinished { result: outcome.result, reason: outcome.reason.clone() });
        let (timeline, written) = recorder.close();
        afterwards.extend(written.err());
        afterwards.extend(report::write(folder, &timeline).err());
        let deleted = deleting.map_or(Ok(()), |thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that deletes the cluster died")))
        });
        let place = session.target.place(&session.instance);
        let deleted = deleted.with_context(|| format!("deleting {place}; `{} gc` tries again", called()));
        afterwards.extend(deleted.err());
        timeline
    });
    // With the cluster of a run that failed somebody may want to run the specs again as they were.
    if !failed || left == Left::Nothing {
        afterwards.extend(disk::remove_folder(&folder.stage()).err());
    }
    Ok(Driven { outcome, timeline, left, afterwards })
}

/// What is to be left of the cluster after a run with this result: `there` tells whether it was there before.
fn left(after: Afterwards, there: bool, timeline: &Timeline, result: RunResult, by_hand: bool) -> Left {
    let made_of = |state: &&StepState| matches!(state.step.role(), Some(Role::Making | Role::Claiming));
    let mut steps = timeline.steps.iter().filter(made_of).peekable();
    let is_begun = steps.peek().is_some();
    let steps: Vec<&StepStatus> = steps.map(|state| &state.status).collect();
    let made = if there || (is_begun && steps.iter().all(|status| **status == StepStatus::Finished)) {
        Left::Cluster
    } else if steps.iter().any(|status| matches!(status, StepStatus::Failed(_))) {
        Left::Remains
    } else {
        // It was stopped in its making, or never begun: nobody can use that, or learn from it.
        Left::Nothing
    };
    let failed = matches!(result, RunResult::SpecsFailed | RunResult::SetupFailed);
    match after {
        _ if by_hand => {
            if there {
                Left::Cluster
            } else {
                Left::Nothing
            }
        }
        Afterwards::Keep => made,
        Afterwards::KeepFailed if failed => made,
        Afterwards::KeepFailed | Afterwards::Delete => Left::Nothing,
    }
}

#[cfg(test)]
mod tests;
