//! Exit codes: what a script can tell from them.

use std::process::ExitCode;

use e2e_support::Cancel;

use crate::events::RunResult;

/// For `--help`. Usage errors are clap's.
pub const HELP: &str = "\
Exit codes:
  0    all went well
  1    something else went wrong
  2    wrong usage
  3    the set-up failed: no spec could show anything
  4    specs failed
  130  interrupted";

/// Whoever read the output has gone: as of a program that SIGPIPE ends.
pub const NO_READER: i32 = 141;

/// The code of a run's result.
pub fn of_result(result: RunResult) -> ExitCode {
    ExitCode::from(match result {
        RunResult::Passed => 0,
        RunResult::SetupFailed => 3,
        RunResult::SpecsFailed => 4,
        RunResult::Interrupted => 130,
    })
}

/// The code of an error outside of a run.
pub fn of(error: &anyhow::Error, cancel: &Cancel) -> ExitCode {
    let usage = error.downcast_ref::<crate::suite::yaml::Problems>().is_some();
    ExitCode::from(if cancel.is_cancelled() {
        130
    } else if usage {
        2
    } else {
        1
    })
}
