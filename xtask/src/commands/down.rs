//! `down`: removes what `up` made.

use anyhow::{Context, Result};
use e2e_support::engine::Flavor;
use e2e_support::kind::CLUSTER_LABEL;

use crate::called::called;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::setup::kubectl;
use crate::suite::Suite;
use crate::target::{existing, kind, processes};

/// Delete the suite's cluster, end its processes, or remove what it has on a cluster that is there
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// The container engine; the one that the cluster was made with where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
}

/// Runs it.
///
/// # Errors
/// When the cluster is in use or not ours, or cannot be removed.
pub fn run(paths: &Paths, args: &Args) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let instance = Instance::of(paths, &suite)?;
    // The command that keeps them holds the lock.
    if processes::end(&instance)? {
        println!("the processes of {} are gone", suite.name);
        return Ok(());
    }
    let _lock = instance.lock(&format!("{} down {}", called(), suite.name))?;
    let had_processes = processes::forget(&instance)?;
    if had_processes {
        println!("what a killed command had left of the processes of {} is gone", suite.name);
    }
    if let Some(kubectl) = kubectl::find(&paths.root, &paths.cache)?
        && let Some(removed) = existing::remove_left(&instance, &kubectl)?
    {
        println!("{removed}: gone");
        if instance.files.engine().is_none() {
            return Ok(());
        }
    }
    let name = instance.cluster();
    let engines = match instance.engines(args.engine, &paths.cache) {
        // Where only processes run nobody has to have an engine.
        Err(_) if had_processes && args.engine.is_none() && instance.files.engine().is_none() => return Ok(()),
        engines => engines?,
    };
    let mut found = false;
    for engine in engines {
        let nodes = engine.containers(CLUSTER_LABEL, Some(name))?;
        kind::must_own(&instance, &nodes)?;
        kind::delete(&engine, name, &paths.cache, None)?;
        found |= !nodes.is_empty();
        if instance.files.engine().is_none_or(|recorded| recorded == engine.flavor()) {
            instance.files.remove().context("forgetting the cluster")?;
        }
    }
    match found {
        true => println!("the cluster {name} is gone"),
        false => println!("there was no cluster {name}"),
    }
    Ok(())
}
