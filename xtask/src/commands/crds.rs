//! `crds`: writes the CRDs' YAML from the Rust types.

use std::time::Duration;

use anyhow::Result;
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use crate::paths::Paths;

/// Write the custom resource definitions in manifests/crds/ from the types in api/
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing: fail, and name the file, where one is not what the types say
    #[arg(long)]
    pub check: bool,
}

/// Runs it.
///
/// # Errors
/// When the types do not compile, or with `--check` a file differs.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(&paths.root);
    let cargo = paths.cargo();
    let check = args.check.then_some("--check");
    let crds = cmd!(sh, "{cargo} run --quiet --locked --package api --bin crds -- --out manifests/crds {check...}");
    let crds = crds.envs(paths.of_cargo());
    let said = Job::new(crds).deadline(Duration::from_secs(900)).cancel(cancel).read()?;
    println!("{said}");
    Ok(())
}
