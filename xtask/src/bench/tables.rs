//! What the reports say, before it is Markdown or HTML.

use super::compare::{Pair, Standing};
use super::report::Document;
use super::stats::{Interval, Ratio, Spread, Verdict};
use crate::report::text::bytes;

/// A part of a report.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    /// Paragraphs above the table.
    pub(super) text: Vec<String>,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Section {
    fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|&word| word.to_owned()).collect();
        Self { title: title.into(), head, ..Self::default() }
    }

    fn say(&mut self, text: impl Into<String>) {
        self.text.push(text.into());
    }
}

/// Everything, first things first.
pub(super) fn sections(document: &Document) -> Vec<Section> {
    let mut sections = vec![times(document), savings(document), against(document), bounds(document)];
    sections.extend(plans_table(document));
    sections.extend([phases(document), paths(document), differences(document), steps(document)]);
    sections.extend(failures(document));
    sections.push(conditions(document));
    sections.retain(|section| !section.rows.is_empty() || !section.text.is_empty());
    sections
}

/// What all of it comes to, in a few sentences.
pub(super) fn lead(document: &Document) -> Vec<String> {
    let settings = &document.settings;
    let comparison = &document.comparison;
    let names: Vec<&str> = settings.contenders.iter().map(|contender| contender.name.as_str()).collect();
    let mut lead = vec![format!(
        "Scenario `{}`: {}. {} rounds of {}, in a random order within each round (seed {}), after a warm-up.",
        settings.scenario.name(),
        settings.scenario.sentence(),
        document.rounds,
        names.join(", "),
        settings.seed,
    )];
    let missing = document.rounds as usize * names.len();
    let there = document.runs.iter().filter(|run| run.round > 0).count();
    if there < missing {
        lead.push(format!("**Not finished**: {there} of {missing} runs are there."));
    }
    let failed = document.runs.iter().filter(|run| !run.passed()).count();
    if failed > 0 {
        let runs = if failed == 1 { "run" } else { "runs" };
        lead.push(format!("**{failed} {runs} failed**: listed below, and in no median."));
    }
    let saved = comparison.savings.iter().find(|pair| pair.of == comparison.subject);
    if let Some(pair) = saved {
        lead.push(format!(
            "{} takes {} of the time of {}: {}.",
            pair.of,
            percent(pair.time.value),
            pair.against,
            verdict(&pair.time)
        ));
    }
    lead
}

pub(super) fn seconds(value: f64) -> String {
    format!("{value:.1} s")
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn spread(spread: Option<&Spread>, show: impl Fn(f64) -> String) -> String {
    match spread {
        None => "–".to_owned(),
        Some(spread) if spread.runs == 1 => show(spread.median),
        Some(spread) => format!("{} ({} – {})", show(spread.median), show(spread.min), show(spread.max)),
    }
}

fn size(value: f64) -> String {
    bytes(value as u64)
}

fn times_as_fast(value: f64) -> String {
    format!("{value:.2} ×")
}

fn optional(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

fn interval(interval: Option<Interval>, show: impl Fn(f64) -> String) -> String {
    interval.map_or_else(|| "–".to_owned(), |interval| format!("{} … {}", show(interval.low), show(interval.high)))
}

fn verdict(ratio: &Ratio) -> String {
    match ratio.verdict {
        Verdict::TooFewRuns => ratio.verdict.name().to_owned(),
        other => format!("**{}**", other.name()),
    }
}

fn times(document: &Document) -> Section {
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

fn savings(document: &Document) -> Section {
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

fn against(document: &Document) -> Section {
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

fn bounds(document: &Document) -> Section {
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

fn standing<'d>(document: &'d Document, name: &str) -> Option<&'d Standing> {
    document.comparison.contenders.iter().find(|standing| standing.name == name)
}

/// The table that the first plan of such a set-up was argued with, once for each order that has things side by side.
fn plans_table(document: &Document) -> Vec<Section> {
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

fn phases(document: &Document) -> Section {
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

fn paths(document: &Document) -> Section {
    let mut section = Section::new("Critical paths", &["", "the steps that decided how long the median run took"]);
    for standing in &document.comparison.contenders {
        let parts = standing.critical_path.iter().map(|part| {
            let waited = if part.waited_s >= 0.05 {
                format!(" after {} without a slot", seconds(part.waited_s))
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

fn differences(document: &Document) -> Section {
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
    if section.rows.is_empty() {
        section.say("No step takes longer with one than with another beyond the interval.");
    } else {
        section.say("Beyond the interval, and by a quarter of a second and a tenth at least.");
    }
    section
}

fn steps(document: &Document) -> Section {
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

fn failures(document: &Document) -> Option<Section> {
    let mut section = Section::new("Runs that failed", &["", "round", "why", "folder"]);
    for standing in &document.comparison.contenders {
        for failed in &standing.failed {
            let row = [standing.name.clone(), failed.round.to_string(), failed.reason.clone(), failed.folder.clone()];
            section.rows.push(row.to_vec());
        }
    }
    (!section.rows.is_empty()).then_some(section)
}

fn conditions(document: &Document) -> Section {
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
