//! Running the specs' own program, handing on what it reports, and judging what came of it.

mod judge;
mod program;
mod select;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};

use self::judge::{End, Red, Said};
pub(super) use self::program::Program;
use self::program::{Attempt, List, Selection};
use crate::events::{SpecsFailed, What};
use crate::shards::Shard;
use crate::suite::SpecsProgram;
use crate::target::session::Running;
use crate::target::session::SpecOptions;

impl Running<'_> {
    /// Runs the specs; those that are not green are tried again as often as was asked for.
    pub(crate) fn specs(&self) -> Result<()> {
        let options = self.session.specs.clone().unwrap_or_default();
        let tell = |told: Told| match told {
            Told::Event(what) => self.context.tell(what),
            Told::Progress(note) => self.progress(note),
        };
        if options.filter.is_some() || options.shard.is_some() {
            self.context.unusual("only some of the specs");
        }
        self.session.target.open_to_specs(self);
        let events = self.session.run_dir.join("specs.jsonl");
        let result = run(&self.specs_program(&options)?, &events, &options, &tell);
        if let Err(error) = &result
            && let Some(failed) = error.downcast_ref::<SpecsFailed>()
        {
            // Where the target has ended, the specs are not to blame.
            self.target_must_run().map_err(|error| anyhow!("{error:#}; {failed}"))?;
        }
        result
    }

    /// Asks the specs' program for its specs, so that what lets none through is told now, and not once there is a
    /// cluster.
    pub(super) fn list_specs(&self) -> Result<()> {
        let options = self.session.specs.clone().unwrap_or_default();
        self.specs_program(&options)?.list(options.filter.as_deref()).map(drop)
    }

    /// The specs' program: as it was staged, or where it is.
    fn specs_program(&self, options: &SpecOptions) -> Result<Program<'_>> {
        let session = self.session;
        let specs = session.suite.specs.as_ref().context("the suite has no specs")?;
        let mut env = vec![
            ("E2E_RUN_FILE", session.instance.files.run_file().into_string()),
            ("E2E_EVIDENCE", session.run_dir.join("evidence").into_string()),
        ];
        if options.keep {
            env.push(("E2E_KEEP", "1".to_owned()));
        }
        let (path, arguments) = match specs.runs() {
            SpecsProgram::Binary { binary, .. } => (session.staged_specs(binary), &[][..]),
            SpecsProgram::Command([program, arguments @ ..]) => (program_in(&session.paths.root, program), arguments),
            SpecsProgram::Command([]) => bail!("the suite {} names no program that runs its specs", session.suite.name),
        };
        Ok(Program {
            path,
            arguments,
            folder: &session.paths.root,
            env,
            jobs: options.jobs,
            log: self.log,
            cancel: self.cancel,
            end: self.end,
        })
    }
}

/// A program of the project, or one that is looked for on PATH.
fn program_in(root: &Utf8Path, program: &str) -> Utf8PathBuf {
    if program.contains('/') { root.join(program) } else { program.into() }
}

/// What the step tells while it runs.
enum Told {
    Event(What),
    Progress(String),
}

/// A spec that is not green yet.
struct Open {
    red: Red,
    /// The last attempt that was made.
    attempt: u32,
    /// How often it was to run and did not.
    not_run: u32,
}

