//! `gc`: leftovers of runs that died.

use anyhow::{Context, Result};
use e2e_support::engine::Flavor;
use e2e_support::kind::{CLUSTER_LABEL, Kind};
use e2e_support::{Cancel, network};

use crate::cluster::{self, Files, SUITE_LABEL};
use crate::events::Runs;
use crate::paths::Paths;
use crate::setup::engine;

/// Remove what dead runs left: clusters, containers, half-made pieces
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// Also the clusters that were left on purpose (`up`, `--keep`, `--reuse`)
    #[arg(long)]
    pub all: bool,
}

/// Runs it.
///
/// # Errors
/// When the engine does not answer, or does not remove something.
pub fn run(paths: &Paths, args: &Args) -> Result<()> {
    let engine = engine::open(args.engine, &paths.cache)?;
    let runs = Runs::of(&paths.root);
    let mut removed = 0;
    for container in engine.containers(SUITE_LABEL, None)? {
        let suite = container.labels.iter().find(|(key, _)| key == SUITE_LABEL).map_or("", |(_, value)| value.as_str());
        let Ok(_lock) = runs.lock(suite, "cargo xtask gc") else {
            println!("{} is in use by a run: it stays", container.name);
            continue;
        };
        // A run of another checkout, or of `bench-setup` in its copy, holds the cluster itself.
        let cluster = container.labels.iter().find(|(key, _)| key == CLUSTER_LABEL).map(|(_, value)| value.as_str());
        let lock = cluster.map(|cluster| cluster::lock(&paths.cache, cluster, &Cancel::new()));
        let Ok(_cluster_lock) = lock.transpose() else {
            println!("{} is in use by a run of another checkout: it stays", container.name);
            continue;
        };
        let files = Files::new(&paths.runs(), suite);
        let wanted =
            container.state == "running" && files.read().is_some_and(|run| Kind::node(&run.cluster) == container.name);
        if wanted && !args.all {
            println!("{} is a running cluster: it stays (`cargo xtask down {suite}`, or --all)", container.name);
            continue;
        }
        engine.remove_containers(&[&container.name], None)?;
        engine.remove_volumes(&container.name)?;
        files.remove()?;
        println!("removed the container {} ({})", container.name, container.state);
        removed += 1;
    }
    cluster::remove_network(&engine)?;
    for line in network::clean(&engine)? {
        println!("{line}");
        removed += 1;
    }
    let work = paths.cache.join("work");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("removing {work}"))?;
    }
    println!("{removed} leftovers removed");
    Ok(())
}
