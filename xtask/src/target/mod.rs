//! Where a suite runs. A folder here is a target: what implements [`session::Target`], its steps, and how it is opened.
//! What is outside of that folder does not know which one it is.

pub mod existing;
mod forward;
pub mod kind;
pub mod place;
pub mod processes;
pub mod session;

use anyhow::Result;
use camino::Utf8PathBuf;
use e2e_support::Cancel;

use self::place::Place;
use self::session::{Earlier, Session};
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::provision::Request;
use crate::setup::make::Workshop;
use crate::setup::survey::Wanted;
use crate::suite::Suite;

/// What a run of `suite` needs of the machine.
///
/// # Errors
/// When the catalog or a Dockerfile of the suite cannot be read, or the suite names no piece of it.
pub fn wanted(paths: &Paths, suite: &Suite, build: BuildMode, request: &Request) -> Result<Wanted> {
    match &request.on {
        Place::Kind => kind::wanted(paths, suite, build, request),
        Place::Processes => processes::wanted(paths, suite, request),
        Place::Existing(_) => existing::wanted(paths, suite, build, request),
    }
}

/// Puts that in place.
///
/// # Errors
/// When something that is needed is missing, and cannot or may not be put in place.
pub fn set_up(paths: &Paths, suite: &Suite, request: &Request, cancel: &Cancel) -> Result<Workshop> {
    match &request.on {
        Place::Kind => Ok(kind::set_up(paths, suite, request, cancel)?.0),
        Place::Processes => processes::set_up(paths, suite, request, cancel),
        Place::Existing(_) => Ok(existing::set_up(paths, suite, request, cancel)?.0),
    }
}

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
    match &request.on {
        Place::Kind => kind::open(paths, suite, request, earlier, kind::Style::Native, run_dir, cancel, say),
        Place::Processes => processes::open(paths, suite, request, run_dir, cancel),
        Place::Existing(name) => existing::open(paths, suite, request, name, earlier, run_dir, cancel, say),
    }
}
