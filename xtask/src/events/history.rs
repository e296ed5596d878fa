//! What earlier runs tell about the next one.

use super::folder::{RunFolder, Runs};
use super::reader;
use super::timeline::{StepState, StepStatus, Timeline};
use crate::plan::{BuildMode, History, Schedule};

/// How many of the newest runs count.
const RUNS: usize = 5;
/// How many runs are looked at for those; most that are passed over were killed or failed early.
const LOOKED_AT: usize = 20;

/// The times of the newest runs of this suite with this build mode and schedule; where that schedule has not run yet,
/// those of the others. Runs that cannot be read are passed over.
pub fn load(runs: &Runs, suite: &str, build: BuildMode, schedule: Schedule) -> History {
    let all = runs.all(suite);
    let newest = all.iter().rev().take(LOOKED_AT).filter_map(timeline);
    let with_times: Vec<(Schedule, Timeline)> = newest
        .filter(|timeline| timeline.steps.iter().any(|state| state.status == StepStatus::Finished))
        .filter_map(|timeline| {
            let plan = &timeline.run.as_ref()?.plan;
            (plan.build == build).then_some((plan.schedule, timeline))
        })
        .collect();
    let same = with_times.iter().any(|(other, _)| *other == schedule);
    let fit = with_times.into_iter().filter(|(other, _)| !same || *other == schedule);
    let mut counted: Vec<Timeline> = fit.map(|(_, timeline)| timeline).take(RUNS).collect();
    counted.reverse();
    let mut history = History::default();
    for timeline in &counted {
        let done = |state: &&StepState| {
            let says_nothing = state.facts.contains_key(super::ALREADY_THERE) || state.was_unusual();
            state.status == StepStatus::Finished && !says_nothing
        };
        for state in timeline.steps.iter().filter(done) {
            if let Some(elapsed_us) = state.elapsed_us(timeline.last_us) {
                history.add(state.step.id.clone(), elapsed_us as f64 / 1e6);
            }
        }
    }
    history
}

fn timeline(run: &RunFolder) -> Option<Timeline> {
    let events = reader::read(&run.events()).ok()?;
    Some(Timeline::of(&events))
}
