//! `setup`: puts tools and base images in place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Result, bail};
use e2e_support::Cancel;
use e2e_support::engine::Flavor;

use crate::build_mode::{Choice, Decided, zig};
use crate::dockerfile::bases;
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::setup::catalog::Catalog;
use crate::setup::ends::ended;
use crate::setup::places::Places;
use crate::setup::run::Consent;
use crate::setup::survey::{Survey, Wanted};
use crate::site::{Options, set_up};
use crate::suite::Suite;

/// Put tools and base images in place: says what it will do, and does it after a yes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite whose run is prepared
    #[arg(default_value = "gateway")]
    pub suite: String,
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
    let options = Options { engine: args.engine, build, yes: args.yes, reuse: false, kubernetes };
    if args.check {
        return look(paths, &suite, &options, cancel);
    }
    let (workshop, _) = set_up(paths, &suite, &options, cancel)?;
    tell_ended(&workshop.catalog);
    if let Some(engine) = &workshop.engine {
        println!("{} {}; everything that {} needs is there", engine.flavor(), engine.version(), suite.name);
    }
    Ok(())
}

/// Only looks, and fails with the list of what is missing.
fn look(paths: &Paths, suite: &Suite, options: &Options, cancel: &Cancel) -> Result<()> {
    let build = options.build;
    let complete = |wanted: &Wanted| {
        let survey = Survey::look(paths, wanted, &mut Places::default(), cancel)?;
        match survey.is_complete() {
            true => Ok(survey.workshop),
            false => bail!("missing:\n{}{}", survey.describe(), survey.blockers.join("\n")),
        }
    };
    let workshop = complete(&wanted(paths, suite, build.first(), options)?)?;
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

/// `--yes` or a question.
pub fn consent(yes: bool) -> Consent {
    if yes { Consent::Given } else { Consent::Ask }
}

/// What a run of `suite` needs of the machine.
///
/// # Errors
/// When the catalog or a Dockerfile of the suite cannot be read, or the suite names no piece of it.
pub fn wanted(paths: &Paths, suite: &Suite, build: BuildMode, options: &Options) -> Result<Wanted> {
    let (engine, kubernetes) = (options.engine, options.kubernetes.clone());
    let catalog = Catalog::read_for(&paths.root, kubernetes.as_deref())?;
    let mut pieces = BTreeSet::from(["kind".to_owned(), "kubectl".to_owned(), suite.cluster.node.clone()]);
    pieces.extend(suite.cluster.preload.iter().cloned());
    for name in &pieces {
        catalog.piece(name)?;
    }
    for image in &suite.images {
        for base in bases(&paths.root, image, build)? {
            pieces.extend(catalog.stand_in_for(&base).map(|piece| piece.name.clone()));
        }
    }
    Ok(Wanted { engine, any_engine: true, pieces, packages: BTreeMap::new(), kubernetes })
}
