//! JUnit XML: one suite of tests for the steps of the set-up, one for the specs.

use std::fmt::Write as _;
use std::time::SystemTime;

use camino::Utf8Path;

use crate::error::WrongUsage;
use crate::events::{RunResult, SpecStatus, StepState, StepStatus, Timeline};
use crate::plan::StepKind;
use crate::shards::merge::Merged;

/// The results of a run in the dialect that CI systems read.
pub fn junit(timeline: &Timeline) -> String {
    let name = timeline.run.as_ref().map_or("", |run| run.plan.suite.as_str());
    let set_up = Suite::of_set_up(timeline, &format!("{name}.setup"));
    let specs = Suite::of_specs(timeline, &format!("{name}.specs"));
    let mut whole = Suite::default();
    if set_up.is_green() && specs.is_green() {
        // Whoever reads only this must see no green run where there was none.
        if let Some(why) = not_passed(timeline) {
            whole.case(&format!("{name}.run"), "run", timeline.last_us, &Verdict::Error(&why));
        }
    }
    let started = started(timeline);
    let mut out = begin_of(name, timeline.last_us);
    set_up.write(&mut out, &format!("{name}.setup"), started);
    if !timeline.specs.is_empty() {
        specs.write(&mut out, &format!("{name}.specs"), started);
    }
    if whole.tests > 0 {
        whole.write(&mut out, &format!("{name}.run"), started);
    }
    out.push_str("</testsuites>\n");
    out
}

/// The results of all shards of a suite: the set-up of each, one test for each shard, and the specs as of one run.
pub fn merged(merged: &Merged) -> String {
    let name = &merged.suite;
    let runs = || merged.shards.iter().filter_map(|shard| shard.run.as_ref());
    let began = runs().map(|run| started(&run.timeline)).min().unwrap_or_default();
    let mut out = begin_of(name, merged.whole.last_us);
    for run in runs() {
        let label = format!("{name}.setup.shard-{}-of-{}", run.partition.index(), run.partition.count());
        Suite::of_set_up(&run.timeline, &label).write(&mut out, &label, started(&run.timeline));
    }
    let mut shards = Suite::default();
    for shard in &merged.shards {
        let mut problems = shard.problems.clone();
        if let Some(run) = shard.run.as_ref().filter(|_| problems.is_empty()) {
            // What a step or a spec tells is not told twice.
            let told =
                !Suite::of_set_up(&run.timeline, "").is_green() || !Suite::of_specs(&run.timeline, "").is_green();
            problems.extend(not_passed(&run.timeline).filter(|_| !told));
        }
        let problems = problems.join("\n");
        let verdict = if problems.is_empty() { Verdict::Passed } else { Verdict::Error(&problems) };
        let took_us = shard.run.as_ref().map_or(0, |run| run.timeline.last_us);
        shards.case(&format!("{name}.shards"), &format!("shard {}", shard.partition), took_us, &verdict);
    }
    shards.write(&mut out, &format!("{name}.shards"), began);
    if !merged.whole.specs.is_empty() {
        let label = format!("{name}.specs");
        Suite::of_specs(&merged.whole, &label).write(&mut out, &label, began);
    }
    out.push_str("</testsuites>\n");
    out
}

fn begin_of(name: &str, took_us: u64) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"{}\" time=\"{}\">", escape(name), seconds(took_us));
    out
}

fn started(timeline: &Timeline) -> &str {
    timeline.run.as_ref().map_or("", |run| run.started_at.as_str())
}

/// Why a run is not green, whatever its steps and specs say.
fn not_passed(timeline: &Timeline) -> Option<String> {
    match &timeline.result {
        Some((RunResult::Passed, _)) => None,
        Some((result, reason)) => Some(format!("{}: {reason}", result.name())),
        None => Some("the run did not come to its end".to_owned()),
    }
}

/// The report of a run of the suite `name` that has no events: it never began, for the reason `why`.
pub fn without_run(name: &str, why: &str) -> String {
    let mut suite = Suite::default();
    suite.case(&format!("{name}.run"), "run", 0, &Verdict::Error(why));
    let mut out = begin_of(name, 0);
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    suite.write(&mut out, &format!("{name}.run"), &now);
    out.push_str("</testsuites>\n");
    out
}

