//! JUnit XML: one suite of tests for the steps of the set-up, one for the specs.

use std::fmt::Write as _;

use crate::events::{SpecStatus, StepStatus, Timeline};
use crate::plan::StepKind;

/// The results of a run in the dialect that CI systems read.
pub fn junit(timeline: &Timeline) -> String {
    let name = timeline.run.as_ref().map_or("", |run| run.plan.suite.as_str());
    let mut set_up = Suite::default();
    for state in timeline.steps.iter().filter(|state| state.step.kind != StepKind::Specs || timeline.specs.is_empty()) {
        let verdict = match &state.status {
            StepStatus::Finished => Verdict::Passed,
            StepStatus::Failed(error) => Verdict::Error(error),
            StepStatus::Cancelled(_) => Verdict::Skipped("stopped"),
            StepStatus::Skipped { reason, .. } => Verdict::Skipped(reason),
            StepStatus::Waiting | StepStatus::Ready | StepStatus::Running => Verdict::Error("the run ended before it"),
        };
        let elapsed_us = state.elapsed_us(timeline.last_us).unwrap_or(0);
        set_up.case(&format!("{name}.setup"), state.step.id.as_str(), elapsed_us, &verdict);
    }
    let mut specs = Suite::default();
    for spec in &timeline.specs {
        let verdict = match &spec.status {
            SpecStatus::Passed if spec.is_flaky() => Verdict::Flaky(spec.attempts),
            SpecStatus::Passed => Verdict::Passed,
            SpecStatus::Failed(error) => Verdict::Failure(error),
            SpecStatus::Ignored => Verdict::Skipped("ignored"),
            SpecStatus::Running => Verdict::Error("the run ended while it ran"),
            SpecStatus::Listed => Verdict::Error("the run ended before it"),
        };
        specs.case(&format!("{name}.specs"), &spec.name, spec.elapsed_us(timeline.last_us).unwrap_or(0), &verdict);
    }
    let started = timeline.run.as_ref().map_or("", |run| run.started_at.as_str());
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"{}\" time=\"{}\">", escape(name), seconds(timeline.last_us));
    set_up.write(&mut out, &format!("{name}.setup"), started);
    if !timeline.specs.is_empty() {
        specs.write(&mut out, &format!("{name}.specs"), started);
    }
    out.push_str("</testsuites>\n");
    out
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
