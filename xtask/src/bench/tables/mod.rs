//! What the reports say, before it is Markdown or HTML.

mod detail;
mod totals;

use super::compare::Standing;
use super::document::Document;
use super::prepare::CALM_CORES;
use super::stats::{Interval, Ratio, Spread, Verdict};
use crate::report::text::bytes;

/// A part of a report.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    /// Whether a page has it above its charts.
    pub(super) first: bool,
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
    let mut sections =
        vec![totals::times(document), totals::savings(document), totals::against(document), totals::bounds(document)];
    sections.iter_mut().for_each(|section| section.first = true);
    sections.extend(totals::plans_table(document));
    sections.extend([
        detail::phases(document),
        detail::paths(document),
        detail::differences(document),
        detail::steps(document),
    ]);
    sections.extend(detail::failures(document));
    sections.push(detail::conditions(document));
    sections.retain(|section| !section.rows.is_empty() || !section.text.is_empty());
    sections
}

/// What all of it comes to, in a few sentences.
pub(super) fn lead(document: &Document) -> Vec<String> {
    let settings = &document.settings;
    let comparison = &document.comparison;
    let names: Vec<&str> = settings.contenders.iter().map(|contender| contender.name.as_str()).collect();
    let rounds = if document.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", document.rounds) };
    let mut lead = vec![format!(
        "Scenario `{}`: {}. {rounds} of {}, in a random order within each round (seed {}), after a warm-up.",
        settings.scenario.name(),
        settings.scenario.sentence(),
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
    let busy =
        document.runs.iter().filter(|run| run.busy_cores_before.is_some_and(|cores| cores >= CALM_CORES)).count();
    if busy > 0 {
        lead.push(format!(
            "**Not calm**: others kept {CALM_CORES} cores or more busy right before {busy} of {} runs. Their CPU time is \
             counted in, and all times are longer for it.",
            document.runs.len()
        ));
    }
    let saved = comparison.savings.iter().find(|pair| pair.of == comparison.subject);
    // What is void comes to nothing.
    if let Some(pair) = saved.filter(|_| comparison.void.is_empty()) {
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

fn standing<'d>(document: &'d Document, name: &str) -> Option<&'d Standing> {
    document.comparison.contenders.iter().find(|standing| standing.name == name)
}
