//! `up`: a cluster that stays.

use anyhow::{Result, bail};
use e2e_support::Cancel;
use e2e_support::engine::Flavor;

use crate::build_mode::Choice;
use crate::drive::{Afterwards, drive};
use crate::events::{RunResult, Runs, history};
use crate::paths::Paths;
use crate::plan::{Extent, Plan, Schedule};
use crate::report::summary::summary;
use crate::site;
use crate::steps::Site;
use crate::suite::Suite;

/// Create the suite's cluster, deploy everything on it, and leave it running
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// Only the cluster, with its custom resource definitions and namespaces
    #[arg(long)]
    pub cluster_only: bool,
    /// Set the machine up without asking, if something is missing
    #[arg(long)]
    pub yes: bool,
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// Where the Rust is compiled
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub build: Choice,
}

/// Runs it.
///
/// # Errors
/// When the machine cannot be set up, or a step fails; the cluster is left for a look then.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let runs = Runs::of(&paths.root);
    let _lock = runs.lock(&suite.name, &format!("cargo xtask up {}", suite.name))?;
    let extent = if args.cluster_only { Extent::Cluster } else { Extent::Deployed };
    let options = site::Options { engine: args.engine, build: args.build, yes: args.yes, reuse: true };
    let folder = runs.create(&suite.name)?;
    let site = site::open(paths, suite, &options, folder.path().to_owned(), cancel, &mut |line| eprintln!("{line}"))?;
    let plan = Plan::load(&paths.root, &site.suite, site.build)?
        .up_to(extent)
        .with_history(&history::load(&runs, &site.suite.name, site.build, Schedule::Dag))
        .with_schedule(Schedule::Dag);
    let driven = drive(&site, &plan, &folder, Afterwards::Keep, cancel)?;
    if driven.outcome.result != RunResult::Passed {
        print!("{}", summary(&driven.timeline, Some(&folder)));
        bail!("{}", driven.outcome.reason);
    }
    print_access(&site);
    Ok(())
}

/// Where the cluster answers, and how to talk to it.
pub fn print_access(site: &Site) {
    println!("cluster {}: export KUBECONFIG={}", site.suite.cluster.name, site.files.kubeconfig());
    for (node_port, port) in &site.config.ports {
        println!("  http://127.0.0.1:{port} (NodePort {node_port})");
    }
    println!("  remove it: cargo xtask down {}", site.suite.name);
}
