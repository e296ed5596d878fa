//! `ci`: what the project's CI runs, stage by stage.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use crate::paths::Paths;
use crate::report::github::Groups;
use crate::{exit, output};

/// How long one stage may take.
const DEADLINE: Duration = Duration::from_secs(4500);
/// How long a stage has to remove what it made, once it is asked to stop: a cluster, say. It takes seconds; where an
/// engine is slow, what would be left is worse than the wait, which a second signal ends.
const GRACE: Duration = Duration::from_secs(30);

/// Everything that CI checks: formatting, lints, tests, the checks of the suite, the suite itself as processes and on a
/// cluster, the example, a sample of the trials
#[derive(Debug, clap::Args)]
pub struct Args {}

/// One command of CI, as a person would type it.
struct Stage {
    title: &'static str,
    words: &'static [&'static str],
}

const STAGES: [Stage; 9] = [
    Stage { title: "format", words: &["fmt", "--all", "--check"] },
    Stage {
        title: "lints",
        words: &["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"],
    },
    Stage { title: "generated files", words: &["xtask", "crds", "--check"] },
    Stage { title: "checks", words: &["xtask", "check"] },
    Stage { title: "tests", words: &["xtask", "test", "--yes"] },
    Stage { title: "gateway as processes", words: &["xtask", "e2e", "gateway", "--on", "processes", "--yes"] },
    Stage { title: "gateway on a cluster", words: &["xtask", "e2e", "gateway", "--yes"] },
    Stage {
        title: "example on a cluster",
        words: &["test", "--locked", "--package", "xtask", "--test", "example", "--", "--ignored", "--nocapture"],
    },
    Stage { title: "sample of trials", words: &["xtask", "trials", "--sample"] },
];

/// What a stage counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// Runs all stages, also after one has failed, and ends with `N passed, N failed`.
///
/// # Errors
/// When a stage cannot be started.
pub fn run(paths: &Paths, _: &Args, cancel: &Cancel) -> Result<ExitCode> {
    let github = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
    // Where whoever reads this has gone, the stage that runs still cleans up.
    let cancel = &cancel.child();
    let mut total = Counts::default();
    let mut rows = Vec::new();
    for stage in &STAGES {
        if cancel.is_cancelled() {
            break;
        }
        let line = format!("cargo {}", stage.words.join(" "));
        let title = format!("{}: {line}", stage.title);
        let mut groups = github.then(Groups::default);
        match &mut groups {
            Some(groups) => print!("{}", groups.begin(&title)),
            None => println!("\n=== {title}"),
        }
        let started = Instant::now();
        let (counts, error) = stage.run(paths, groups.as_mut(), cancel)?;
        if let Some(error) = &error {
            println!("{} failed: {error:#}", stage.title);
        }
        print!("{}", groups.as_mut().map_or("", Groups::end));
        total.passed += counts.passed;
        total.failed += counts.failed;
        let verdict = if error.is_none() { "ok" } else { "FAILED" };
        rows.push(format!("  {:<22} {verdict:<7} {:>6.1} s", stage.title, started.elapsed().as_secs_f64()));
    }
    println!("\n{}\n{} passed, {} failed", rows.join("\n"), total.passed, total.failed);
    Ok(match total.failed {
        _ if cancel.is_cancelled() => ExitCode::from(exit::INTERRUPTED),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Stage {
    /// Runs it with its output passed on. A stage that counts nothing itself counts as one.
    fn run(
        &self,
        paths: &Paths,
        mut groups: Option<&mut Groups>,
        cancel: &Cancel,
    ) -> Result<(Counts, Option<anyhow::Error>)> {
        let sh = Shell::new()?;
        sh.change_dir(&paths.root);
        let cargo = paths.cargo();
        let words = self.words;
        // Both streams in one, in the order in which they were written.
        let merged = "exec \"$@\" 2>&1";
        let mut counts = Counts::default();
        let command = cmd!(sh, "sh -c {merged} sh {cargo} {words...}").envs(paths.of_cargo());
        let job = Job::new(command).deadline(DEADLINE).grace(GRACE).cancel(cancel);
        let result = job.lines(|line| {
            match &mut groups {
                Some(groups) => print!("{}", groups.line(line)),
                None => println!("{line}"),
            }
            if output::reader_is_gone() {
                cancel.cancel("whoever read the output has gone");
            }
            let found = counted(line);
            counts.passed += found.passed;
            counts.failed += found.failed;
            ControlFlow::<()>::Continue(())
        });
        let error = result.err();
        if error.is_some() {
            counts.failed = counts.failed.max(1);
        } else if counts == Counts::default() {
            counts.passed = 1;
        }
        Ok((counts, error))
    }
}

/// What a line of `cargo test` or of a run's summary counts.
fn counted(line: &str) -> Counts {
    let line = without_codes(line);
    let line = line.trim();
    let tests = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")).map(|(_, counts)| counts);
    // The last line of a run's summary.
    let specs =
        || line.split_once("; ").filter(|(_, rest)| rest.contains("; everything is in ")).map(|(counts, _)| counts);
    let Some(counts) = tests.or_else(specs) else { return Counts::default() };
    let number = |what: &str| {
        counts.split([';', ',']).find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok()).unwrap_or(0)
    };
    Counts { passed: number("passed"), failed: number("failed") }
}

/// A line without the codes for colours. (`console` does not know the one that selects a set of characters, which
/// tests end a colour with.)
fn without_codes(line: &str) -> String {
    console::strip_ansi_codes(&line.replace("\u{1b}(B", "")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_off_cargo_and_off_runs() {
        for (line, passed, failed) in [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s", 12, 0),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured", 3, 2),
            ("47 passed, 1 failed; specs failed in 40 s; everything is in /x", 47, 1),
            ("48 passed; passed in 42.7 s; everything is in /x", 48, 0),
            ("5 passed, 1 failed; trials failed in 212.0 s; everything is in /x", 5, 1),
            ("passed in 20.5 s; everything is in /x", 0, 0),
            ("12 passed through here", 0, 0),
            // As CARGO_TERM_COLOR=always and CLICOLOR_FORCE=1 have it.
            ("test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 7 passed; 0 failed; 0 ignored", 7, 0),
            ("\u{1b}[32m48 passed\u{1b}[0m; passed in 42.7 s; everything is in /x", 48, 0),
        ] {
            assert_eq!(counted(line), Counts { passed, failed }, "{line}");
        }
    }
}
