//! How each contender did as a whole, and beside the others.

use super::{Section, interval, optional, percent, seconds, size, spread, standing, times_as_fast, verdict};
use crate::bench::compare::{Pair, Standing};
use crate::bench::document::Document;
use crate::bench::stats::{Interval, Ratio, Spread, range_holds};

pub(super) fn times(document: &Document) -> Section {
    let mut section = Section::new(
        "Times",
        &["", "runs", "set-up", "tests", "total", "CPU time", "cores busy", "memory in use", "into the node"],
    );
    section.say("Median, and in brackets the smallest and the largest. CPU time and memory are the whole machine's.");
    for standing in &document.comparison.contenders {
        let failed =
            if standing.failed.is_empty() { String::new() } else { format!(", {} failed", standing.failed.len()) };
        section.rows.push(vec![
            standing.name.clone(),
            format!("{}{failed}", standing.passed),
            spread(standing.set_up_s.as_ref(), seconds),
            spread(standing.tests_s.as_ref(), seconds),
            spread(standing.total_s.as_ref(), seconds),
            spread(standing.machine_cpu_s.as_ref(), seconds),
            optional(standing.busy_cores.map(|cores| cores.median), |cores| format!("{cores:.2}")),
            optional(standing.peak_memory_bytes.map(|bytes| bytes.median), size),
            optional(standing.moved_bytes.map(|bytes| bytes.median), size),
        ]);
    }
    section
}

pub(super) fn savings(document: &Document) -> Section {
    let comparison = &document.comparison;
    let mut section = Section::new(
        format!("Saved against {}", comparison.reference),
        &["", "total saved", "95 % interval", "set-up saved", "95 % interval", "verdict on the total"],
    );
    let saved = |ratio: f64| percent(1.0 - ratio);
    let turned = |ratio: &Ratio| {
        interval(ratio.interval.map(|interval| Interval { low: interval.high, high: interval.low }), saved)
    };
    for pair in &comparison.savings {
        section.rows.push(vec![
            pair.of.clone(),
            saved(pair.time.value),
            turned(&pair.time),
            optional(pair.set_up.map(|ratio| ratio.value), saved),
            pair.set_up.as_ref().map_or_else(|| "–".to_owned(), turned),
            verdict(&pair.time),
        ]);
    }
    section
}

pub(super) fn against(document: &Document) -> Section {
    let comparison = &document.comparison;
    let mut section = Section::new(
        format!("{} beside each", comparison.subject),
        &["", "times as fast", "95 % interval", "verdict", "ceiling", "reached", "for less work", "for more overlap"],
    );
    section.say(
        "*Ceiling*: no order of the other's work could be more than this many times as fast, for its cores are busy \
         already: cores over its mean busy cores. What is reached beyond it comes from computing less. The last two \
         columns multiply to the first: CPU time over CPU time, and busy cores over busy cores.",
    );
    section.say(
        "*Verdict*: `faster` or `slower` where the whole interval lies beyond 2 %, and where two that are the same would \
         differ so in their rounds once in twenty times at most.",
    );
    if let Some(held) = range_holds(document.rounds) {
        section.say(format!(
            "Of {} rounds an interval is the range of what was measured, and holds the truth in {} of all cases: mind the \
             verdict.",
            document.rounds,
            percent(held),
        ));
    }
    let pairs = comparison.subject_against.iter().chain(&comparison.copies);
    for pair in pairs {
        section.rows.push(pair_row(pair, &comparison.subject));
    }
    section
}

fn pair_row(pair: &Pair, subject: &str) -> Vec<String> {
    let name = if pair.of == subject { pair.against.clone() } else { format!("{} beside {}", pair.of, pair.against) };
    let turned = pair.time.interval.map(|interval| Interval { low: 1.0 / interval.high, high: 1.0 / interval.low });
    vec![
        name,
        times_as_fast(1.0 / pair.time.value),
        interval(turned, times_as_fast),
        verdict(&pair.time),
        optional(pair.ceiling, times_as_fast),
        optional(pair.reached, percent),
        optional(pair.less_work, times_as_fast),
        optional(pair.overlap, times_as_fast),
    ]
}

pub(super) fn bounds(document: &Document) -> Section {
    let mut section = Section::new("How near to the bound", &["", "total", "lower bound", "total over bound"]);
    section.say(
        "The lower bound of a run is the larger of the longest way through the needs that are no schedule's, by its \
         steps' own times, and of its CPU time over the cores.",
    );
    if let Some(bound) = document.comparison.bound {
        let subject = standing(document, &document.comparison.subject);
        let total = subject.and_then(|standing| standing.total_s).map(|total| total.median);
        let over = optional(total.filter(|_| bound.seconds() > 0.0).map(|total| total / bound.seconds()), |over| {
            format!(": {} takes {over:.2} × that", document.comparison.subject)
        });
        section.say(format!(
            "By the shortest median that each step has with any schedule, and the least CPU time of any: longest way \
             {}, CPU time over cores {}{over}.",
            seconds(bound.way_s),
            seconds(bound.cpu_s),
        ));
    }
    for standing in &document.comparison.contenders {
        section.rows.push(vec![
            standing.name.clone(),
            optional(standing.total_s.map(|total| total.median), seconds),
            spread(standing.lower_bound_s.as_ref(), seconds),
            spread(standing.over_bound.as_ref(), times_as_fast),
        ]);
    }
    section
}

/// The table that the first plan of such a set-up was argued with, once for each order that has things side by side.
pub(super) fn plans_table(document: &Document) -> Vec<Section> {
    let comparison = &document.comparison;
    let Some(sequential) = standing(document, &comparison.reference) else { return Vec::new() };
    let of = |name: &str| standing(document, name).filter(|standing| standing.name != sequential.name);
    let parallel = ["phased", comparison.subject.as_str()].into_iter().filter_map(of);
    parallel.map(|parallel| plan_table(sequential, parallel)).collect()
}

fn plan_table(sequential: &Standing, parallel: &Standing) -> Section {
    let title = format!("{} and {}", sequential.name, parallel.name);
    let mut section = Section::new(title, &["", "Sequential", "Parallel", "Improvement"]);
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    let mut last = None;
    for (name, one, other) in [
        ("Setup Time", sequential.set_up_s, parallel.set_up_s),
        ("Test Execution", sequential.tests_s, parallel.tests_s),
        ("Total Time", sequential.total_s, parallel.total_s),
    ] {
        let pair = median(one).zip(median(other));
        let improvement = pair.map(|(one, other)| format!("{:+.0} %", (other / one - 1.0) * 100.0));
        section.rows.push(vec![
            name.to_owned(),
            optional(median(one), seconds),
            optional(median(other), seconds),
            improvement.unwrap_or_else(|| "–".to_owned()),
        ]);
        last = pair;
    }
    section.rows.push(vec![
        "Savings".to_owned(),
        "–".to_owned(),
        optional(last.map(|(one, other)| one - other), seconds),
        optional(last.map(|(one, other)| 1.0 - other / one), percent),
    ]);
    section
}
