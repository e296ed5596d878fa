//! `times`: what each spec takes, as a file that shards are split by.

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::error::WrongUsage;
use crate::events::{Runs, Timeline};
use crate::paths::Paths;
use crate::shards::merge;
use crate::shards::times::Times;
use crate::suite::Suite;

/// How many of the suite's newest runs are looked at.
const LOOKED_AT: usize = 20;

/// Write what each spec takes into the file that shards are split by (`e2e --partition`)
///
/// Commit it, or give the same file to all shards: where the files differ, so do the shards.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// Folders of runs, the newest last: whole ones or shards; where none is named, the suite's newest ones in target/e2e
    #[arg(value_name = "DIR")]
    pub folders: Vec<Utf8PathBuf>,
    /// Where it is written, in place of the file that the suite names (`times` of its `specs`)
    #[arg(long, value_name = "FILE")]
    pub to: Option<Utf8PathBuf>,
}

/// Writes it.
///
/// # Errors
/// There are no runs that tell what a spec takes, or the file cannot be written.
pub fn run(paths: &Paths, args: &Args) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let file = Times::file(&paths.root, &suite, args.to.as_deref())?;
    let before = match file.exists() {
        true => Times::read(Utf8Path::new(""), &file).map_err(|problem| WrongUsage(problem.to_string()))?,
        false => Times::default(),
    };
    let runs = runs(paths, &suite.name, &args.folders)?;
    let times = Times::measured(&runs, &before);
    if times.specs.is_empty() {
        bail!(
            "no spec passed in the {} runs of suite {} that there are: nothing is known of what they take",
            runs.len(),
            suite.name
        );
    }
    std::fs::write(&file, times.text(&suite.name)).with_context(|| format!("writing the times to {file}"))?;
    let alone = times.specs.values().filter(|time| time.alone).count();
    let gone = before.specs.keys().filter(|name| !times.specs.contains_key(*name)).count();
    let gone = if gone == 0 { String::new() } else { format!("; {gone} that these runs do not list are left out") };
    println!("{file}: {} specs, {alone} of them alone, from {} runs{gone}", times.specs.len(), runs.len());
    Ok(())
}

/// The runs that are named, or else the newest; those that cannot be read are passed over then.
fn runs(paths: &Paths, suite: &str, folders: &[Utf8PathBuf]) -> Result<Vec<Timeline>> {
    if folders.is_empty() {
        let all = Runs::of(&paths.root).all(suite);
        let newest = all.iter().skip(all.len().saturating_sub(LOOKED_AT));
        return Ok(newest.filter_map(|run| merge::timeline(run.path()).ok()).collect());
    }
    let mut runs = Vec::new();
    for folder in folders {
        let timeline = merge::timeline(folder)?;
        let of = timeline.run.as_ref().map_or("", |run| run.plan.suite.as_str());
        if of != suite {
            return Err(WrongUsage(format!("{folder}: it is a run of suite {of}, and not of {suite}")).into());
        }
        runs.push(timeline);
    }
    Ok(runs)
}
