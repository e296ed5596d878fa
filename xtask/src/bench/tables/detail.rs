//! Phases, paths and steps, what failed, and what it all ran on.

use super::{Section, optional, seconds, spread};
use crate::bench::compare::Standing;
use crate::bench::document::Document;
use crate::bench::stats::{FEWEST, Spread};

pub(super) fn phases(document: &Document) -> Section {
    let names = document.comparison.contenders.iter().map(|standing| standing.name.as_str());
    let head: Vec<&str> = ["phase", "the plan's estimate"].into_iter().chain(names).collect();
    let mut section = Section::new("Phases", &head);
    section.say(
        "How long at least one step of a phase ran (median). Phases overlap, and a step that serves several counts in \
         each: these times do not add up.",
    );
    for estimate in &document.phases {
        let measured = document
            .comparison
            .contenders
            .iter()
            .map(|standing| optional(standing.phases.get(&estimate.phase).map(|spread| spread.median), seconds));
        let row = [estimate.phase.clone(), optional(estimate.estimate_s, |estimate| format!("{estimate:.0} s"))];
        section.rows.push(row.into_iter().chain(measured).collect());
    }
    section
}

pub(super) fn paths(document: &Document) -> Section {
    let mut section = Section::new("Critical paths", &["", "the steps that decided how long the median run took"]);
    for standing in &document.comparison.contenders {
        let parts = standing.critical_path.iter().map(|part| {
            let waited = if part.waited_s >= 0.05 {
                format!(" after a wait of {}", seconds(part.waited_s))
            } else {
                String::new()
            };
            format!("{} {}{waited}", part.step, seconds(part.seconds))
        });
        let parts: Vec<String> = parts.collect();
        if !parts.is_empty() {
            section.rows.push(vec![standing.name.clone(), parts.join(" → ")]);
        }
    }
    section
}

pub(super) fn differences(document: &Document) -> Section {
    let comparison = &document.comparison;
    let mut section = Section::new("Steps that take longer", &["", "step", "longer by", "99 % interval"]);
    let mut seen = Vec::new();
    for pair in comparison.copies.iter().chain(&comparison.subject_against).chain(&comparison.savings) {
        for (of, against, steps) in
            [(&pair.of, &pair.against, &pair.slower_steps), (&pair.against, &pair.of, &pair.faster_steps)]
        {
            if seen.contains(&(of, against)) {
                continue;
            }
            seen.push((of, against));
            for step in steps {
                let (low, high) = (step.interval.low.abs(), step.interval.high.abs());
                section.rows.push(vec![
                    format!("{of} than {against}"),
                    step.id.to_string(),
                    seconds(step.seconds.abs()),
                    format!("{} … {}", seconds(low.min(high)), seconds(low.max(high))),
                ]);
            }
        }
    }
    let enough = |standing: &&Standing| standing.passed >= FEWEST;
    if comparison.contenders.iter().filter(enough).count() < 2 {
        section.say("There are too few runs to say.");
    } else if section.rows.is_empty() {
        section.say("No step takes longer with one than with another beyond what may be chance.");
    } else {
        section.say("Beyond what may be chance, and by a quarter of a second and a tenth at least.");
    }
    section
}

pub(super) fn steps(document: &Document) -> Section {
    let contenders = &document.comparison.contenders;
    let head: Vec<&str> = std::iter::once("step").chain(contenders.iter().map(|one| one.name.as_str())).collect();
    let mut section = Section::new("Every step", &head);
    let mut ids = Vec::new();
    for step in contenders.iter().flat_map(|standing| &standing.steps) {
        if !ids.contains(&&step.id) {
            ids.push(&step.id);
        }
    }
    for id in ids {
        let time = |standing: &Standing| {
            let step = standing.steps.iter().find(|step| step.id == *id);
            spread(step.map(|step| &step.seconds), seconds)
        };
        section.rows.push(std::iter::once(id.to_string()).chain(contenders.iter().map(time)).collect());
    }
    section
}

pub(super) fn failures(document: &Document) -> Option<Section> {
    let mut section = Section::new("Runs that failed", &["", "round", "why", "folder"]);
    for standing in &document.comparison.contenders {
        for failed in &standing.failed {
            let row = [standing.name.clone(), failed.round.to_string(), failed.reason.clone(), failed.folder.clone()];
            section.rows.push(row.to_vec());
        }
    }
    (!section.rows.is_empty()).then_some(section)
}

pub(super) fn conditions(document: &Document) -> Section {
    let mut section = Section::new("Environment", &["", ""]);
    let revision = ("sources", document.settings.inputs.chars().take(12).collect::<String>());
    let own = document.environment.iter().map(|(key, value)| (key.as_str(), value.clone()));
    for (key, value) in own.chain([revision]) {
        section.rows.push(vec![key.to_owned(), value]);
    }
    let busy = Spread::of(document.runs.iter().filter_map(|run| run.busy_cores_before));
    section.rows.push(vec![
        "cores busy with other things before each run".to_owned(),
        spread(busy.as_ref(), |cores| format!("{cores:.2}")),
    ]);
    section
}
