//! GitHub Actions: lines, each step's log folded away, errors as annotations, a summary of the job.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Stderr, Write as _};

use anyhow::Context as _;

use super::analysis;
use super::lines::Lines;
use super::text::{SpecCounts, duration, not_run, red_specs};
use crate::events::{Event, Reporter, RunFolder, RunStarted, StepStatus, Timeline, What};
use crate::plan::StepId;
use crate::shards::merge::Merged;

/// How much of a log is folded into the job's output, in bytes from its end; the whole is in the run's folder.
const LOG_BYTES: usize = 200_000;

/// Lines for a person, commands for GitHub Actions.
#[derive(Debug)]
pub struct Github {
    lines: Lines<Stderr>,
    folder: RunFolder,
}

impl Github {
    /// For the run in `folder`.
    pub fn new(folder: RunFolder) -> Self {
        Self { lines: Lines::new(std::io::stderr(), folder.clone()), folder }
    }

    fn fold_log(&mut self, step: &StepId) {
        let Ok(log) = fs::read(self.folder.step_log(step)) else { return };
        if log.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES)..]);
        self.lines.raw(&format!("::group::log of {step}\n{}\n::endgroup::\n", inert(&text)));
    }
}

impl Reporter for Github {
    fn event(&mut self, event: &Event, timeline: &Timeline) {
        self.lines.event(event, timeline);
        match &event.what {
            What::StepFinished { step, .. } => self.fold_log(step),
            What::StepFailed { step, error, .. } => {
                self.fold_log(step);
                self.lines.raw(&annotation(&format!("step {step} failed"), error));
            }
            What::SpecFailed { spec, error, .. } => self.lines.raw(&annotation(&format!("spec {spec} failed"), error)),
            What::SpecUnfinished { spec, reason, attempts } if *attempts > 0 => {
                self.lines.raw(&annotation(&format!("spec {spec} did not end"), reason));
            }
            What::RunFinished { .. } => {
                if let Err(error) = add_to_summary(&markdown(timeline)) {
                    self.lines.raw(&format!("cannot write the job's summary: {error}\n"));
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, timeline: &Timeline, now_us: u64) {
        self.lines.tick(timeline, now_us);
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}

/// Adds to the summary of the job, where it has one.
fn add_to_summary(text: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    let open = OpenOptions::new().append(true).create(true).open(&path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
}

/// Tells GitHub Actions, where that is who runs this, what came of a suite's shards: what no shard could tell itself as
/// errors beside the job, and all of it as the job's summary.
///
/// # Errors
/// The summary cannot be written.
pub fn tell(merged: &Merged) -> anyhow::Result<()> {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return Ok(());
    }
    for shard in &merged.shards {
        for problem in &shard.problems {
            eprint!("{}", annotation(&format!("shard {}", shard.partition), problem));
        }
    }
    add_to_summary(&super::merged::markdown(merged)).context("writing the job's summary")
}

/// Groups of lines around the output of programs that may print groups themselves: GitHub knows none within another, and
/// ends the outer one with the first end. So an inner group ends the outer one, and nothing is ended twice.
#[derive(Debug, Default)]
pub struct Groups {
    is_open: bool,
}

impl Groups {
    /// What begins a group.
    pub fn begin(&mut self, title: &str) -> String {
        let end = self.end();
        self.is_open = true;
        format!("{end}::group::{title}\n")
    }

    /// A line of somebody else, as it is to be printed: with its end, or nothing.
    pub fn line(&mut self, line: &str) -> String {
        let command = line.trim_start();
        if let Some(title) = command.strip_prefix("::group::") {
            return self.begin(title);
        }
        if command.starts_with("::endgroup::") {
            return self.end().to_owned();
        }
        format!("{line}\n")
    }

    /// What ends a group, if one is open.
    pub fn end(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_open) { "::endgroup::\n" } else { "" }
    }
}

/// An error that GitHub shows beside the job.
fn annotation(title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!("::error title={}::{}\n", property(title), data(message))
}

/// Text of others that GitHub must not take for commands.
fn inert(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| if line.trim_start().starts_with("::") { format!("\u{200b}{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

/// The summary of the job, in Markdown.
pub fn markdown(timeline: &Timeline) -> String {
    let mut out = String::new();
    let subject = timeline.run.as_ref().map_or_else(String::new, RunStarted::subject);
    let result = timeline.result.as_ref().map_or("not finished", |(result, _)| result.name());
    let _ = writeln!(out, "## {subject}: {result} in {}\n", duration(timeline.last_us));
    if !timeline.specs.is_empty() {
        let _ = writeln!(out, "{}\n", SpecCounts::of(timeline).sentence());
    }
    for state in &timeline.steps {
        if let StepStatus::Failed(error) = &state.status {
            let _ = writeln!(out, "**step {} failed**\n\n```\n{error}\n```\n", state.step.id);
        }
    }
    for (spec, what, why) in red_specs(timeline) {
        let _ = writeln!(out, "**spec {spec} {what}**\n\n```\n{why}\n```\n");
    }
    let not_run = not_run(timeline);
    if !not_run.is_empty() {
        let _ = writeln!(out, "**{} specs did not run**: {}\n", not_run.len(), not_run.join(", "));
    }
    out.push_str("| phase | from | to | busy |\n|---|--:|--:|--:|\n");
    for phase in analysis::phases(timeline) {
        let from = phase.start_us.map_or_else(|| "–".to_owned(), duration);
        let to = phase.start_us.map_or_else(|| "–".to_owned(), |_| duration(phase.end_us));
        let _ = writeln!(out, "| {} | {from} | {to} | {} |", phase.name, duration(phase.busy_us));
    }
    let path: Vec<String> = analysis::critical_path(timeline)
        .iter()
        .map(|step| format!("{} ({})", step.id, duration(step.end_us.saturating_sub(step.start_us))))
        .collect();
    if !path.is_empty() {
        let _ = writeln!(out, "\ncritical path: {}\n", path.join(" → "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_is_ever_within_another() {
        let mut groups = Groups::default();
        let mut out = groups.begin("suite");
        for line in ["one", "::group::log of a", "two", "::endgroup::", "three", "::group::log of b", "four"] {
            out += &groups.line(line);
        }
        out += groups.end();
        out += groups.end();
        out += &groups.line("::endgroup::");
        let expected = "::group::suite\none\n::endgroup::\n::group::log of a\ntwo\n::endgroup::\nthree\n\
                        ::group::log of b\nfour\n::endgroup::\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn commands_are_escaped_and_those_of_others_defused() {
        assert_eq!(annotation("a:b, c", "50%\nof it"), "::error title=a%3Ab%2C c::50%25%0Aof it\n");
        assert_eq!(inert("one\n::set-env name=X::y\n"), "one\n\u{200b}::set-env name=X::y");
    }
}
