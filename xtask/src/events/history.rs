//! What earlier runs tell about the next one.

use std::collections::BTreeMap;

use super::folder::{RunFolder, Runs};
use super::reader;
use super::timeline::{StepState, StepStatus, Timeline};
use crate::plan::{BuildMode, History, Layout, Plan, Schedule, StepId, StepKind};

/// How many of a step's newest times count.
const TIMES: usize = 5;
/// How many runs are looked at for those: some were killed or failed early, and many that keep their cluster tell
/// nothing of what a step takes on a new one.
const LOOKED_AT: usize = 20;

/// The times of the newest runs of this suite with this build mode and schedule; where that schedule has not run yet,
/// those of the others. Runs that cannot be read are passed over, and those on another target than that of `layout`.
pub fn load(runs: &Runs, suite: &str, build: BuildMode, schedule: Schedule, layout: &Layout) -> History {
    let all = runs.all(suite);
    let newest = all.iter().rev().take(LOOKED_AT).filter_map(timeline);
    let with_times: Vec<(Schedule, Timeline)> = newest
        .filter(|timeline| timeline.steps.iter().any(|state| state.status == StepStatus::Finished))
        .filter_map(|timeline| {
            let plan = &timeline.run.as_ref()?.plan;
            (plan.build == build && is_of(plan, layout)).then_some((plan.schedule, timeline))
        })
        .collect();
    let same = with_times.iter().any(|(other, _)| *other == schedule);
    let fit = with_times.into_iter().filter(|(other, _)| !same || *other == schedule);
    let mut times: BTreeMap<StepId, Vec<f64>> = BTreeMap::new();
    for (_, timeline) in fit {
        let done = |state: &&StepState| {
            let says_nothing = state.facts.contains_key(super::ALREADY_THERE) || state.was_unusual();
            state.status == StepStatus::Finished && !says_nothing
        };
        for state in timeline.steps.iter().filter(done) {
            let Some(started_us) = state.started_us else { continue };
            let milestones = state.reached_us.iter().map(|(name, at_us)| (state.step.id.milestone(name), *at_us));
            let end = state.ended_us.map(|at_us| (state.step.id.clone(), at_us));
            for (id, at_us) in milestones.chain(end) {
                let times = times.entry(id).or_default();
                if times.len() < TIMES {
                    times.push(at_us.saturating_sub(started_us) as f64 / 1e6);
                }
            }
        }
    }
    let mut history = History::default();
    for (step, times) in times {
        times.into_iter().rev().for_each(|seconds| history.add(step.clone(), seconds));
    }
    history
}

/// Whether a plan was made with a layout: all parts in the plan are the layout's.
fn is_of(plan: &Plan, layout: &Layout) -> bool {
    let mut parts = plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Part { part, .. } => Some(part),
        _ => None,
    });
    parts.all(|part| layout.parts.iter().any(|own| own.name == part))
}

fn timeline(run: &RunFolder) -> Option<Timeline> {
    let events = reader::read(&run.events()).ok()?;
    Some(Timeline::of(&events))
}
