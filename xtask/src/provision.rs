//! Sets the machine up for a suite: tools, images, and whatever the way of compiling that works here needs.

use anyhow::Result;
use e2e_support::Cancel;
use e2e_support::engine::Flavor;

use crate::build_mode::{Building, Choice, Decided, Platform, Zig, zig};
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::setup::fetch::Mismatch;
use crate::setup::make::Workshop;
use crate::setup::run::{Consent, ensure};
use crate::setup::survey::Wanted;
use crate::suite::Suite;
use crate::target::existing::Options;
use crate::target::place::Place;

/// What a command says of the machine.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--on`.
    pub on: Place,
    pub engine: Option<Flavor>,
    pub build: Choice,
    /// `--yes`.
    pub yes: bool,
    /// `--kubernetes`: another version than that of the catalog itself.
    pub kubernetes: Option<String>,
    /// What is said of a cluster that is there.
    pub elsewhere: Options,
}

/// Puts in place what `wanted` names for the way of building that works on this machine, and tells which one that is.
///
/// # Errors
/// When something that is needed is missing, and cannot or may not be put in place.
pub fn set_up(
    paths: &Paths,
    suite: &Suite,
    request: &Request,
    wanted: impl Fn(BuildMode) -> Result<Wanted>,
    cancel: &Cancel,
) -> Result<(Workshop, Building)> {
    let put_in_place = |mode| ensure(paths, &wanted(mode)?, Consent::of(request.yes), cancel);
    let first = request.build.first();
    let workshop = put_in_place(first)?;
    if first == BuildMode::Container {
        return Ok((workshop, Building { mode: first, zig: None }));
    }
    let why = match request.build.decide(&paths.root, suite, workshop.engine()?, &paths.cache)? {
        Decided::Native => return Ok((workshop, Building { mode: first, zig: None })),
        Decided::Zig(platform) => match with_zig(paths, &workshop, platform, request, cancel) {
            Ok(zig) => return Ok((workshop, Building { mode: first, zig: Some(zig) })),
            Err(error) => {
                // What is not what it should be ends the set-up.
                let is_fatal = cancel.is_cancelled() || error.chain().any(|cause| cause.is::<Mismatch>());
                if is_fatal || request.build != Choice::Auto {
                    return Err(error);
                }
                format!("{error:#}")
            }
        },
        Decided::Container(why) => why,
    };
    eprintln!("set-up: services are compiled in containers, which takes longer: {why}");
    Ok((put_in_place(BuildMode::Container)?, Building { mode: BuildMode::Container, zig: None }))
}

/// Puts zig in place, ready for what images run.
fn with_zig(paths: &Paths, workshop: &Workshop, platform: Platform, request: &Request, cancel: &Cancel) -> Result<Zig> {
    ensure(paths, &zig::wanted(), Consent::of(request.yes), cancel)?;
    Zig::prepare(workshop, platform, Consent::of(request.yes), cancel)
}