/// Makes ready that a report of the suite `name` can be written to `path`: its folder, and a report that says that the
/// run has not ended, which stays there if it is killed.
///
/// # Errors
/// [`WrongUsage`] where nothing can be written there.
pub fn begin(path: &Utf8Path, name: &str) -> Result<(), WrongUsage> {
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, without_run(name, "the run has not come to its end")))
        .map_err(|error| WrongUsage(format!("--junit {path}: the report cannot be written there: {error}")))
}

enum Verdict<'t> {
    Passed,
    Flaky(u32),
    Failure(&'t str),
    Error(&'t str),
    Skipped(&'t str),
}

#[derive(Default)]
struct Suite {
    cases: String,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    elapsed_us: u64,
}

impl Suite {
    /// The steps of a run's set-up; the specs as one where none of them is known.
    fn of_set_up(timeline: &Timeline, class: &str) -> Self {
        let mut suite = Self::default();
        let is_part = |state: &&StepState| state.step.kind != StepKind::Specs || timeline.specs.is_empty();
        for state in timeline.steps.iter().filter(is_part) {
            let verdict = match &state.status {
                StepStatus::Finished => Verdict::Passed,
                StepStatus::Failed(error) => Verdict::Error(error),
                StepStatus::Cancelled(_) => Verdict::Skipped("stopped"),
                StepStatus::Skipped { reason, .. } => Verdict::Skipped(reason),
                StepStatus::Waiting | StepStatus::Ready | StepStatus::Running => {
                    Verdict::Error("the run ended before it")
                }
            };
            let elapsed_us = state.elapsed_us(timeline.last_us).unwrap_or(0);
            suite.case(class, state.step.id.as_str(), elapsed_us, &verdict);
        }
        suite
    }

    fn of_specs(timeline: &Timeline, class: &str) -> Self {
        let mut suite = Self::default();
        for spec in &timeline.specs {
            let unended;
            let verdict = match &spec.status {
                SpecStatus::Passed if spec.is_flaky() => Verdict::Flaky(spec.attempts),
                SpecStatus::Passed => Verdict::Passed,
                SpecStatus::Failed(error) => Verdict::Failure(error),
                SpecStatus::Ignored => Verdict::Skipped("ignored"),
                SpecStatus::Unfinished(reason) => {
                    unended = format!("{}: {reason}", spec.unended());
                    Verdict::Error(&unended)
                }
                SpecStatus::Running => Verdict::Error("the run ended while it ran"),
                SpecStatus::Listed => Verdict::Error("the run ended before it"),
            };
            suite.case(class, &spec.name, spec.elapsed_us(timeline.last_us).unwrap_or(0), &verdict);
        }
        suite
    }

    fn is_green(&self) -> bool {
        self.failures == 0 && self.errors == 0
    }

    fn case(&mut self, class: &str, name: &str, elapsed_us: u64, verdict: &Verdict<'_>) {
        self.tests += 1;
        self.elapsed_us += elapsed_us;
        let out = &mut self.cases;
        let _ = write!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
            escape(class),
            escape(name),
            seconds(elapsed_us)
        );
        let mut element = |tag: &str, text: &str| {
            let message = escape(text.lines().next().unwrap_or_default());
            let _ = writeln!(out, ">\n      <{tag} message=\"{message}\">{}</{tag}>\n    </testcase>", escape(text));
        };
        match verdict {
            Verdict::Passed => out.push_str("/>\n"),
            Verdict::Flaky(attempts) => {
                // What the Maven family of readers calls a test that passed only when it was run again.
                let text = format!("passed in attempt {attempts}");
                let _ = writeln!(out, ">\n      <flakyFailure message=\"{text}\"/>\n    </testcase>");
            }
            Verdict::Failure(text) => {
                self.failures += 1;
                element("failure", text);
            }
            Verdict::Error(text) => {
                self.errors += 1;
                element("error", text);
            }
            Verdict::Skipped(text) => {
                self.skipped += 1;
                let _ = writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escape(text));
            }
        }
    }

    fn write(&self, out: &mut String, name: &str, started: &str) {
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\" timestamp=\"{}\">",
            escape(name),
            self.tests,
            self.failures,
            self.errors,
            self.skipped,
            seconds(self.elapsed_us),
            escape(started),
        );
        out.push_str(&self.cases);
        out.push_str("  </testsuite>\n");
    }
}

fn seconds(us: u64) -> String {
    format!("{:.3}", us as f64 / 1e6)
}

/// Text for XML. Characters that XML 1.0 cannot hold at all, such as terminal escapes, become question marks.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if (c < ' ') || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
