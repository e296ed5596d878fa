//! One self-contained page: a Gantt chart for each run on one time axis, the phases, the specs, the environment.
//!
//! It has no script: what is shown on hover lies in the page and is also reached by keyboard.

use std::fmt::Write as _;

use super::analysis::{self, PathStep};
pub use super::html_tables::Chart;
use super::html_tables::{environment, phases, specs};
use super::junit::escape;
use super::text::{bytes, duration, usage};
use crate::events::{RunResult, RunStarted, StepState, StepStatus, Timeline};
use crate::plan::Origin;

const STYLE: &str = include_str!("page.css");

/// The page of a single run.
pub fn page(run: &Timeline) -> String {
    let schedule = run.run.as_ref().map_or_else(String::new, |run| format!("schedule {}", run.plan.schedule));
    let subject = run.run.as_ref().map_or_else(String::new, RunStarted::subject);
    let title = format!("{subject}: {}", verdict(run).0);
    page_of(&title, "", &[Chart { title: &schedule, run }], &environment(run, ""))
}

/// A page that begins with `lead` and ends with `tail`, which are HTML, and has a chart for each of these runs on one
/// time axis.
pub fn page_of(title: &str, lead: &str, charts: &[Chart<'_>], tail: &str) -> String {
    let axis = Axis::of(charts);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
        escape(title),
        escape(title),
    );
    out.push_str(lead);
    legend(&mut out);
    for chart in charts {
        gantt(&mut out, chart, &axis);
    }
    phases(&mut out, charts);
    for chart in charts {
        specs(&mut out, chart, charts.len() > 1);
    }
    out.push_str(tail);
    out.push_str("</body>\n</html>\n");
    out
}

/// How a run ended, and whether that is bad.
fn verdict(run: &Timeline) -> (String, bool) {
    match &run.result {
        Some((result, _)) => (format!("{} in {}", result.name(), duration(run.last_us)), *result != RunResult::Passed),
        None => (format!("not finished after {}", duration(run.last_us)), true),
    }
}

/// The time axis that all charts share.
struct Axis {
    end_us: u64,
    tick_us: u64,
}

impl Axis {
    fn of(charts: &[Chart<'_>]) -> Self {
        let end_us = charts.iter().map(|chart| chart.run.last_us).max().unwrap_or(0).max(1);
        let nice = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];
        let wanted = end_us.div_ceil(10);
        let tick_us = nice.iter().map(|seconds| seconds * 1_000_000).find(|tick| *tick >= wanted);
        Self { end_us, tick_us: tick_us.unwrap_or(wanted) }
    }

    fn percent(&self, us: u64) -> f64 {
        100.0 * us as f64 / self.end_us as f64
    }

    fn write(&self, out: &mut String) {
        out.push_str("<div class=\"row axis\"><span></span><div class=\"track\">");
        for number in 0..=(self.end_us / self.tick_us) {
            let us = number * self.tick_us;
            let seconds = us / 1_000_000;
            let text = if seconds >= 120 && seconds.is_multiple_of(60) {
                format!("{} min", seconds / 60)
            } else {
                format!("{seconds} s")
            };
            let _ = write!(out, "<span style=\"left:{:.3}%\">{text}</span>", self.percent(us));
        }
        out.push_str("</div></div>\n");
    }
}

fn legend(out: &mut String) {
    out.push_str("<p class=\"legend\">");
    for (style, text) in [
        ("background:var(--cpu)", "computes"),
        ("background:var(--disk)", "moves bytes"),
        ("background:var(--waiting)", "waits"),
        ("border-bottom:2px dotted var(--faint)", "waited to begin"),
        ("background:var(--ink);width:2px", "milestone"),
        ("background:var(--critical);height:3px;vertical-align:.25em", "critical path"),
        ("background:var(--load)", "share of the cores that was busy"),
        ("background:var(--bad)", "failed"),
    ] {
        let _ = write!(out, "<span><i style=\"{style}\"></i>{text}</span>");
    }
    out.push_str("</p>\n");
}

