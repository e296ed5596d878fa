//! `down`: removes what `up` made.

use anyhow::{Context, Result, bail};
use e2e_support::engine::Flavor;
use e2e_support::kind::{self, Kind};

use crate::cluster::{self, Files};
use crate::events::Runs;
use crate::paths::Paths;
use crate::setup::engine;
use crate::suite::Suite;

/// Delete the suite's cluster
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
}

/// Runs it.
///
/// # Errors
/// When the cluster is not ours, or cannot be removed.
pub fn run(paths: &Paths, args: &Args) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let _lock = Runs::of(&paths.root).lock(&suite.name, &format!("cargo xtask down {}", suite.name))?;
    let engine = engine::open(args.engine, &paths.cache)?;
    let name = &suite.cluster.name;
    let nodes = engine.containers(kind::CLUSTER_LABEL, Some(name))?;
    if let Some(foreign) = nodes.iter().find(|node| !cluster::is_of(node, &suite.name)) {
        bail!("the cluster {name} (container {}) was not made by the suite {}: it stays", foreign.name, suite.name);
    }
    // Deleting needs no kind program: the nodes are the engine's containers.
    cluster::delete(&engine, &Kind::new("kind", engine.clone()), name, None)?;
    Files::new(&paths.runs(), &suite.name).remove().context("forgetting the cluster")?;
    match nodes.len() {
        0 => println!("there was no cluster {name}"),
        _ => println!("the cluster {name} is gone"),
    }
    Ok(())
}
