//! Exit codes: what a script can tell from them.

use std::process::ExitCode;

use e2e_support::Cancel;

use crate::error::{SetUpFailed, WrongUsage};
use crate::events::RunResult;

/// For `--help`. Usage errors are clap's.
pub const HELP: &str = "\
Exit codes:
  0    all went well
  1    something else went wrong; of a run that passed: its cluster could not be
       deleted, or its reports could not be written
  2    wrong usage: an argument, a mistake that `check` found, a --filter that
       lets no spec through
  3    the set-up failed, of the machine or of the cluster, or its time was
       over: no spec could show anything
  4    specs failed, did not end or did not run
  130  interrupted";

/// Stopped by a signal.
pub const INTERRUPTED: u8 = 130;

/// Whoever read the output has gone: as of a program that SIGPIPE ends.
pub const NO_READER: u8 = 141;

/// The code of a run's result. What went wrong after the verdict never changes one that is bad already.
pub fn of_run(result: RunResult, all_well_after: bool) -> ExitCode {
    ExitCode::from(code(result, all_well_after))
}

fn code(result: RunResult, all_well_after: bool) -> u8 {
    match result {
        RunResult::Passed => u8::from(!all_well_after),
        RunResult::WrongUsage => 2,
        RunResult::SetupFailed => 3,
        RunResult::SpecsFailed => 4,
        RunResult::Interrupted => INTERRUPTED,
    }
}

/// The code of an error outside of a run.
pub fn of(error: &anyhow::Error, cancel: &Cancel) -> ExitCode {
    ExitCode::from(code_of(error, cancel))
}

fn code_of(error: &anyhow::Error, cancel: &Cancel) -> u8 {
    if cancel.is_cancelled() {
        INTERRUPTED
    } else if error.is::<crate::suite::yaml::Problems>() || error.is::<WrongUsage>() {
        2
    } else if error.is::<SetUpFailed>() {
        3
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn what_goes_wrong_after_the_verdict_does_not_hide_it() {
        for (result, well, else_) in [
            (RunResult::Passed, 0, 1),
            (RunResult::WrongUsage, 2, 2),
            (RunResult::SetupFailed, 3, 3),
            (RunResult::SpecsFailed, 4, 4),
            (RunResult::Interrupted, 130, 130),
        ] {
            assert_eq!((code(result, true), code(result, false)), (well, else_), "{result:?}");
        }
    }

    #[test]
    fn errors_before_a_run_tell_whose_they_are() {
        let set_up = |error: anyhow::Error| Err::<(), _>(error).context(SetUpFailed).unwrap_err();
        let usage = || anyhow!(WrongUsage("no such thing".to_owned()));
        let cancel = Cancel::new();
        assert_eq!(code_of(&anyhow!("no"), &cancel), 1);
        assert_eq!(code_of(&set_up(anyhow!("no")), &cancel), 3);
        assert_eq!(format!("{:#}", set_up(anyhow!("no"))), "the set-up failed: no");
        assert_eq!((code_of(&usage(), &cancel), code_of(&set_up(usage()), &cancel)), (2, 2));
        cancel.cancel("Ctrl-C");
        assert_eq!(code_of(&set_up(anyhow!("no")), &cancel), 130);
    }
}