fn gantt(out: &mut String, chart: &Chart<'_>, axis: &Axis) {
    let run = chart.run;
    let Some(started) = &run.run else { return };
    let (verdict, bad) = verdict(run);
    let class = if bad { "verdict bad" } else { "verdict" };
    let _ = writeln!(
        out,
        "<h2>{} <span class=\"{class}\">{}</span></h2>\n<p class=\"faint\">run {}, began {}, build {}, {} cores{}</p>",
        escape(chart.title),
        escape(&verdict),
        escape(&started.run),
        escape(&started.started_at),
        started.plan.build.name(),
        started.cores,
        sentence(run),
    );
    if let Some((result, reason)) = &run.result
        && *result != RunResult::Passed
        && !reason.is_empty()
    {
        let _ = writeln!(out, "<pre class=\"error\">{}</pre>", escape(reason));
    }
    let path = analysis::critical_path(run);
    let _ = writeln!(out, "<div class=\"gantt\" style=\"--tick:{:.4}%\">", axis.percent(axis.tick_us));
    axis.write(out);
    let mut steps: Vec<&StepState> = run.steps.iter().collect();
    // What never began stays at the end, in the plan's order.
    steps.sort_by_key(|state| state.started_us.unwrap_or(u64::MAX));
    for state in steps {
        row(out, run, state, &path, axis);
    }
    busy(out, run, started.cores, axis);
    out.push_str("</div>\n");
}

/// How much of the machine was busy when, as an area below the steps.
fn busy(out: &mut String, run: &Timeline, cores: usize, axis: &Axis) {
    let Some(machine) = analysis::machine(run) else { return };
    let mut points = String::from("0,100 ");
    for pair in run.machine.windows(2) {
        let (one, other) = (&pair[0], &pair[1]);
        let elapsed_s = other.at_us.saturating_sub(one.at_us) as f64 / 1e6;
        // The kernel counts in steps of 10 ms: over less than a few of these a share means nothing.
        if elapsed_s < 0.1 {
            continue;
        }
        let share = ((other.cpu_s - one.cpu_s) / elapsed_s / cores.max(1) as f64).clamp(0.0, 1.0);
        let top = 100.0 - 100.0 * share;
        let _ = write!(points, "{:.3},{top:.1} {:.3},{top:.1} ", axis.percent(one.at_us), axis.percent(other.at_us));
    }
    let end = run.machine.last().map_or(0.0, |moment| axis.percent(moment.at_us));
    let _ = writeln!(
        out,
        "<div class=\"row load\" tabindex=\"0\"><span class=\"label\">cores busy</span><div class=\"track\">\
         <svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"share of the cores that was busy\">\
         <polygon points=\"{points}{end:.3},100\"/></svg></div><div class=\"tip\"><strong>The whole machine</strong><dl>\
         <dt>on the mean</dt><dd>{:.2} of {cores} cores</dd><dt>CPU time</dt><dd>{:.1} s, of which {:.1} s by this run's own \
         processes</dd><dt>memory</dt><dd>{} at most</dd></dl></div></div>",
        machine.busy_cores(),
        machine.cpu_s,
        analysis::children_cpu_s(run),
        bytes(machine.peak_memory_bytes),
    );
}

fn sentence(run: &Timeline) -> String {
    let mut text = String::new();
    if let Some(us) = analysis::set_up_us(run) {
        let _ = write!(text, "; set up after {}", duration(us));
    }
    if let Some(bound) = analysis::lower_bound(run) {
        let _ = write!(text, "; no order of these steps takes less than {:.1} s here", bound.seconds());
    }
    text
}

