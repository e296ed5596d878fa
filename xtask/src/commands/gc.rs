//! `gc`: leftovers of runs that died.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::engine::{Engine, Flavor};
use e2e_support::{Cancel, network};

use crate::called::called;
use crate::disk;
use crate::events::Runs;
use crate::instance::{self, Instance};
use crate::leftovers::{self, Claim, Leftover};
use crate::paths::Paths;
use crate::setup::run::{Consent, agree};
use crate::setup::{engine, kubectl, make};
use crate::suite::Suite;
use crate::target::{existing, kind, processes};

/// Remove what dead runs of this checkout left: clusters, containers, images, old runs, half-made pieces
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container engine; all that answer where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// Also clusters that were left on purpose (`up`, `--keep`, `--reuse`) and the images, and those of all other
    /// checkouts; lists them and asks first
    #[arg(long)]
    pub all: bool,
    /// With --all: do not ask
    #[arg(long, requires = "all")]
    pub yes: bool,
}

/// What was removed so far.
#[derive(Default)]
struct Removed {
    things: usize,
    bytes: u64,
}

/// Runs it.
///
/// # Errors
/// When no engine answers, or something cannot be removed.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let root = paths.root.canonicalize_utf8().with_context(|| format!("resolving the folder {}", paths.root))?;
    let engines = match args.engine {
        Some(flavor) => vec![engine::open(Some(flavor), &paths.cache)?],
        // Where suites run as processes alone there need be none.
        None if Flavor::ALL.iter().all(|flavor| which::which(flavor.to_string()).is_err()) => Vec::new(),
        None => instance::answering(&paths.cache)?,
    };
    let found = engines.iter().map(leftovers::find).collect::<Result<Vec<_>>>()?;
    if args.all {
        list(&engines, &found)?;
        agree("Remove all of that?", Consent::of(args.yes), cancel)?;
    }
    let mut removed = Removed::default();
    for (engine, found) in engines.iter().zip(&found) {
        let mut things = 0;
        removed.bytes += leftovers::freed(engine, || {
            for leftover in found.iter().filter(|leftover| args.all || leftover.is_of(&root)) {
                things += usize::from(remove(engine, leftover, args)?);
            }
            kind::remove_network(engine, &paths.cache)?;
            for line in network::clean(engine)? {
                println!("{line}");
                things += 1;
            }
            if args.all {
                for line in leftovers::remove_all_images(engine)? {
                    println!("{line}");
                }
            }
            Ok(())
        })?;
        removed.things += things;
    }
    // Also those whose runs were removed with the rest of target/: their images are still there.
    let suites = Runs::of(&paths.root).suites().into_iter().chain(Suite::names(&paths.root));
    for name in suites.collect::<BTreeSet<String>>() {
        clean_suite(&engines, paths, &name, args.all, &mut removed)?;
    }
    for (piece, bytes) in make::remove_unfinished(&paths.cache)? {
        println!("removed what an unfinished set-up left of {piece}");
        removed.things += 1;
        removed.bytes += bytes;
    }
    println!("{} leftovers removed, {} freed", removed.things, disk::shown(removed.bytes));
    Ok(())
}

/// Says what `--all` takes.
fn list(engines: &[Engine], found: &[Vec<Leftover>]) -> Result<()> {
    for (engine, found) in engines.iter().zip(found) {
        for Leftover { container, suite, checkout, .. } in found {
            let of = if checkout.as_str().is_empty() { Utf8Path::new("an unknown checkout") } else { checkout };
            println!("{}: container {} ({}), suite {suite} of {of}", engine.flavor(), container.name, container.state);
        }
        for image in engine.named_images(instance::SUITE_LABEL)? {
            println!("{}: image {image}", engine.flavor());
        }
    }
    Ok(())
}

/// Removes it unless it is used or wanted, and tells whether it did.
fn remove(engine: &Engine, leftover: &Leftover, args: &Args) -> Result<bool> {
    let Leftover { container, suite, .. } = leftover;
    let name = &container.name;
    let _claim = match leftover.claim() {
        Claim::InUse(who) => {
            println!("{name} stays: {who}");
            return Ok(false);
        }
        Claim::Kept(_) if !args.all => {
            println!("{name} is a running cluster: it stays (`{} down {suite}`, or --all)", called());
            return Ok(false);
        }
        Claim::Kept(lock) => Some(lock),
        Claim::Free(lock) => lock,
    };
    leftover.remove(engine)?;
    println!("removed the container {name} ({})", container.state);
    Ok(true)
}

/// Removes the superseded images of a suite of this checkout, what it has left on a cluster that is there and of its
/// processes, and its oldest runs beyond what it keeps; nothing while it runs.
fn clean_suite(engines: &[Engine], paths: &Paths, name: &str, all: bool, removed: &mut Removed) -> Result<()> {
    let root = &paths.root;
    let runs = Runs::of(root);
    let Ok(_lock) = runs.lock(name, "cargo xtask gc") else { return Ok(()) };
    let suite = Suite::load(root, name).ok();
    let instance = suite.as_ref().map(|suite| Instance::of(paths, suite)).transpose()?;
    if let Some(instance) = &instance
        && let Some(kubectl) = kubectl::find(root, &paths.cache)?
    {
        if existing::is_kept(instance) && !all {
            println!("what {name} has on a cluster that is there stays (`{} down {name}`, or --all)", called());
        } else if let Some(left) = existing::remove_left(instance, &kubectl)? {
            println!("removed {left}");
            removed.things += 1;
        }
    }
    for engine in engines {
        removed.bytes += leftovers::freed(engine, || leftovers::remove_superseded(engine, &runs.suite(name)))?;
    }
    if let Some(instance) = &instance
        && processes::forget(instance)?
    {
        println!("removed what a killed command had left of the processes of {name}");
        removed.things += 1;
    }
    let keep = suite.map(|suite| suite.keep).unwrap_or_default();
    let old = runs.retain(name, keep)?;
    if old.runs > 0 {
        println!("removed {} old runs of {name}", old.runs);
        removed.things += old.runs;
        removed.bytes += old.bytes;
    }
    Ok(())
}
