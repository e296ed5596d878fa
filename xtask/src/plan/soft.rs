//! Needs that only say what is better first: they hold unless something would wait for itself by them.

use std::collections::{BTreeMap, BTreeSet};

use super::need::merged;
use super::{Need, Step, StepId};

/// Adds those of `preferred` that are on no cycle.
pub(super) fn add(steps: &mut [Step], preferred: Vec<(StepId, Need)>) {
    if preferred.is_empty() {
        return;
    }
    let mut needs: BTreeMap<&StepId, BTreeSet<&StepId>> = BTreeMap::new();
    for step in steps.iter() {
        needs.entry(&step.id).or_default().extend(step.needs.iter().map(|need| &need.step));
    }
    for (step, need) in &preferred {
        needs.entry(step).or_default().insert(&need.step);
    }
    // All of them are looked at together: which one stays does not depend on their order.
    let closes = |step: &StepId, need: &Need| reaches(&needs, &need.step, step);
    let kept: Vec<bool> = preferred.iter().map(|(step, need)| !closes(step, need)).collect();
    let mut added: BTreeMap<StepId, Vec<Need>> = BTreeMap::new();
    for ((step, need), _) in preferred.into_iter().zip(kept).filter(|(_, kept)| *kept) {
        added.entry(step).or_default().push(need);
    }
    for step in steps {
        if let Some(more) = added.remove(&step.id) {
            step.needs.extend(more);
            step.needs = merged(std::mem::take(&mut step.needs));
        }
    }
}

/// Whether `from` waits for `to`, directly or by others.
fn reaches(needs: &BTreeMap<&StepId, BTreeSet<&StepId>>, from: &StepId, to: &StepId) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        open.extend(needs.get(at).into_iter().flatten().filter(|next| seen.insert(*next)));
    }
    false
}