fn row(out: &mut String, run: &Timeline, state: &StepState, path: &[PathStep], axis: &Axis) {
    let on_path = path.iter().find(|step| step.id == state.step.id);
    let class = if on_path.is_some() { "row critical" } else { "row" };
    let id = escape(state.step.id.as_str());
    let _ = write!(out, "<div class=\"{class}\" tabindex=\"0\"><span class=\"label\">{id}</span><div class=\"track\">");
    if let Some(start_us) = state.started_us {
        let end_us = state.ended_us.unwrap_or(run.last_us);
        let ready_us = state.ready_us.unwrap_or(start_us);
        if start_us.saturating_sub(ready_us) >= 20_000 {
            bar(out, "slot", ready_us, start_us, axis);
        }
        let kind = match state.status {
            StepStatus::Failed(_) => "failed",
            StepStatus::Cancelled(_) => "stopped",
            _ => state.step.resource.name(),
        };
        bar(out, kind, start_us, end_us, axis);
        for reached_us in state.reached_us.values() {
            bar(out, "milestone", *reached_us, *reached_us, axis);
        }
        if let Some(step) = on_path {
            bar(out, "path", step.start_us, step.end_us, axis);
        }
        let elapsed = duration(end_us.saturating_sub(start_us));
        // Beside the bar, on the side where there is room.
        if axis.percent(end_us) < 90.0 {
            let _ = write!(out, "<span class=\"after\" style=\"left:{:.3}%\">{elapsed}</span>", axis.percent(end_us));
        } else {
            let left = axis.percent(ready_us.min(start_us));
            let _ = write!(out, "<span class=\"after left\" style=\"left:{left:.3}%\">{elapsed}</span>");
        }
    } else {
        let why = match &state.status {
            StepStatus::Skipped { reason, .. } => format!("skipped: {reason}"),
            _ => "never began".to_owned(),
        };
        let _ = write!(out, "<span class=\"after\">{}</span>", escape(&why));
    }
    out.push_str("</div>");
    tip(out, state);
    out.push_str("</div>\n");
}

fn bar(out: &mut String, class: &str, start_us: u64, end_us: u64, axis: &Axis) {
    let left = axis.percent(start_us);
    let width = axis.percent(end_us.saturating_sub(start_us));
    let _ = write!(out, "<div class=\"bar {class}\" style=\"left:{left:.3}%;width:{width:.3}%\"></div>");
}

fn tip(out: &mut String, state: &StepState) {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let (Some(start_us), Some(end_us)) = (state.started_us, state.ended_us) {
        rows.push(("ran", format!("{} – {} ({})", duration(start_us), duration(end_us), duration(end_us - start_us))));
        let waited_us = start_us.saturating_sub(state.ready_us.unwrap_or(start_us));
        if waited_us >= 20_000 {
            rows.push(("waited to begin", duration(waited_us)));
        }
    }
    rows.push(("expected", format!("{:.1} s, {}", state.step.expected.seconds, state.step.expected.source)));
    for milestone in &state.step.milestones {
        let reached_us = state.reached_us.get(&milestone.name).zip(state.started_us);
        let after = reached_us.map(|(at_us, started_us)| format!("after {}", duration(at_us - started_us)));
        rows.extend(after.map(|after| (milestone.title.as_str(), after)));
    }
    let used = usage(&state.usage);
    if !used.is_empty() {
        rows.push(("used", used));
    }
    let needs = state.step.needs.iter().map(|need| {
        let why = if need.origin == Origin::Schedule { "only the schedule" } else { need.why.as_str() };
        format!("{}: {why}", need.what())
    });
    let needs: Vec<String> = needs.collect();
    if !needs.is_empty() {
        rows.push(("after", needs.join("; ")));
    }
    rows.push(("counts for", state.step.phases.join(", ")));
    match &state.status {
        StepStatus::Failed(error) | StepStatus::Cancelled(error) => rows.push(("error", error.clone())),
        _ => {}
    }
    let _ = write!(out, "<div class=\"tip\"><strong>{}</strong><dl>", escape(&state.step.title));
    for (term, text) in rows {
        let _ = write!(out, "<dt>{term}</dt><dd>{}</dd>", escape(&text));
    }
    for (key, value) in &state.facts {
        let _ = write!(out, "<dt>{}</dt><dd><code>{}</code></dd>", escape(key), escape(value));
    }
    out.push_str("</dl></div>");
}
