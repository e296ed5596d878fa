//! What no order could undercut with the slots that a run had.

use std::collections::HashMap;

use xtask::events::Timeline;
use xtask::plan::{On, Origin, Resource, Slots, StepId};

/// A step of one resource, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Job {
    /// What has to be over before it can begin.
    head_us: u64,
    /// How long it took.
    own_us: u64,
    /// What has to come after its end.
    tail_us: u64,
}

/// The largest bound, in seconds, of any resource and any of its steps taken together: the shortest way to one of them,
/// the time of all of them over the slots, and the shortest way from one of them to the end.
///
/// Source: J. Carlier, Scheduling jobs with release dates and tails on identical machines to minimize the makespan,
/// European Journal of Operational Research 29 (1987).
pub(crate) fn bound_s(timeline: &Timeline, slots: Slots) -> f64 {
    let bounds = Resource::ALL.map(|resource| bound_us(&jobs(timeline, resource), slots.of(resource)));
    bounds.into_iter().fold(0.0, f64::max) / 1e6
}

fn bound_us(jobs: &[Job], slots: usize) -> f64 {
    let pairs = jobs.iter().flat_map(|head| jobs.iter().map(move |tail| (head.head_us, tail.tail_us)));
    let together = pairs.map(|(head_us, tail_us)| {
        let within = jobs.iter().filter(|job| job.head_us >= head_us && job.tail_us >= tail_us);
        let work_us: u64 = within.map(|job| job.own_us).sum();
        // Without any step in between, the two ways need not be the same run's.
        if work_us == 0 { 0.0 } else { (head_us + tail_us) as f64 + work_us as f64 / slots as f64 }
    });
    together.fold(0.0, f64::max)
}

/// The steps of `resource`, with the longest ways to and from them through needs that no schedule added.
fn jobs(timeline: &Timeline, resource: Resource) -> Vec<Job> {
    let own_us: Vec<u64> = timeline.steps.iter().map(|state| state.elapsed_us(timeline.last_us).unwrap_or(0)).collect();
    let places: HashMap<&StepId, usize> =
        timeline.steps.iter().enumerate().map(|(at, state)| (&state.step.id, at)).collect();
    let needs = |at: usize| {
        let needs = timeline.steps[at].step.needs.iter().filter(|need| need.origin != Origin::Schedule);
        needs.filter_map(|need| Some((*places.get(&need.step)?, &need.on)))
    };
    let until_us = |at: usize, on: &On| {
        let state = &timeline.steps[at];
        state.met_us(on).zip(state.started_us).map_or(own_us[at], |(met_us, started_us)| met_us - started_us)
    };
    // Steps stand behind what they need, so one pass each way suffices.
    let mut heads_us = vec![0; own_us.len()];
    for at in 0..own_us.len() {
        let after = needs(at).map(|(needed, on)| heads_us[needed] + until_us(needed, on));
        heads_us[at] = after.max().unwrap_or(0);
    }
    let mut ways_us = own_us.clone();
    for at in (0..own_us.len()).rev() {
        for (needed, on) in needs(at) {
            let way_us = ways_us[at] + until_us(needed, on);
            ways_us[needed] = ways_us[needed].max(way_us);
        }
    }
    let of = (0..own_us.len()).filter(|&at| timeline.steps[at].step.resource == resource);
    of.map(|at| Job { head_us: heads_us[at], own_us: own_us[at], tail_us: ways_us[at] - own_us[at] }).collect()
}
