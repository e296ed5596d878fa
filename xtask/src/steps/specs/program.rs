//! The specs' program as a process: what it lists, and a run of it that is followed while it goes on.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::{Cancel, Ended, Job, ProcessError};
use xshell::{Shell, cmd};

use super::judge::{Ledger, Said, Verdict};
use super::select;
use crate::events::SpecsFailed;
use crate::shards::Listed;

/// How often the file of the specs' events is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long the program may take to list its specs.
const LIST: Duration = Duration::from_secs(30);

/// The specs' program, and what it is run with.
pub(in crate::steps) struct Program<'a> {
    pub(in crate::steps) path: Utf8PathBuf,
    /// What stands before all other arguments.
    pub(in crate::steps) arguments: &'a [String],
    /// The folder that it runs in.
    pub(in crate::steps) folder: &'a Utf8Path,
    /// What its environment has beside this program's own.
    pub(in crate::steps) env: Vec<(&'static str, String)>,
    /// How many specs run at a time; as many as it likes where that is none.
    pub(in crate::steps) jobs: Option<usize>,
    /// What its output is appended to.
    pub(in crate::steps) log: &'a Utf8Path,
    pub(in crate::steps) cancel: &'a Cancel,
    /// When all of it must be over.
    pub(in crate::steps) end: Instant,
}