/// Runs the program until each of its specs is green, or was tried as often as was asked for.
///
/// # Errors
/// [`SpecsFailed`] where one is not green in the end or the program is not as it should be; else what kept it from
/// being run.
fn run(program: &Program<'_>, events: &Utf8Path, options: &SpecOptions, tell: &(dyn Fn(Told) + Sync)) -> Result<()> {
    let filter = options.filter.as_deref();
    let list = program.list(filter)?;
    let (due, others) = match &options.shard {
        Some(shard) => part(shard, &list, tell),
        None => (list.due.clone(), Vec::new()),
    };
    let alone = list.specs.iter().filter(|spec| spec.alone && due.contains(&spec.name));
    let alone = alone.map(|spec| spec.name.clone()).collect();
    tell(Told::Event(What::SpecsListed { specs: due.clone(), alone }));
    if due.is_empty() {
        return Ok(());
    }
    let last = options.retries.saturating_add(1);
    let mut open: BTreeMap<String, Open> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut cancelled = None;
    for attempt in 1..=last {
        // The program takes one name a call.
        let turns: Vec<Option<String>> =
            if attempt == 1 { vec![None] } else { open.keys().cloned().map(Some).collect() };
        for name in turns {
            if cancelled.is_some() || (attempt > 1 && program.left().is_zero()) {
                break;
            }
            let not_run = |spec: &str| open.get(spec).map_or(0, |open| open.not_run);
            let hear = |said: Said| hand_on(said, attempt, last, not_run, tell);
            let ran = match &name {
                None if options.shard.is_some() => program.attempt(events, &due, Selection::Without(&others), &hear)?,
                None => program.attempt(events, &due, Selection::Filter(filter), &hear)?,
                Some(name) => program.attempt(events, std::slice::from_ref(name), Selection::Exactly(name), &hear)?,
            };
            let Attempt { verdict, cancelled: stopped } = ran;
            cancelled = stopped;
            faults.extend(verdict.fault.filter(|fault| !faults.contains(fault)));
            let mut before = name.and_then(|name| open.remove_entry(&name));
            for (spec, red) in verdict.red {
                let before = before.take_if(|(name, _)| *name == spec).map_or(0, |(_, open)| open.not_run);
                let not_run = before + u32::from(matches!(red, Red::NotRun(_)));
                open.insert(spec, Open { red, attempt, not_run });
            }
        }
    }
    let all = due.len() + open.keys().filter(|spec| !due.contains(spec)).count();
    for (spec, state) in &open {
        let attempts = state.attempt - state.not_run;
        let what = match &state.red {
            // That was told as soon as it was known.
            Red::Failed(_) if state.attempt == last => continue,
            Red::Failed(error) => What::SpecFailed { spec: spec.clone(), error: error.clone(), attempts },
            Red::NotEnded(reason) | Red::NotRun(reason) => {
                What::SpecUnfinished { spec: spec.clone(), reason: reason.clone(), attempts }
            }
        };
        tell(Told::Event(what));
    }
    if let Some(error) = cancelled {
        return Err(error.context("running the specs"));
    }
    match sentence(&open, all, &faults) {
        Some(text) => Err(SpecsFailed(text).into()),
        None => Ok(()),
    }
}

/// The specs that this shard has, and all others of the program that are not ignored.
fn part(shard: &Shard, list: &List, tell: &(dyn Fn(Told) + Sync)) -> (Vec<String>, Vec<String>) {
    let split = shard.split(&list.specs, |name| list.due.iter().any(|due| due == name));
    let due = split.of(shard.partition).to_vec();
    let names = list.specs.iter().map(|spec| &spec.name);
    let others = names.clone().filter(|name| !due.contains(name)).cloned().collect();
    let how = match &shard.times.hash {
        None => "split by their names: no file of times is named".to_owned(),
        Some(_) => match names.filter(|name| !shard.times.specs.contains_key(*name)).count() {
            0 => "split by their times".to_owned(),
            unknown => format!("split by their times, {unknown} that have none by their names"),
        },
    };
    let text = format!("shard {} has {} of {} specs, {how}", shard.partition, due.len(), list.due.len());
    tell(Told::Event(What::Note { text }));
    tell(Told::Event(What::SpecsSplit(split)));
    (due, others)
}

/// Tells what a run of the program says, as far as it is final.
fn hand_on(said: Said, attempt: u32, last: u32, not_run: impl Fn(&str) -> u32, tell: &(dyn Fn(Told) + Sync)) {
    let attempts = |spec: &str| attempt - not_run(spec);
    tell(match said {
        Said::Listed(specs) => Told::Event(What::SpecsListed { specs, alone: Vec::new() }),
        Said::Started(spec) => Told::Event(What::SpecStarted { spec }),
        Said::Ended(spec, End::Passed) => Told::Event(What::SpecPassed { attempts: attempts(&spec), spec }),
        Said::Ended(spec, End::Ignored) => Told::Event(What::SpecIgnored { spec }),
        Said::Ended(spec, End::Failed(error)) if attempt == last => {
            Told::Event(What::SpecFailed { attempts: attempts(&spec), spec, error })
        }
        Said::Ended(spec, End::Failed(error)) => {
            Told::Progress(format!("{spec} failed, and will be tried again: {error}"))
        }
    });
}

/// What the step fails with; none where all is well.
fn sentence(open: &BTreeMap<String, Open>, all: usize, faults: &[String]) -> Option<String> {
    let count = |is: fn(&Red) -> bool| open.values().filter(|open| is(&open.red)).count();
    let counts = [
        (count(|red| matches!(red, Red::Failed(_))), "failed"),
        (count(|red| matches!(red, Red::NotEnded(_))), "did not end"),
        (count(|red| matches!(red, Red::NotRun(_))), "did not run"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let mut parts = Vec::new();
    if !counts.is_empty() {
        let why = open.values().find_map(|open| match &open.red {
            Red::NotEnded(why) | Red::NotRun(why) => Some(format!(": {why}")),
            Red::Failed(_) => None,
        });
        parts.push(format!("of {all} specs {}{}", counts.join(", "), why.unwrap_or_default()));
    }
    parts.extend(faults.iter().cloned());
    (!parts.is_empty()).then(|| parts.join("; "))
}
