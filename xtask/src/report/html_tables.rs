//! The tables below the charts of a page: phases, specs, environment.

use std::fmt::Write as _;

use super::analysis;
use super::junit::escape;
use super::text::{SpecCounts, duration};
use crate::events::{SpecState, SpecStatus, Timeline};

/// One run on a page, and what it is called there.
#[derive(Debug, Clone, Copy)]
pub struct Chart<'a> {
    /// What stands above its chart and its columns.
    pub title: &'a str,
    /// The run.
    pub run: &'a Timeline,
}

pub(super) fn phases(out: &mut String, charts: &[Chart<'_>]) {
    let times: Vec<Vec<analysis::PhaseTime>> = charts.iter().map(|chart| analysis::phases(chart.run)).collect();
    let Some(names) = times.iter().max_by_key(|phases| phases.len()) else { return };
    out.push_str("<h2>Phases</h2>\n<div class=\"scroll\"><table>\n<tr><th>phase</th>");
    for chart in charts {
        let lead = if charts.len() > 1 { format!("{}: ", escape(chart.title)) } else { String::new() };
        let _ = write!(out, "<th>{lead}from</th><th>to</th><th>busy</th><th>CPU</th>");
    }
    out.push_str("</tr>\n");
    for name in names.iter().map(|phase| &phase.name) {
        let _ = write!(out, "<tr><td>{}</td>", escape(name));
        for phases in &times {
            let phase = phases.iter().find(|phase| phase.name == *name);
            match phase.and_then(|phase| Some((phase, phase.start_us?))) {
                Some((phase, start_us)) => {
                    let _ = write!(
                        out,
                        "<td>{}</td><td>{}</td><td>{}</td><td>{:.1} s</td>",
                        duration(start_us),
                        duration(phase.end_us),
                        duration(phase.busy_us),
                        phase.cpu_s,
                    );
                }
                None => out.push_str("<td>–</td><td></td><td></td><td></td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str(
        "</table></div>\n<p class=\"faint\">Phases overlap. <em>busy</em>: at least one of its steps ran. A step that \
         serves several phases counts in each; its CPU time is shared out. <em>CPU</em>: what the steps' own processes \
         computed; containers are the engine's.</p>\n",
    );
}

pub(super) fn specs(out: &mut String, chart: &Chart<'_>, several: bool) {
    let run = chart.run;
    if run.specs.is_empty() {
        return;
    }
    let counts = SpecCounts::of(run);
    let open = if counts.passed + counts.ignored < counts.all { " open" } else { "" };
    let whose = if several { format!(": {}", escape(chart.title)) } else { String::new() };
    let _ = writeln!(
        out,
        "<h2>Specs{whose}</h2>\n<details{open}><summary>{}</summary>\n<div class=\"scroll\"><table class=\"words\">\n\
         <tr><th>spec</th><th>result</th><th>began</th><th>time</th></tr>",
        counts.sentence()
    );
    let mut specs: Vec<&SpecState> = run.specs.iter().collect();
    let is_red = |spec: &SpecState| matches!(spec.status, SpecStatus::Failed(_) | SpecStatus::Unfinished(_));
    specs.sort_by_key(|spec| (!is_red(spec), spec.started_us.is_none(), spec.started_us, &spec.name));
    for spec in specs {
        let (class, result) = match &spec.status {
            SpecStatus::Passed if spec.is_flaky() => ("error", format!("flaky: passed in attempt {}", spec.attempts)),
            SpecStatus::Passed => ("", "passed".to_owned()),
            SpecStatus::Failed(error) => ("error", format!("failed: {error}")),
            SpecStatus::Unfinished(reason) => ("error", format!("{}: {reason}", spec.unended())),
            SpecStatus::Ignored => ("faint", "ignored".to_owned()),
            SpecStatus::Listed => ("faint", "not run".to_owned()),
            SpecStatus::Running => ("error", "the run ended while it ran".to_owned()),
        };
        let began = spec.started_us.map(duration).unwrap_or_default();
        let time = spec.elapsed_us(run.last_us).map(duration).unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code></td><td class=\"{class}\">{}</td><td>{began}</td><td>{time}</td></tr>",
            escape(&spec.name),
            escape(&result),
        );
    }
    out.push_str("</table></div></details>\n");
}

/// What a run ran on; the heading ends with `whose`.
pub(super) fn environment(run: &Timeline, whose: &str) -> String {
    let mut out = String::new();
    let Some(started) = run.run.as_ref().filter(|run| !run.environment.is_empty()) else { return out };
    let _ = writeln!(out, "<h2>Environment{}</h2>\n<div class=\"scroll\"><table class=\"words\">", escape(whose));
    for (key, value) in &started.environment {
        let _ = writeln!(out, "<tr><td class=\"faint\">{}</td><td>{}</td></tr>", escape(key), escape(value));
    }
    out.push_str("</table></div>\n");
    out
}
