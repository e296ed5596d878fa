//! What is shown of the runs of a suite's shards together.

use std::fmt::Write as _;
use std::fs;

use anyhow::Context as _;
use camino::Utf8Path;

use super::html::{Chart, page_of};
use super::html_tables::environment;
use super::junit;
use super::junit::escape;
use super::text::{SpecCounts, not_run, red_specs};
use crate::events::{RunFolder, StepStatus};
use crate::shards::merge::{Merged, Part};

/// Writes page and JUnit report into this folder, which is made where it is not there.
///
/// # Errors
/// One of them cannot be written.
pub fn write(folder: &Utf8Path, merged: &Merged) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    let to = RunFolder::at(folder);
    for (path, text) in [(to.html(), page(merged)), (to.junit(), junit::merged(merged))] {
        fs::write(&path, text).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// What came of the shards, for a terminal, without colours; ends with a line break.
pub fn text(merged: &Merged) -> String {
    let mut out = String::new();
    for line in failures(merged) {
        let _ = writeln!(out, "{line}");
    }
    if !out.is_empty() {
        out.push('\n');
    }
    for shard in &merged.shards {
        let _ = writeln!(out, "shard {}  {}", shard.partition, row(shard).join("  "));
    }
    let flaky: Vec<&str> =
        merged.whole.specs.iter().filter(|spec| spec.is_flaky()).map(|spec| spec.name.as_str()).collect();
    if !flaky.is_empty() {
        let _ = writeln!(out, "flaky: {}", flaky.join(", "));
    }
    let _ = writeln!(out, "\n{}", verdict(merged));
    out
}

/// The summary of a CI job, in Markdown.
pub fn markdown(merged: &Merged) -> String {
    let mut out = format!("## {}, {} shards: {}\n\n", merged.suite, merged.shards.len(), verdict(merged));
    for line in failures(merged) {
        let _ = writeln!(out, "```\n{line}\n```\n");
    }
    out.push_str("| shard | result | specs | folder |\n|---|---|---|---|\n");
    for shard in &merged.shards {
        let _ = writeln!(out, "| {} | {} |", shard.partition, row(shard).join(" | "));
    }
    out
}

/// `59 passed, 1 not run; specs failed`.
fn verdict(merged: &Merged) -> String {
    let result = merged.whole.result.as_ref().map_or("", |(result, _)| result.name());
    match merged.whole.specs.is_empty() {
        true => result.to_owned(),
        false => format!("{}; {result}", SpecCounts::of(&merged.whole).sentence()),
    }
}

/// How a shard ended, what came of its specs, and where its run is.
fn row(shard: &Part) -> [String; 3] {
    let (specs, folder) = match &shard.run {
        Some(run) if run.timeline.specs.is_empty() => ("no specs".to_owned(), run.folder.as_str()),
        Some(run) => (SpecCounts::of(&run.timeline).sentence(), run.folder.as_str()),
        None => ("–".to_owned(), "–"),
    };
    [shard.outcome(), specs, folder.to_owned()]
}

/// All that is wrong, each in a line of its own or several.
fn failures(merged: &Merged) -> Vec<String> {
    let mut lines = Vec::new();
    for shard in &merged.shards {
        lines.extend(shard.problems.iter().map(|problem| format!("shard {}: {problem}", shard.partition)));
        let Some(run) = &shard.run else { continue };
        for state in &run.timeline.steps {
            if let StepStatus::Failed(error) = &state.status {
                lines.push(format!("shard {}: step {} failed: {error}", shard.partition, state.step.id));
            }
        }
        if let Some((_, reason)) = run.timeline.result.as_ref().filter(|_| !shard.is_green() && !has_failed_step(shard))
        {
            lines.extend((!reason.is_empty()).then(|| format!("shard {}: {reason}", shard.partition)));
        }
    }
    lines.extend(red_specs(&merged.whole).map(|(spec, what, why)| format!("spec {spec} {what}: {why}")));
    let not_run = not_run(&merged.whole);
    if !not_run.is_empty() {
        lines.push(format!("{} specs did not run: {}", not_run.len(), not_run.join(", ")));
    }
    if merged.whole.specs.is_empty() {
        lines.push("which specs there are is not known: no shard came to list them".to_owned());
    }
    lines
}

fn has_failed_step(shard: &Part) -> bool {
    let steps = shard.run.iter().flat_map(|run| &run.timeline.steps);
    steps.into_iter().any(|state| matches!(state.status, StepStatus::Failed(_)))
}

/// One page with the verdict, all that is wrong, and a chart for each shard.
pub fn page(merged: &Merged) -> String {
    let title = format!("{}, {} shards: {}", merged.suite, merged.shards.len(), verdict(merged));
    let mut lead = String::new();
    let failures = failures(merged);
    if !failures.is_empty() {
        let _ = writeln!(lead, "<pre class=\"error\">{}</pre>", escape(&failures.join("\n")));
    }
    lead.push_str("<div class=\"scroll\"><table class=\"words\">\n<tr><th>shard</th><th>result</th><th>specs</th><th>folder</th></tr>\n");
    for shard in &merged.shards {
        let class = if shard.is_green() { "" } else { "error" };
        let [outcome, specs, folder] = row(shard).map(|cell| escape(&cell));
        let _ = writeln!(
            lead,
            "<tr><td>{}</td><td class=\"{class}\">{outcome}</td><td>{specs}</td><td><code>{folder}</code></td></tr>",
            shard.partition
        );
    }
    lead.push_str("</table></div>\n");
    let runs: Vec<_> = merged.shards.iter().filter_map(|shard| shard.run.as_ref()).collect();
    let titles: Vec<String> = runs.iter().map(|run| format!("shard {}", run.partition)).collect();
    let charts: Vec<Chart<'_>> =
        runs.iter().zip(&titles).map(|(run, title)| Chart { title, run: &run.timeline }).collect();
    let machines: Vec<String> =
        runs.iter().zip(&titles).map(|(run, title)| environment(&run.timeline, &format!(": {title}"))).collect();
    page_of(&title, &lead, &charts, &machines.concat())
}
