//! The specs, one file per topic. Each has a number and a sentence, and belongs to nobody but itself: a namespace of
//! its own, or a name that no other uses.

mod audit;
mod auth;
mod bodies;
mod classification;
mod concurrency;
mod creation;
mod deduplication;
mod events;
mod freshness;
mod headers;
mod identity;
mod observability;
mod outages;
mod storage;
mod webhooks;

use crate::harness::spec::Spec;

/// All of them.
pub(crate) fn all() -> Vec<Spec> {
    [
        audit::specs(),
        auth::specs(),
        bodies::specs(),
        classification::specs(),
        concurrency::specs(),
        creation::specs(),
        deduplication::specs(),
        events::specs(),
        freshness::specs(),
        headers::specs(),
        identity::specs(),
        observability::specs(),
        outages::specs(),
        storage::specs(),
        webhooks::specs(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_there_once() {
        let mut numbers: Vec<String> = all().iter().map(|spec| spec.number().to_owned()).collect();
        numbers.sort();
        let expected: Vec<String> = (1..=60).map(|number| format!("s{number:02}")).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn those_that_disturb_or_count_shared_parts_run_alone() {
        let specs = all();
        let mut alone: Vec<&str> = specs.iter().filter(|spec| spec.alone.is_some()).map(Spec::number).collect();
        alone.sort_unstable();
        assert_eq!(alone, ["s28", "s29", "s30", "s33", "s34", "s35", "s41", "s47", "s49", "s52", "s53", "s55", "s56"]);
    }
}
