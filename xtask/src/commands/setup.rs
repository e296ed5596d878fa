//! `setup`: puts tools and base images in place.

use std::time::SystemTime;

use anyhow::{Result, bail};
use e2e_support::Cancel;
use e2e_support::engine::Flavor;

use crate::build_mode::{Choice, Decided, zig};
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::provision::Request;
use crate::setup::catalog::Catalog;
use crate::setup::ends::ended;
use crate::setup::places::Places;
use crate::setup::survey::{Survey, Wanted};
use crate::suite::Suite;
use crate::target::place::Place;
use crate::target::{set_up, wanted};

/// Put tools and base images in place: says what it will do, and does it after a yes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite whose run is prepared
    #[arg(default_value = "gateway")]
    pub suite: String,
    /// What the suite is to run on
    #[arg(long, value_name = "TARGET", default_value_t = Place::Kind)]
    pub on: Place,
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
    /// Only look: exit code 1 and the list, when something is missing
    #[arg(long, conflicts_with = "yes")]
    pub check: bool,
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// The version of Kubernetes, of those in images/setup.yaml, such as 1.35
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    /// Also what a build inside of containers needs
    #[arg(long)]
    pub container_builds: bool,
}

/// Runs it.
///
/// # Errors
/// When something is missing and cannot or may not be put in place.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let build = if args.container_builds { Choice::Container } else { Choice::Auto };
    let kubernetes = args.kubernetes.clone();
    let request =
        Request { on: args.on.clone(), engine: args.engine, build, yes: args.yes, kubernetes, ..Request::default() };
    if args.check {
        return look(paths, &suite, &request, cancel);
    }
    let workshop = set_up(paths, &suite, &request, cancel)?;
    tell_ended(&workshop.catalog);
    let engine = workshop.engine.as_ref().map(|engine| format!("{} {}; ", engine.flavor(), engine.version()));
    println!("{}everything that {} needs is there", engine.unwrap_or_default(), suite.name);
    Ok(())
}

/// Only looks, and fails with the list of what is missing.
fn look(paths: &Paths, suite: &Suite, request: &Request, cancel: &Cancel) -> Result<()> {
    let build = request.build;
    let complete = |wanted: &Wanted| {
        let survey = Survey::look(paths, wanted, &mut Places::default(), cancel)?;
        match survey.is_complete() {
            true => Ok(survey.workshop),
            false => bail!("missing:\n{}{}", survey.describe(), survey.blockers.join("\n")),
        }
    };
    let workshop = complete(&wanted(paths, suite, build.first(), request)?)?;
    // How it is built depends on the images that are there now.
    if let (BuildMode::Host, Some(engine)) = (build.first(), &workshop.engine)
        && let Decided::Zig(_) = build.decide(&paths.root, suite, engine, &paths.cache)?
    {
        complete(&zig::wanted())?;
    }
    tell_ended(&workshop.catalog);
    println!("everything that {} needs is there", suite.name);
    Ok(())
}

fn tell_ended(catalog: &Catalog) {
    for line in ended(&catalog.ends, &catalog.versions, SystemTime::now()) {
        eprintln!("set-up: {line}");
    }
}
