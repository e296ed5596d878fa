//! `setup`: puts tools and base images in place.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use e2e_support::Cancel;
use e2e_support::engine::Flavor;

use crate::dockerfile::bases;
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::setup::catalog::Catalog;
use crate::setup::places::Places;
use crate::setup::run::{Consent, ensure};
use crate::setup::survey::{Survey, Wanted};
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
    let build = if args.container_builds { BuildMode::Container } else { BuildMode::Host };
    let wanted = wanted(paths, &suite, build, args.engine)?;
    if args.check {
        let survey = Survey::look(paths, &wanted, &mut Places::default(), cancel)?;
        if survey.is_complete() {
            println!("everything that {} needs is there", suite.name);
            return Ok(());
        }
        bail!("missing:\n{}{}", survey.describe(), survey.blockers.join("\n"));
    }
    let workshop = ensure(paths, &wanted, consent(args.yes), cancel)?;
    if let Some(engine) = &workshop.engine {
        println!("{} {}; everything that {} needs is there", engine.flavor(), engine.version(), suite.name);
    }
    Ok(())
}

/// `--yes` or a question.
pub fn consent(yes: bool) -> Consent {
    if yes { Consent::Given } else { Consent::Ask }
}

/// What a run of `suite` needs of the machine.
///
/// # Errors
/// When the catalog or a Dockerfile of the suite cannot be read, or the suite names no piece of it.
pub fn wanted(paths: &Paths, suite: &Suite, build: BuildMode, engine: Option<Flavor>) -> Result<Wanted> {
    let catalog = Catalog::read(&paths.root)?;
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
    Ok(Wanted { engine, any_engine: true, pieces, packages: BTreeMap::new() })
}
