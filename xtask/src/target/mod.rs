//! Where a suite runs. A folder here is a target: what implements [`session::Target`], its steps, and how it is opened.
//! What is outside of that folder does not know which one it is.

pub mod kind;
pub mod session;

use anyhow::Result;
use camino::Utf8PathBuf;
use e2e_support::Cancel;

use self::session::{Earlier, Session};
use crate::paths::Paths;
use crate::provision::Request;
use crate::suite::Suite;

/// Sets the machine up if need be, and makes ready what the steps of `suite` work with. What is in the way is removed,
/// and `say` is told why. The caller holds the instance's lock.
///
/// # Errors
/// When the machine cannot be set up, or what is in the way is somebody else's.
pub fn open(
    paths: &Paths,
    suite: Suite,
    request: &Request,
    earlier: Earlier,
    run_dir: Utf8PathBuf,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Session> {
    kind::open(paths, suite, request, earlier, kind::Style::Native, run_dir, cancel, say)
}
