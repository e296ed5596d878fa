//! What the runs of shards come to together. Pure once they are read: a spec counts only where a run of the shard that has
//! it says how it ended.

use std::collections::{BTreeMap, BTreeSet};

pub use super::recorded::{Recorded, read, timeline};
use super::{Partition, Split};
use crate::events::{RunResult, SpecState, SpecStatus, Timeline};
use crate::report::text::duration;

/// How many names of a difference are told.
const SHOWN: usize = 5;

/// The runs of a suite's shards, together.
#[derive(Debug)]
pub struct Merged {
    /// The suite.
    pub suite: String,
    /// What became of each shard, in their order.
    pub shards: Vec<Part>,
    /// All specs with the verdict: as if it were one run, without steps.
    pub whole: Timeline,
}

/// A shard, and what became of it.
#[derive(Debug)]
pub struct Part {
    /// Which one.
    pub partition: Partition,
    /// Its run; none where there is none.
    pub run: Option<Recorded>,
    /// What is wrong with it beside its own result.
    pub problems: Vec<String>,
}

impl Part {
    /// How it ended, in words.
    pub fn outcome(&self) -> String {
        let Some(run) = &self.run else { return "missing".to_owned() };
        let took = duration(run.timeline.last_us);
        match &run.timeline.result {
            Some((result, _)) => format!("{} in {took}", result.name()),
            None => format!("killed after {took}"),
        }
    }

    /// Whether its run came to its end and passed, and nothing else is wrong with it.
    pub fn is_green(&self) -> bool {
        let result = self.run.as_ref().and_then(|run| run.timeline.result.as_ref());
        self.problems.is_empty() && result.is_some_and(|(result, _)| *result == RunResult::Passed)
    }

    fn split(&self) -> Option<&Split> {
        self.run.as_ref()?.timeline.split.as_ref()
    }
}

/// Puts the runs of shards together, of which there is one at least.
pub fn merge(mut runs: BTreeMap<usize, Recorded>) -> Option<Merged> {
    let (_, first) = runs.first_key_value()?;
    let count = first.partition.count();
    let suite = first.timeline.run.as_ref()?.plan.suite.clone();
    let partitions = (1..=count).filter_map(|index| Partition::new(index, count));
    let part = |partition: Partition| {
        let run = runs.remove(&partition.index());
        Part { partition, run, problems: Vec::new() }
    };
    let mut shards: Vec<Part> = partitions.map(part).collect();
    let common = common_split(&shards).cloned();
    for shard in &mut shards {
        shard.problems = problems(shard, common.as_ref());
    }
    let mut specs = specs(&shards, common.as_ref());
    for (name, twice) in std::mem::take(&mut specs.twice) {
        for shard in shards.iter_mut().filter(|shard| twice.contains(&shard.partition.index())) {
            shard.problems.push(format!("{name} ended in {} shards", twice.len()));
        }
    }
    let result = verdict(&shards, &specs.states);
    let mut whole = Timeline::default();
    whole.last_us = shards.iter().filter_map(|shard| Some(shard.run.as_ref()?.timeline.last_us)).max().unwrap_or(0);
    whole.specs = specs.states;
    whole.result = Some(result);
    Some(Merged { suite, shards, whole })
}

/// The split that most shards have; of those that equally many have, that of the first.
fn common_split(shards: &[Part]) -> Option<&Split> {
    let splits: Vec<&Split> = shards.iter().filter_map(Part::split).collect();
    let times = |split: &Split| splits.iter().filter(|other| **other == split).count();
    splits.iter().rev().copied().max_by_key(|split| times(split))
}

fn problems(shard: &Part, common: Option<&Split>) -> Vec<String> {
    let Some(run) = &shard.run else { return vec!["its run is not among the folders".to_owned()] };
    let mut problems = Vec::new();
    if run.timeline.result.is_none() {
        let at = duration(run.timeline.last_us);
        problems.push(format!("its run was killed: nothing is known of it after {at}"));
    }
    if let (Some(own), Some(common)) = (&run.timeline.split, common)
        && own != common
    {
        problems.push(difference(own, common));
    }
    let own = run.timeline.split.as_ref().map_or(&[][..], |split| split.of(shard.partition));
    let ended = run.timeline.specs.iter().filter(|spec| !matches!(spec.status, SpecStatus::Ignored));
    let strays: Vec<&str> =
        ended.map(|spec| spec.name.as_str()).filter(|name| !own.iter().any(|own| own == name)).collect();
    if !strays.is_empty() {
        let names = some(&strays);
        problems.push(format!("its run had specs that are not its own (does the program know --skip?): {names}"));
    }
    problems
}

