//! A plan for people (text, Mermaid) and for programs (JSON).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{BuildMode, Need, On, Origin, Plan, Step, StepId};

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A tree with expected times: each step below the one it waits for longest.
    Text,
    /// A flow chart for Markdown.
    Mermaid,
    /// Everything, for programs.
    Json,
}

/// When a step is expected to run, in seconds from the run's begin.
pub(super) struct Forecast {
    start_s: f64,
    end_s: f64,
    /// The step that it waits for longest, by its place in the plan.
    after: Option<usize>,
}

impl Plan {
    /// The plan in this format, ending with a line break.
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Text => text(self),
            Format::Mermaid => mermaid(self),
            Format::Json => {
                let json = serde_json::to_string_pretty(self);
                json.expect("a plan is strings, numbers and lists") + "\n"
            }
        }
    }

    /// How the plan goes if every expected time holds and no slot is missing; in the order of the steps.
    pub(super) fn forecast(&self) -> Vec<Forecast> {
        let index: BTreeMap<&StepId, usize> = self.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
        let mut forecast: Vec<Forecast> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let mut next = Forecast { start_s: 0.0, end_s: 0.0, after: None };
            for need in &step.needs {
                let Some(&other) = index.get(&need.step) else { continue };
                let before = &forecast[other];
                let ready_s = match need.on {
                    On::Milestone(_) => before.start_s + self.steps[other].expected_until_s(&need.on),
                    On::Finish => before.end_s,
                };
                if next.after.is_none() || ready_s > next.start_s {
                    next.start_s = ready_s;
                    next.after = Some(other);
                }
            }
            next.end_s = next.start_s + step.expected.seconds;
            forecast.push(next);
        }
        forecast
    }

    /// The steps on the longest way through the plan, by expected times, and how long it is in seconds.
    pub fn critical_path(&self) -> (Vec<StepId>, f64) {
        let forecast = self.forecast();
        let end_s = |at: &usize| forecast[*at].end_s;
        let Some(last) = (0..forecast.len()).max_by(|a, b| end_s(a).total_cmp(&end_s(b))) else {
            return (Vec::new(), 0.0);
        };
        let mut path = Vec::new();
        let mut at = Some(last);
        while let Some(here) = at {
            path.push(self.steps[here].id.clone());
            at = forecast[here].after;
        }
        path.reverse();
        (path, end_s(&last))
    }
}

/// Seconds for a column: `0.4 s`, `14 s`, `2 min 5 s`.
fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

fn text(plan: &Plan) -> String {
    let forecast = plan.forecast();
    let (path, total) = plan.critical_path();
    let mut out = format!(
        "{}: schedule {}, build {}, {} steps, {} by the longest way\n\n",
        plan.suite,
        plan.schedule,
        match plan.build {
            BuildMode::Host => "on the host",
            BuildMode::Container => "in containers",
        },
        plan.steps.len(),
        seconds(total),
    );
    let mut rows: Vec<(String, usize)> = Vec::new();
    let children = |parent: Option<usize>| -> Vec<usize> {
        let mut list: Vec<usize> = (0..plan.steps.len()).filter(|&at| forecast[at].after == parent).collect();
        list.sort_by(|&a, &b| forecast[a].start_s.total_cmp(&forecast[b].start_s).then(a.cmp(&b)));
        list
    };
    // A stack, not recursion: a sequential plan is one long branch. Its own indentation is kept flat for that reason.
    let mut stack: Vec<(usize, String, &str)> =
        children(None).into_iter().rev().map(|at| (at, String::new(), "")).collect();
    while let Some((at, indent, branch)) = stack.pop() {
        rows.push((format!("{indent}{branch}{}", plan.steps[at].id), at));
        let below = children(Some(at));
        let indent = match branch {
            "├─ " => indent + "│  ",
            "└─ " => indent + "   ",
            _ => indent,
        };
        if let [only] = below[..] {
            stack.push((only, indent, "→ "));
            continue;
        }
        for (position, &child) in below.iter().enumerate().rev() {
            let branch = if position + 1 == below.len() { "└─ " } else { "├─ " };
            stack.push((child, indent.clone(), branch));
        }
    }
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, at) in &rows {
        let step = &plan.steps[*at];
        let mark = if path.contains(&step.id) { '*' } else { ' ' };
        let pad = width - label.chars().count();
        let also = also(plan, step, forecast[*at].after);
        let line = format!(
            "{mark} {label}{:pad$}  {:>11} – {:<11}  {}{also}",
            "",
            seconds(forecast[*at].start_s),
            seconds(forecast[*at].end_s),
            step.title,
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    for step in &plan.steps {
        *sources.entry(step.expected.source.to_string()).or_default() += 1;
    }
    let sources: Vec<String> = sources.iter().map(|(source, count)| format!("{count} × {source}")).collect();
    let _ = writeln!(
        out,
        "\n* the longest way. Times: {}. ≀ begins at a milestone of the step above, before its end.",
        sources.join(", ")
    );
    out
}

/// What else the step waits for, besides the step it is printed below.
fn also(plan: &Plan, step: &Step, parent: Option<usize>) -> String {
    let parent = parent.map(|at| &plan.steps[at].id);
    let of_parent: Vec<&Need> = step.needs.iter().filter(|need| Some(&need.step) == parent).collect();
    let others: Vec<String> =
        step.needs.iter().filter(|need| Some(&need.step) != parent).map(|need| need.what().to_string()).collect();
    let mut text = String::new();
    if let [Need { on: On::Milestone(name), .. }] = of_parent[..] {
        let _ = write!(text, " ≀ {name}");
    }
    match others.len() {
        0 => {}
        1..=4 => {
            let _ = write!(text, "; also after {}", others.join(", "));
        }
        more => {
            let _ = write!(text, "; also after {} and {} more", others[..3].join(", "), more - 3);
        }
    }
    text
}

fn mermaid(plan: &Plan) -> String {
    let (path, _) = plan.critical_path();
    let number: BTreeMap<&StepId, usize> = plan.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
    let mut out = String::from("flowchart LR\n");
    for (at, step) in plan.steps.iter().enumerate() {
        let title = step.title.replace('"', "'");
        let _ = writeln!(out, "    s{at}[\"{title}<br/>{}\"]", seconds(step.expected.seconds));
    }
    for (at, step) in plan.steps.iter().enumerate() {
        for need in &step.needs {
            let Some(from) = number.get(&need.step) else { continue };
            let arrow = match (need.origin, &need.on) {
                (Origin::Schedule, _) => "-.->".to_owned(),
                (_, On::Milestone(name)) => format!("--{name}-->"),
                (_, On::Finish) => "-->".to_owned(),
            };
            let _ = writeln!(out, "    s{from} {arrow} s{at}");
        }
    }
    out.push_str("    classDef critical stroke:#d9480f,stroke-width:3px\n");
    let critical: Vec<String> = path.iter().filter_map(|id| number.get(id)).map(|at| format!("s{at}")).collect();
    if !critical.is_empty() {
        let _ = writeln!(out, "    class {} critical", critical.join(","));
    }
    out
}
