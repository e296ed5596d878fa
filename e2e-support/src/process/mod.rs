//! The one way to run a child process.
//!
//! `xshell::cmd!` builds the command; a [`Job`] runs it: in a process group of its own, with a
//! deadline, its output in a log, stopped as a group when the deadline passes or the work is
//! cancelled. An error shows the command, how it ended and the last lines that it printed.

mod daemon;
mod ended;
mod job;
mod run;
mod sink;

use camino::Utf8Path;

use crate::reaper;

pub use daemon::Daemon;
pub use ended::{Ended, Finished, ProcessError};
pub use job::{DEFAULT_DEADLINE, Job};

/// Removes `dir` with all it holds once this process has ended, however it ends.
pub fn remove_dir_at_exit(dir: &Utf8Path) {
    reaper::remove_dir(dir);
}