/// In what a split differs from the one that most have.
fn difference(own: &Split, common: &Split) -> String {
    let (names, others): (BTreeSet<&str>, BTreeSet<&str>) = (own.all().collect(), common.all().collect());
    let more: Vec<&str> = names.difference(&others).copied().collect();
    let less: Vec<&str> = others.difference(&names).copied().collect();
    let parts: Vec<String> = [("it also has", more), ("it does not have", less)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", some(&names)))
        .collect();
    if !parts.is_empty() {
        return format!("it split another list of specs than other shards: {}", parts.join("; "));
    }
    let by = |split: &Split| split.times.as_ref().map_or("none".to_owned(), |hash| hash.chars().take(12).collect());
    if own.times != common.times {
        let (own, common) = (by(own), by(common));
        return format!("it was split by another file of times than other shards: SHA-256 {own}, theirs {common}");
    }
    "it split the same specs in another way than other shards, as another version of this program would".to_owned()
}

fn some(names: &[&str]) -> String {
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let rest = names.len().saturating_sub(SHOWN);
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

/// All specs that any shard knows of.
struct Specs {
    states: Vec<SpecState>,
    /// Those that ended in several shards, and in which.
    twice: BTreeMap<String, BTreeSet<usize>>,
}

fn specs(shards: &[Part], common: Option<&Split>) -> Specs {
    let mut found: BTreeMap<String, Vec<(usize, SpecState)>> = BTreeMap::new();
    for shard in shards {
        for name in shard.split().into_iter().flat_map(Split::all) {
            found.entry(name.to_owned()).or_default();
        }
        let Some(run) = &shard.run else { continue };
        for spec in &run.timeline.specs {
            let state = closed(spec, shard);
            found.entry(spec.name.clone()).or_default().push((shard.partition.index(), state));
        }
    }
    let mut twice = BTreeMap::new();
    let states = found.into_iter().map(|(name, states)| {
        let ended = |state: &SpecState| matches!(state.status, SpecStatus::Passed | SpecStatus::Failed(_));
        let ends: BTreeSet<usize> = states.iter().filter(|(_, state)| ended(state)).map(|(index, _)| *index).collect();
        if ends.len() > 1 {
            twice.insert(name.clone(), ends);
        }
        // What is red somewhere is red.
        let worst = states.into_iter().map(|(_, state)| state).max_by_key(|state| match state.status {
            SpecStatus::Failed(_) => 4,
            SpecStatus::Unfinished(_) if state.started_us.is_some() => 3,
            SpecStatus::Passed => 2,
            SpecStatus::Ignored => 1,
            SpecStatus::Unfinished(_) | SpecStatus::Running | SpecStatus::Listed => 0,
        });
        worst.unwrap_or_else(|| SpecState {
            status: SpecStatus::Unfinished(why_not_run(shards, common, &name)),
            name,
            started_us: None,
            ended_us: None,
            attempts: 0,
            alone: false,
        })
    });
    Specs { states: states.collect(), twice }
}

/// A spec of a run that is over: what had not ended then never will.
fn closed(spec: &SpecState, shard: &Part) -> SpecState {
    let mut spec = spec.clone();
    if matches!(spec.status, SpecStatus::Running | SpecStatus::Listed) {
        spec.status = SpecStatus::Unfinished(why(shard));
        let until = shard.run.as_ref().map(|run| run.timeline.last_us);
        spec.ended_us = spec.started_us.and(until);
    }
    spec
}

/// Why a spec that no run tells of did not run.
fn why_not_run(shards: &[Part], common: Option<&Split>, name: &str) -> String {
    let owners = common.into_iter().chain(shards.iter().filter_map(Part::split)).filter_map(|split| split.owner(name));
    let owner = owners.into_iter().next().and_then(|index| shards.get(index - 1));
    owner.map_or_else(|| "no shard has it".to_owned(), why)
}

/// Why specs of this shard have not ended.
fn why(shard: &Part) -> String {
    let partition = shard.partition;
    match shard.run.as_ref().map(|run| &run.timeline.result) {
        None => format!("the run of shard {partition} is not among the folders"),
        Some(None) => format!("the run of shard {partition} was killed"),
        Some(Some((RunResult::Passed, _))) => format!("shard {partition} passed without it"),
        Some(Some((result, why))) => format!("shard {partition}: {}: {why}", result.name()),
    }
}

/// The result of all, and the reason in one line. Specs that are red or that nobody ran come before a set-up that failed,
/// and that before what somebody stopped.
fn verdict(shards: &[Part], specs: &[SpecState]) -> (RunResult, String) {
    let wrong = shards.iter().find_map(|shard| Some(format!("shard {}: {}", shard.partition, shard.problems.first()?)));
    if let Some(reason) = wrong {
        return (RunResult::SpecsFailed, reason);
    }
    for wanted in [RunResult::SpecsFailed, RunResult::SetupFailed, RunResult::Interrupted, RunResult::WrongUsage] {
        let reason = shards.iter().find_map(|shard| {
            let (result, why) = shard.run.as_ref()?.timeline.result.as_ref()?;
            (*result == wanted).then(|| format!("shard {}: {}: {why}", shard.partition, result.name()))
        });
        if let Some(reason) = reason {
            return (wanted, reason);
        }
    }
    let ended = |spec: &SpecState| matches!(spec.status, SpecStatus::Passed | SpecStatus::Ignored);
    match specs.iter().find(|spec| !ended(spec)) {
        Some(spec) => (RunResult::SpecsFailed, format!("{} has not passed", spec.name)),
        None => (RunResult::Passed, String::new()),
    }
}
