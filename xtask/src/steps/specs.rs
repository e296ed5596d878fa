//! Running the specs' own program and handing on what it reports.

use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use camino::Utf8Path;
use e2e_support::{Cancel, Ended, Job, ProcessError};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::Running;
use crate::events::specs_failed;

/// How often the file of the specs' events is looked at.
const LOOK: Duration = Duration::from_millis(50);

impl Running<'_> {
    /// Runs the specs; those that fail are tried again as often as was asked for.
    pub(super) fn specs(&self) -> Result<()> {
        let options = &self.site.specs;
        let mut failed = self.attempt(1, options.retries == 0, None)?;
        for attempt in 2..=options.retries + 1 {
            let mut again = Vec::new();
            // The specs' program takes one name a call.
            for name in &failed {
                again.extend(self.attempt(attempt, attempt > options.retries, Some(name))?);
            }
            failed = again;
        }
        if !failed.is_empty() {
            let told = specs_failed(failed.len());
            self.node_must_run().map_err(|error| anyhow!("{error:#}; {told}"))?;
            bail!(told);
        }
        Ok(())
    }

    /// One run of the program, of the spec `only` or else of all that the filter lets through.
    /// Returns those that failed.
    fn attempt(&self, attempt: u32, last: bool, only: Option<&str>) -> Result<Vec<String>> {
        let site = self.site;
        let specs = site.suite.specs.as_ref().context("the suite has no specs")?;
        let events = site.run_dir.join("specs.jsonl");
        super::write(&events, "")?;
        let program = site.binary(&specs.binary);
        let sh = Shell::new()?;
        sh.change_dir(&site.paths.root);
        let mut command = cmd!(sh, "{program}")
            .env("E2E_RUN_FILE", site.instance.files.run_file())
            .env("E2E_EVENTS", &events)
            .env("E2E_EVIDENCE", site.run_dir.join("evidence"));
        if site.specs.keep {
            command = command.env("E2E_KEEP", "1");
        }
        if let Some(jobs) = site.specs.jobs {
            command = command.args(["--test-threads", &jobs.to_string()]);
        }
        match (only, &site.specs.filter) {
            (Some(name), _) => command = command.args(["--exact", name]),
            (None, Some(filter)) => command = command.arg(filter),
            (None, None) => {}
        }
        let over = Cancel::new();
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| self.follow(&events, attempt, last, &over));
            let result = Job::new(command).deadline(self.left()).log(self.log).cancel(self.cancel).run();
            over.cancel("the specs have ended");
            let failed =
                follower.join().map_err(|_| anyhow::anyhow!("the thread that reads the specs' events died"))??;
            match result {
                Ok(()) if failed.is_empty() => Ok(failed),
                Ok(()) => bail!("the specs' program ended well although these failed: {}", failed.join(", ")),
                // What failed is in the events; the exit code only repeats it.
                Err(error) if is_exit(&error) && !failed.is_empty() => Ok(failed),
                Err(error) => Err(error.context("running the specs")),
            }
        })
    }

    /// Hands on each event as it is written; returns the specs that failed.
    fn follow(&self, events: &Utf8Path, attempt: u32, last_attempt: bool, over: &Cancel) -> Result<Vec<String>> {
        let mut file = std::fs::File::open(events).with_context(|| format!("opening {events}"))?;
        let mut at = 0;
        let mut failed = Vec::new();
        loop {
            // Looked at before reading, so that what was written last is still read.
            let last = over.is_cancelled();
            file.seek(SeekFrom::Start(at)).with_context(|| format!("reading {events}"))?;
            let mut reader = BufReader::new(&file);
            let mut line = String::new();
            while reader.read_line(&mut line).with_context(|| format!("reading {events}"))? > 0 && line.ends_with('\n')
            {
                at += line.len() as u64;
                if let Ok(event) = serde_json::from_str::<Value>(&line) {
                    self.tell(&event, attempt, last_attempt);
                    if event["outcome"] == "failed" {
                        failed.extend(event["spec"].as_str().map(str::to_owned));
                    }
                }
                line.clear();
            }
            if last {
                return Ok(failed);
            }
            over.sleep(LOOK);
        }
    }

    fn tell(&self, event: &Value, attempt: u32, last_attempt: bool) {
        if event["event"] == "specs_listed" {
            let names = event["specs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            self.context.specs_listed(names.map(str::to_owned).collect());
            return;
        }
        let Some(spec) = event["spec"].as_str() else { return };
        let message = event["message"].as_str().unwrap_or("no message");
        match (event["event"].as_str(), event["outcome"].as_str()) {
            (Some("spec_started"), _) => self.context.spec_started(spec),
            (_, Some("passed")) => self.context.spec_passed(spec, attempt),
            (_, Some("ignored")) => self.context.spec_ignored(spec),
            (_, Some("failed")) if last_attempt => self.context.spec_failed(spec, message, attempt),
            (_, Some("failed")) => self.progress(format!("{spec} failed, and will be tried again: {message}")),
            _ => {}
        }
    }
}

fn is_exit(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ProcessError>().is_some_and(|error| matches!(error.ended, Ended::Exited(_)))
}
