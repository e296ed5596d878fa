//! All schedules run a suite that none was made for.

#[path = "../benches/scheduler/made_up.rs"]
mod made_up;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use camino::Utf8Path;
use xtask::events::{RunFolder, RunResult, StepStatus, Timeline};
use xtask::plan::{Origin, Plan, Resource, Schedule, Slots};
use xtask::report::analysis;

/// What the steps need of each other, whatever the schedule.
fn own_needs(plan: &Plan) -> BTreeSet<(String, String)> {
    let steps = plan.steps.iter().flat_map(|step| step.needs.iter().map(move |need| (step, need)));
    let own = steps.filter(|(_, need)| need.origin != Origin::Schedule);
    own.map(|(step, need)| (step.id.to_string(), need.step.to_string())).collect()
}

/// The most steps of each resource that ran at a time.
fn most(timeline: &Timeline) -> BTreeMap<Resource, usize> {
    let mut most = BTreeMap::new();
    for resource in Resource::ALL {
        let mut changes = Vec::new();
        for state in timeline.steps.iter().filter(|state| state.step.resource == resource) {
            // What ends at the same microsecond ends first.
            changes.extend([(state.started_us, 1, 1), (state.ended_us, 0, -1)]);
        }
        changes.sort_unstable();
        let mut running = 0_i32;
        let counts = changes.iter().map(|(_, _, change)| {
            running += change;
            running
        });
        most.insert(resource, usize::try_from(counts.max().unwrap_or(0)).unwrap_or(0));
    }
    most
}

#[test]
fn every_schedule_runs_two_hundred_steps_that_it_was_not_made_for() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = Utf8Path::from_path(dir.path()).expect("a path in UTF-8");
    let slots = Slots { cpu: 2, disk: 2, waiting: 32 };
    let unit = Duration::from_micros(200);
    let needs = own_needs(&made_up::plan(Schedule::Dag, unit)?);
    for schedule in Schedule::ALL {
        let plan = made_up::plan(schedule, unit)?;
        assert_eq!(plan.steps.len(), 200, "{schedule}");
        assert_eq!(own_needs(&plan), needs, "{schedule} changes nothing but the order");
        let added = plan.steps.iter().flat_map(|step| &step.needs).filter(|need| need.origin == Origin::Schedule);
        assert_eq!(added.count() == 0, schedule == Schedule::Dag, "{schedule}");

        let folder = RunFolder::at(root.join(schedule.name()));
        let (outcome, timeline) = made_up::run(&plan, slots, &folder, unit)?;
        assert_eq!(outcome.result, RunResult::Passed, "{schedule}: {}", outcome.reason);
        assert!(timeline.steps.iter().all(|state| state.status == StepStatus::Finished), "{schedule}");
        for state in &timeline.steps {
            for need in &state.step.needs {
                let other = timeline.step(&need.step).expect("a step that is needed is there");
                assert!(
                    other.met_us(&need.on) <= state.started_us,
                    "{schedule}: {} began before {}",
                    state.step.id,
                    need.step
                );
            }
        }
        let most = most(&timeline);
        for resource in Resource::ALL {
            let slots = if schedule == Schedule::Sequential { 3 } else { slots.of(resource) };
            assert!(most[&resource] <= slots, "{schedule}: {most:?}");
        }
        let path = analysis::critical_path(&timeline);
        let last = path.last().expect("a whole run has a critical path");
        assert_eq!(last.end_us, analysis::end_us(&timeline), "{schedule}");
        let bound = analysis::lower_bound(&timeline).expect("a whole run has a bound");
        assert!(bound.path_s > 0.0 && bound.path_s * 1e6 <= last.end_us as f64 + 1.0, "{schedule}: {bound:?}");
    }
    Ok(())
}