/// Which specs a run of the program is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Selection<'s> {
    /// Those with this in their name, or all.
    Filter(Option<&'s str>),
    /// The one of this name.
    Exactly(&'s str),
    /// All but those of these names.
    Without(&'s [String]),
}

/// One run of the program.
pub(super) struct Attempt {
    pub(super) verdict: Verdict,
    /// The error of a run that was cancelled.
    pub(super) cancelled: Option<anyhow::Error>,
}

/// The kind, as `--list` tells it, of a spec that wants a part of the system for itself.
const ALONE: &str = "alone";

/// What the program lists.
#[derive(Debug, Default)]
pub(in crate::steps) struct List {
    /// All that are not marked as ignored, in the program's order.
    pub(in crate::steps) specs: Vec<Listed>,
    /// Those of them that the filter lets through.
    pub(in crate::steps) due: Vec<String>,
}

impl Program<'_> {
    /// The specs that are not marked as ignored, and those of them that the filter lets through.
    ///
    /// # Errors
    /// [`WrongUsage`](crate::error::WrongUsage) where the filter lets none through; [`SpecsFailed`] where the program has
    /// no specs at all, or does not list them.
    pub(in crate::steps) fn list(&self, filter: Option<&str>) -> Result<List> {
        let names = |listed: &[Listed]| listed.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
        let ignored = names(&self.listed(&["--list", "--ignored"])?);
        let mut specs = self.listed(&["--list"])?;
        let all = names(&specs);
        if all.is_empty() {
            return Err(SpecsFailed(format!("the specs' program lists no spec: {} --list", self.path)).into());
        }
        specs.retain(|spec| !ignored.contains(&spec.name));
        let mut due = names(&specs);
        due.retain(|name| filter.is_none_or(|filter| name.contains(filter)));
        match filter {
            Some(filter) if due.is_empty() => Err(select::nothing(filter, &all, &ignored).into()),
            None if due.is_empty() => {
                Err(SpecsFailed(format!("all {} specs of the specs' program are ignored", all.len())).into())
            }
            _ => Ok(List { specs, due }),
        }
    }

    /// What the program prints as Rust's test programs do: `NAME: test`, or `[KIND] NAME: test`.
    fn listed(&self, words: &[&str]) -> Result<Vec<Listed>> {
        let sh = self.shell()?;
        let (path, arguments) = (&self.path, self.arguments);
        let job =
            Job::new(cmd!(sh, "{path} {arguments...} {words...}")).deadline(self.left().min(LIST)).cancel(self.cancel);
        let printed =
            job.read().map_err(|error| match error.downcast_ref::<ProcessError>().map(|error| error.ended) {
                Some(Ended::Exited(_) | Ended::Signalled(_) | Ended::DeadlinePassed { .. }) => {
                    SpecsFailed(format!("the specs' program does not list its specs: {error:#}")).into()
                }
                Some(Ended::Cancelled) | None => error.context("asking the specs' program for its specs"),
            })?;
        let tests = printed.lines().filter_map(|line| line.strip_suffix(": test"));
        let spec = |test: &str| match test.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((kind, name)) => Listed { name: name.to_owned(), alone: kind == ALONE },
            None => Listed { name: test.to_owned(), alone: false },
        };
        Ok(tests.map(spec).collect())
    }

    /// Runs the program for the specs `due`, which the selection is to let through; `tell` hears of each event at once.
    ///
    /// # Errors
    /// When it cannot be started, or its events cannot be read.
    pub(super) fn attempt(
        &self,
        events: &Utf8Path,
        due: &[String],
        selection: Selection<'_>,
        tell: &(dyn Fn(Said) + Sync),
    ) -> Result<Attempt> {
        crate::disk::write(events, "")?;
        let file = File::open(events).with_context(|| format!("opening {events}"))?;
        let sh = self.shell()?;
        let (path, arguments) = (&self.path, self.arguments);
        let mut command = cmd!(sh, "{path} {arguments...}").env("E2E_EVENTS", events);
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        if let Some(jobs) = self.jobs {
            command = command.args(["--test-threads", &jobs.to_string()]);
        }
        match selection {
            Selection::Exactly(name) => command = command.args(["--exact", name]),
            Selection::Filter(Some(filter)) => command = command.arg(filter),
            Selection::Without(others) => {
                command = command.arg("--exact");
                for name in others {
                    command = command.args(["--skip", name]);
                }
            }
            Selection::Filter(None) => {}
        }
        let job = Job::new(command).deadline(self.left()).log(self.log).cancel(self.cancel);
        let over = Cancel::new();
        let (result, ledger) = std::thread::scope(|scope| {
            let follower = scope.spawn(|| follow(file, Ledger::new(due), &over, tell));
            let result = job.run();
            over.cancel("the specs have ended");
            (result, follower.join())
        });
        let ledger = ledger.map_err(|_| anyhow!("the thread that reads the specs' events died"))?;
        let ledger = ledger.with_context(|| format!("reading {events}"))?;
        let Err(error) = result else {
            return Ok(Attempt { verdict: ledger.judge(Ended::Exited(0), ""), cancelled: None });
        };
        let Some(process) = error.downcast_ref::<ProcessError>() else { return Err(error) };
        let last = process.tail.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let verdict = ledger.judge(process.ended, last.trim());
        let cancelled = (process.ended == Ended::Cancelled).then_some(error);
        Ok(Attempt { verdict, cancelled })
    }

    fn shell(&self) -> Result<Shell> {
        let sh = Shell::new()?;
        sh.change_dir(self.folder);
        Ok(sh)
    }

    /// What is left of the program's time.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// Hands on each event as it is written, until `over` is set.
fn follow(mut file: File, mut ledger: Ledger, over: &Cancel, tell: &(dyn Fn(Said) + Sync)) -> std::io::Result<Ledger> {
    let mut at = 0;
    loop {
        // Looked at before reading, so that what was written last is still read.
        let last = over.is_cancelled();
        file.seek(SeekFrom::Start(at))?;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            at += line.len() as u64;
            if let Some(said) = ledger.line(&String::from_utf8_lossy(&line)) {
                tell(said);
            }
            line.clear();
        }
        if last {
            if file.metadata()?.len() < at {
                ledger.fault("the file of the specs' events was cut short".to_owned());
            }
            if !line.is_empty() {
                ledger.torn();
            }
            return Ok(ledger);
        }
        over.sleep(LOOK);
    }
}
