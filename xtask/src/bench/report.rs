//! The files that a bench leaves: Markdown, JSON, a page. All of them follow from the runs that are kept.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use super::compare::compare;
use super::contender::subject;
use super::document::{Document, Estimate};
use super::measure::Run;
use super::state::{SCHEMA, Settings};
use super::{html, markdown, run};
use crate::events::Timeline;
use crate::suite::Suite;

/// Where the reports are.
#[derive(Debug)]
pub struct Reports {
    pub markdown: Utf8PathBuf,
    pub json: Utf8PathBuf,
    pub html: Utf8PathBuf,
    /// The Markdown's text.
    pub text: String,
}

/// The phases of a suite with their estimates.
fn estimates(suite: &Suite) -> Vec<Estimate> {
    let estimate = |phase: &String| suite.bench.as_ref().and_then(|bench| bench.estimates_s.get(phase)).copied();
    suite.phases.iter().map(|phase| Estimate { phase: phase.clone(), estimate_s: estimate(phase) }).collect()
}

/// Writes the three files into `out`, beside the folders of the runs.
///
/// # Errors
/// Nothing has run yet, or a file cannot be written.
pub fn write(
    out: &Utf8Path,
    suite: &Suite,
    settings: &Settings,
    rounds: u32,
    environment: BTreeMap<String, String>,
    runs: &[Run],
) -> Result<Reports> {
    subject(&settings.contenders).context("nobody took part")?;
    // Which run is the median follows from the times; only its events are read.
    let first = compare(&settings.contenders, runs, &BTreeMap::new(), settings.seed).context("nobody took part")?;
    let medians: BTreeMap<String, Timeline> = first
        .contenders
        .iter()
        .filter_map(|standing| Some((standing.name.clone(), run::timeline(out, standing.median_run.as_deref()?)?)))
        .collect();
    let comparison = compare(&settings.contenders, runs, &medians, settings.seed).context("nobody took part")?;
    let document = Document {
        schema: SCHEMA,
        settings: settings.clone(),
        rounds,
        environment,
        phases: estimates(suite),
        comparison,
        runs: runs.to_vec(),
    };
    let name = |ending: &str| out.join(format!("{}-{}.{ending}", settings.suite, settings.scenario.name()));
    let text = markdown::markdown(&document);
    let reports = Reports { markdown: name("md"), json: name("json"), html: name("html"), text };
    let json = serde_json::to_string_pretty(&document).context("writing the bench as JSON")? + "\n";
    let charts = settings
        .contenders
        .iter()
        .filter_map(|contender| Some((contender.name.as_str(), medians.get(&contender.name)?)));
    let page = html::page(&document, &charts.collect::<Vec<_>>());
    for (path, text) in [(&reports.markdown, &reports.text), (&reports.json, &json), (&reports.html, &page)] {
        fs::write(path, text).with_context(|| format!("writing {path}"))?;
    }
    Ok(reports)
}
