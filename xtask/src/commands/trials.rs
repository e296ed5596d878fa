//! `trials`: the long trials, or a sample of them.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8Path;
use e2e_support::Cancel;

use crate::exit;
use crate::paths::Paths;
use crate::trials::{self, Outcome, Part, Purpose, Script};

/// How long a sample takes at most on two cores, by what its trials say.
const SAMPLE_S: f64 = 90.0;

/// Break, interrupt and kill things on purpose, on a real cluster: the long trials in scripts/, or a sample of each
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trials; all of them where none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only a small choice, a minute and a half together
    #[arg(long)]
    pub sample: bool,
    /// What the choice follows from; the revision where none is given
    #[arg(long, requires = "sample", value_name = "N")]
    pub seed: Option<u64>,
    /// Only say what there is
    #[arg(long, conflicts_with_all = ["sample", "seed"])]
    pub list: bool,
}

/// What was run of a trial.
struct Ran<'s> {
    part: Part<'s>,
    outcomes: BTreeMap<String, Outcome>,
    /// Why the script itself failed although no case of it did.
    error: Option<String>,
    took: Duration,
}

/// Runs it.
///
/// # Errors
/// When a trial is not known or its script cannot be asked. What trials find is the exit code.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<ExitCode> {
    let scripts = trials::scripts(&paths.root)?;
    let chosen = trials::named(&scripts, &args.names)?;
    if args.list {
        list(paths, &scripts, cancel)?;
        return Ok(ExitCode::SUCCESS);
    }
    let revision = trials::revision(&paths.root, "HEAD")?;
    let mut all = Vec::new();
    for script in chosen {
        all.push((script, script.cases(&paths.root, cancel)?));
    }
    let parts = match args.sample {
        true => {
            let seed = args.seed.unwrap_or_else(|| u64::from_str_radix(&revision, 16).unwrap_or(1));
            trials::sample(&all, SAMPLE_S, seed)
        }
        false => all
            .iter()
            .map(|(script, cases)| {
                let names = cases.cases.iter().map(|(name, _)| name.clone());
                let left_out = cases.cases.is_empty().then(|| trials::NONE_HERE.to_owned());
                Part { script, cases: names.collect(), left_out }
            })
            .collect(),
    };
    let folder = paths.root.join(trials::RESULTS);
    let started = Instant::now();
    let mut ran = Vec::new();
    for mut part in parts {
        if cancel.is_cancelled() && !part.cases.is_empty() {
            part = Part { cases: Vec::new(), left_out: Some("stopped before it began".to_owned()), ..part };
        }
        if part.cases.is_empty() {
            ran.push(Ran { part, outcomes: BTreeMap::new(), error: None, took: Duration::ZERO });
            continue;
        }
        println!("=== {}: {}", part.script.name, part.script.about);
        let started = Instant::now();
        let (name, cases) = (&part.script.name, &part.cases);
        let carried_out = trials::carry_out(&paths.root, &part.script.path(), name, cases, &[], cancel);
        let error = carried_out.err().map(|error| format!("{error:#}"));
        let mut outcomes = trials::outcomes(&trials::results(&folder, &part.script.name, &revision))?;
        outcomes.retain(|name, _| part.cases.contains(name));
        ran.push(Ran { part, outcomes, error, took: started.elapsed() });
    }
    let passed = ran.iter().all(Ran::passed) && !cancel.is_cancelled();
    print!("{}", report(&ran, &all.iter().map(|(_, cases)| cases.cases.len()).collect::<Vec<_>>(), cancel));
    let others = scripts.iter().filter(|script| script.purpose == Purpose::Measurement && args.names.is_empty());
    for script in others {
        println!("not run: {}: no trial, it measures {}", script.name, script.about);
    }
    println!("{}", last_line(&ran, passed, started.elapsed(), &folder));
    Ok(match passed {
        true => ExitCode::SUCCESS,
        false if cancel.is_cancelled() => ExitCode::from(exit::INTERRUPTED),
        false => ExitCode::FAILURE,
    })
}

/// Says what trials and measurements there are.
fn list(paths: &Paths, scripts: &[Script], cancel: &Cancel) -> Result<()> {
    for script in scripts {
        match script.purpose {
            Purpose::Trial => {
                let cases = script.cases(&paths.root, cancel)?;
                let all_s = cases.beforehand_s + cases.cases.iter().map(|(_, seconds)| seconds).sum::<f64>();
                let count = cases.cases.len();
                println!("{:<14} {} ({count} cases, about {:.0} min)", script.name, script.about, all_s / 60.0);
            }
            Purpose::Measurement => println!("{:<14} no trial: it measures {}", script.name, script.about),
        }
    }
    Ok(())
}

impl Ran<'_> {
    /// How many cases passed, and how many did not; one without an outcome did not.
    fn counts(&self) -> (usize, usize) {
        let passed = self.outcomes.values().filter(|outcome| outcome.passed).count();
        // A script that fails and finds no fault has one itself.
        let failed = (self.part.cases.len() - passed).max(usize::from(self.error.is_some()));
        (passed, failed)
    }

    fn passed(&self) -> bool {
        self.counts().1 == 0
    }
}

/// A line for each trial, then what failed, then what was not run; `all` is how many cases each has.
fn report(ran: &[Ran<'_>], all: &[usize], cancel: &Cancel) -> String {
    let mut text = format!("\n{:<14} {:>6} {:>6} {:>7} {:>9}\n", "trial", "passed", "failed", "not run", "took");
    for (ran, all) in ran.iter().zip(all) {
        let ((passed, failed), took) = (ran.counts(), ran.took.as_secs_f64());
        let not_run = all - ran.part.cases.len();
        text += &format!("{:<14} {passed:>6} {failed:>6} {not_run:>7} {took:>7.1} s\n", ran.part.script.name);
    }
    for Ran { part, outcomes, error, .. } in ran {
        for case in &part.cases {
            match outcomes.get(case) {
                Some(outcome) if outcome.passed => {}
                Some(outcome) => text += &format!("failed: {} {case}: {}\n", part.script.name, outcome.found),
                None => text += &format!("failed: {} {case}: it did not end\n", part.script.name),
            }
        }
        if let Some(error) = error {
            let first = error.lines().next().unwrap_or_default();
            text += &format!("failed: {}: {first}\n", part.script.path());
        }
    }
    for Ran { part, .. } in ran {
        let rest = if part.cases.is_empty() { "" } else { "the rest of " };
        if let Some(why) = &part.left_out {
            text += &format!("not run: {rest}{}: {why}\n", part.script.name);
        }
    }
    if let Some(reason) = cancel.reason() {
        text += &format!("stopped: {reason}; the same command goes on\n");
    }
    text
}

/// As the last line of a run's summary, so that `ci` counts it.
fn last_line(ran: &[Ran<'_>], passed: bool, took: Duration, folder: &Utf8Path) -> String {
    let counts = ran.iter().map(Ran::counts);
    let (good, bad) = counts.fold((0, 0), |(good, bad), (passed, failed)| (good + passed, bad + failed));
    let verdict = if passed { "passed" } else { "failed" };
    format!("{good} passed, {bad} failed; trials {verdict} in {:.1} s; everything is in {folder}", took.as_secs_f64())
}
