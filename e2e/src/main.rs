//! The specs: what the gateway and datastorage must show where they are deployed.
//!
//! Arguments are those of Rust's own test runner (`specs --help`). Exit codes: 0, all selected specs passed; 101, a
//! spec failed; 2, the specs could not be run, or their events not be written.
//!
//! Environment: `E2E_RUN_FILE` (required but for `--list`) names the file that tells where the services are;
//! `E2E_EVENTS` a file to which starts and ends are appended as JSON lines; `E2E_EVIDENCE` a folder for what is kept
//! of failed specs; `E2E_KEEP=1` leaves the namespaces in place.

mod harness;
mod specs;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use harness::cluster::Cluster;
use harness::deployed::{Deployed, must_answer};
use harness::processes::Processes;
use harness::run_file::RunFile;
use harness::runner;
use harness::surroundings::Surroundings;
use libtest_mimic::{Arguments, Conclusion};

/// The specs could not be run, or nobody was told of them.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match run(arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("the specs did not run as they should: {error:#}");
            ExitCode::from(EXIT_NOT_RUN)
        }
    }
}

fn run(arguments: Arguments) -> Result<Conclusion> {
    if arguments.list {
        return Ok(runner::list(&arguments, specs::all()));
    }
    let run_file = RunFile::from_environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting tokio")?;
    let surroundings = runtime.block_on(async {
        let deployed = Deployed::connect(&run_file).await?;
        let surroundings: Arc<dyn Surroundings> = match run_file.control {
            Some(socket) => Arc::new(Processes::new(deployed, socket)),
            None => Arc::new(Cluster::new(deployed)),
        };
        must_answer(&*surroundings).await?;
        Ok::<_, anyhow::Error>(surroundings)
    })?;
    runner::run(arguments, specs::all(), runtime, surroundings)
}
