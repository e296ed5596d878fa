//! `merge`: one verdict and one report of the runs of a suite's shards.

use std::process::ExitCode;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;

use crate::error::WrongUsage;
use crate::events::{RunResult, Runs};
use crate::exit;
use crate::paths::Paths;
use crate::report::{github, junit, merged};
use crate::shards::merge;

/// Make one verdict and one report of the runs of a suite's shards (`e2e --partition`)
///
/// It passes only where every spec of every shard has passed. A shard that is missing or was killed is red, and so is
/// one that had another list of specs; which specs have not run is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folders of the runs, or copies of them: one for each shard
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<Utf8PathBuf>,
    /// Where report.html and junit.xml are written; target/e2e/SUITE/merged where none is named
    #[arg(long, value_name = "DIR")]
    pub to: Option<Utf8PathBuf>,
    /// Also write the JUnit report here
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
}

/// Merges them. What came of the shards is the exit code, as if they were one run.
///
/// # Errors
/// When the folders are no runs of shards of the same suite, each there once.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    if let Some(to) = &args.junit {
        junit::begin(to, "merge")?;
    }
    let ended = begin(args);
    let report = match &ended {
        Ok(merged) => junit::merged(merged),
        Err(error) => junit::without_run("merge", &error.to_string()),
    };
    let written = match &args.junit {
        Some(to) => std::fs::write(to, report).with_context(|| format!("writing the JUnit report to {to}")),
        None => Ok(()),
    };
    let merged = match ended {
        Ok(merged) => merged,
        Err(error) => {
            written.unwrap_or_else(|error| eprintln!("error: {error:#}"));
            return Err(error.into());
        }
    };
    let to = args.to.clone().unwrap_or_else(|| Runs::of(&paths.root).suite(&merged.suite).join("merged"));
    let reports = [written, merged::write(&to, &merged), github::tell(&merged)];
    print!("{}", merged::text(&merged));
    println!("report: {to}/report.html");
    let failed: Vec<anyhow::Error> = reports.into_iter().filter_map(Result::err).collect();
    for error in &failed {
        eprintln!("error: {error:#}");
    }
    let result = merged.whole.result.as_ref().map_or(RunResult::SpecsFailed, |(result, _)| *result);
    Ok(exit::of_run(result, failed.is_empty()))
}

fn begin(args: &Args) -> Result<merge::Merged, WrongUsage> {
    let merged = merge::merge(merge::read(&args.folders)?).ok_or_else(|| WrongUsage("no run was named".to_owned()))?;
    // It becomes part of a path, and comes from a file that anybody may have made.
    let is_name = merged.suite.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if merged.suite.is_empty() || !is_name {
        return Err(WrongUsage(format!("the runs are of suite `{}`, which is no suite's name", merged.suite)));
    }
    Ok(merged)
}
