//! When times must not be compared: a slow baseline is no success, so everything but the order has to be the same.

use std::collections::{BTreeMap, BTreeSet};

use super::contender::{Contender, Order};
use super::measure::{INPUTS, Run, counted};
use crate::events::COMMANDS;

/// Every reason; none where schedules did the same work under the same conditions. A script does other work by its
/// nature, and is left out.
pub(super) fn void(contenders: &[Contender], runs: &[Run]) -> Vec<String> {
    let schedules = || contenders.iter().filter(|contender| contender.order != Order::Script);
    let counted = || schedules().flat_map(|contender| counted(&contender.name, runs));
    let mut reasons = Vec::new();
    for (what, values) in [
        ("the slots for steps", group(counted(), |run| format!("{:?}", run.slots))),
        ("the cores of the machine", group(counted(), |run| run.cores.to_string())),
        ("the list of steps", group(counted(), steps)),
    ] {
        reasons.extend(differ(what, &values));
    }
    // What each step was done with, by step and what it is about.
    let mut keys: BTreeSet<(&str, &str)> = BTreeSet::new();
    for step in counted().flat_map(|run| &run.steps) {
        keys.extend(step.conditions.keys().map(|key| (step.id.as_str(), key.as_str())));
    }
    for (id, key) in keys {
        let value = |run: &Run| {
            let step = run.steps.iter().find(|step| step.id.as_str() == id);
            step.and_then(|step| step.conditions.get(key)).cloned().unwrap_or_else(|| "nothing".to_owned())
        };
        let what = match key {
            COMMANDS => "the commands".to_owned(),
            INPUTS => "what goes in".to_owned(),
            _ => format!("how often it {key}"),
        };
        reasons.extend(differ(&format!("step {id}: {what}"), &group(counted(), value)));
    }
    reasons
}

/// The steps of a run, in an order that no schedule changes.
fn steps(run: &Run) -> String {
    let ids: BTreeSet<&str> = run.steps.iter().map(|step| step.id.as_str()).collect();
    ids.into_iter().collect::<Vec<_>>().join(" ")
}

/// The contenders by what they have; one that has both stands twice.
fn group<'r>(
    runs: impl Iterator<Item = &'r Run>,
    value: impl Fn(&Run) -> String,
) -> BTreeMap<String, BTreeSet<&'r str>> {
    let mut values: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        values.entry(value(run)).or_default().insert(&run.contender);
    }
    values
}

fn differ(what: &str, values: &BTreeMap<String, BTreeSet<&str>>) -> Option<String> {
    if values.len() < 2 {
        return None;
    }
    let who = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    let list: Vec<String> = values.iter().map(|(value, names)| format!("{value} ({})", who(names))).collect();
    Some(format!("{what} differ: {}", list.join("; ")))
}
