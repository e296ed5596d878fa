//! `check`: what would go wrong, before it costs minutes.

use anyhow::Result;

use crate::check::check;
use crate::paths::Paths;
use crate::suite::Suite;
use crate::suite::yaml::Problems;

/// Find the mistakes that a run would only find after minutes: in the suite, its Dockerfiles, manifests and packages
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite; all of them where none is named
    pub suite: Option<String>,
}

/// Runs it.
///
/// # Errors
/// Everything that was found, each with file, line and what to do.
pub fn run(paths: &Paths, args: &Args) -> Result<()> {
    let names = match &args.suite {
        Some(name) => vec![name.clone()],
        None => Suite::names(&paths.root),
    };
    for name in names {
        let suite = Suite::load(&paths.root, &name)?;
        must_pass(paths, &suite)?;
        println!("{name}: nothing that would go wrong was found");
    }
    Ok(())
}

/// Fails with all that is wrong with `suite`.
///
/// # Errors
/// The problems, or that something could not be read.
pub fn must_pass(paths: &Paths, suite: &Suite) -> Result<()> {
    Ok(Problems(check(&paths.root, suite)?).into_result()?)
}
