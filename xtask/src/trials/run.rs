//! A script with cases is started, and its output passed on and kept.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use super::RESULTS;

/// How long all named cases of a script may take.
const DEADLINE: Duration = Duration::from_secs(12 * 3600);
/// How long a script has to remove what it made, once it is asked to stop.
const GRACE: Duration = Duration::from_secs(8);

/// Runs these cases of the script at `path`, with these variables; its log is named `name`.
///
/// # Errors
/// As [`Job::lines`], and when the log cannot be written.
pub fn carry_out(
    root: &Utf8Path,
    path: &Utf8Path,
    name: &str,
    cases: &[String],
    env: &[(&str, &str)],
    cancel: &Cancel,
) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    let merged = "exec \"$@\" 2>&1";
    let job = Job::new(cmd!(sh, "sh -c {merged} sh bash {path} {cases...}").envs(env.iter().copied()));
    let folder = root.join(RESULTS);
    let log = folder.join(format!("{name}.log"));
    std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {folder}"))?;
    let mut kept = String::new();
    let result = job.deadline(DEADLINE).grace(GRACE).cancel(cancel).lines(|line| {
        println!("{line}");
        kept.push_str(line);
        kept.push('\n');
        ControlFlow::<()>::Continue(())
    });
    std::fs::write(&log, kept).with_context(|| format!("writing {log}"))?;
    result.map(drop)
}

/// The revision that outcomes belong to, as their files name it: that which git knows as `named`.
///
/// # Errors
/// When git does not tell.
pub fn revision(root: &Utf8Path, named: &str) -> Result<String> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    let git = cmd!(sh, "git rev-parse --short=12 {named}");
    Job::new(git).deadline(Duration::from_secs(20)).read().context("asking for the revision that outcomes belong to")
}
