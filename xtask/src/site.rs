//! From a suite's name to everything that its steps work with.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use e2e_support::engine::{Engine, Flavor};
use e2e_support::kind::Kind;
use e2e_support::{Cancel, network};
use sha2::{Digest, Sha256};

use crate::build_mode::{self, Building, Choice, Decided, Target, Zig, zig};
use crate::cluster::{self, Effective, Existing};
use crate::commands::setup::{consent, wanted};
use crate::dockerfile::runtime_base;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::{BuildMode, Manifests, Plan, StepKind};
use crate::setup::fetch::Mismatch;
use crate::setup::make::Workshop;
use crate::setup::piece::hex;
use crate::setup::run;
use crate::steps::{Site, Way};
use crate::suite::Suite;

/// How a command came to a cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub engine: Option<Flavor>,
    pub build: build_mode::Choice,
    /// `--yes`.
    pub yes: bool,
    /// Whether a cluster that is there and fits is used as it is.
    pub reuse: bool,
    /// `--kubernetes`: another version than that of the catalog itself.
    pub kubernetes: Option<String>,
}

/// Sets the machine up if need be, and makes ready what the steps of `suite` work with. A cluster
/// that is in the way is deleted, and `say` is told why. The caller holds the instance's lock.
///
/// # Errors
/// When the machine cannot be set up, or a cluster of that name is somebody else's.
pub fn open(
    paths: &Paths,
    suite: Suite,
    options: &Options,
    run_dir: Utf8PathBuf,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Site> {
    let instance = Instance::of(paths, &suite)?;
    let options = Options { engine: instance.engine_choice(options.engine), ..options.clone() };
    let (workshop, Building { mode: build, zig }) = set_up(paths, &suite, &options, cancel)?;
    let engine = workshop.engine.clone().context("the set-up found no engine")?;
    modules_folder(&engine)?;
    let kind = Kind::new(workshop.folder("kind")?.join("bin/kind"), engine.clone());
    let kubectl = workshop.folder("kubectl")?.join("bin/kubectl");
    let image_of = |name: &String| {
        let piece = workshop.catalog.piece(name)?;
        piece.replaces.clone().with_context(|| format!("the piece {name} is not an image"))
    };
    // What is built stands on these: with them in the node, only its own layers are ever moved and unpacked.
    let mut preload = BTreeSet::new();
    for image in &suite.images {
        let base = runtime_base(&paths.root, image)?;
        preload.extend(base.filter(|base| workshop.catalog.stand_in_for(base).is_some()));
    }
    for name in &suite.cluster.preload {
        preload.insert(image_of(name)?);
    }
    let node = image_of(&suite.cluster.node)?;
    let node_image = cluster::ensure_node_image(&engine, &instance, &node, preload, &paths.cache, cancel, say)?;
    let made_from = made_from(paths, &suite, &node_image)?;
    leave_engine(paths, &instance, engine.flavor(), say)?;
    let existing = cluster::existing(&engine, &kubectl, &instance, &made_from)?;
    let mut config = None;
    match existing {
        Existing::Fits(run) if options.reuse => {
            let of_run = Effective { yaml: String::new(), ports: run.ports, replaced: Vec::new() };
            config = Some(of_run);
        }
        Existing::None => {}
        other => {
            let why = if let Existing::Unfit(why) = other { why } else { "each run begins with a new one".into() };
            say(&format!("replacing the cluster {}: {why}", instance.cluster()));
            cluster::delete(&engine, instance.cluster(), &paths.cache, None)?;
        }
    }
    let cluster_is_there = config.is_some();
    let config = match config {
        Some(config) => config,
        None => {
            instance.files.remove()?;
            instance.files.write_engine(engine.flavor())?;
            network::clean(&engine)?.iter().for_each(|line| say(line));
            cluster::effective(&paths.root, &suite.cluster.config)?
        }
    };
    for (wanted, port) in &config.replaced {
        say(&format!("port {wanted} is taken on this machine: {port} is used in its place"));
    }
    let namespace = namespace(paths, &suite)?;
    let manifests = Arc::new(Manifests::read(&paths.root, &suite)?);
    Ok(Site {
        workshop,
        instance,
        paths: paths.clone(),
        build,
        zig,
        engine,
        kind,
        kubectl,
        node_image,
        made_from,
        config,
        namespace,
        manifests,
        run_dir,
        cluster_is_there,
        specs: None,
        way: Way::default(),
        suite,
    })
}

/// Removes the instance's cluster from the engine that has it, where that is another one than is used from now on.
fn leave_engine(paths: &Paths, instance: &Instance, now: Flavor, say: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(before) = instance.files.engine().filter(|before| *before != now) else { return Ok(()) };
    let name = instance.cluster();
    match crate::setup::engine::open(Some(before), &paths.cache) {
        Ok(engine) => {
            say(&format!("removing the cluster {name}, which {before} has: this one is made with {now}"));
            cluster::delete(&engine, name, &paths.cache, None)
        }
        // It may be gone for good: that is no reason to do nothing from now on.
        Err(error) => {
            say(&format!(
                "the cluster {name} was made with {before}, which does not answer; if it is still there, \
                 `cargo xtask down {} --engine {before}` removes it ({error:#})",
                instance.suite()
            ));
            Ok(())
        }
    }
}

/// Sets the machine up for the way of building that works on it.
///
/// # Errors
/// When something that is needed is missing, and cannot or may not be put in place.
pub fn set_up(paths: &Paths, suite: &Suite, options: &Options, cancel: &Cancel) -> Result<(Workshop, Building)> {
    let ensure = |mode| {
        let wanted = wanted(paths, suite, mode, options)?;
        run::ensure(paths, &wanted, consent(options.yes), cancel)
    };
    let first = options.build.first();
    let workshop = ensure(first)?;
    if first == BuildMode::Container {
        return Ok((workshop, Building { mode: first, zig: None }));
    }
    let engine = workshop.engine.as_ref().context("the set-up found no engine")?;
    let why = match options.build.decide(&paths.root, suite, engine, &paths.cache)? {
        Decided::Native => return Ok((workshop, Building { mode: first, zig: None })),
        Decided::Zig(target) => match with_zig(paths, &workshop, target, options, cancel) {
            Ok(zig) => return Ok((workshop, Building { mode: first, zig: Some(zig) })),
            Err(error) => {
                // What is not what it should be ends the set-up.
                let is_fatal = cancel.is_cancelled() || error.chain().any(|cause| cause.is::<Mismatch>());
                if is_fatal || options.build != Choice::Auto {
                    return Err(error);
                }
                format!("{error:#}")
            }
        },
        Decided::Container(why) => why,
    };
    eprintln!("set-up: services are compiled in containers, which takes longer: {why}");
    Ok((ensure(BuildMode::Container)?, Building { mode: BuildMode::Container, zig: None }))
}

/// Puts zig in place, ready for the target.
fn with_zig(paths: &Paths, workshop: &Workshop, target: Target, options: &Options, cancel: &Cancel) -> Result<Zig> {
    run::ensure(paths, &zig::wanted(), consent(options.yes), cancel)?;
    Zig::prepare(workshop, target, consent(options.yes), cancel)
}

/// What a cluster is made from, as one hash: node image and configuration as written, with what it mounts.
fn made_from(paths: &Paths, suite: &Suite, node_image: &str) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{node_image}\0"));
    cluster::hash_config(&paths.root, &suite.cluster.config, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// The namespace of the suite's workloads: that of the first one.
fn namespace(paths: &Paths, suite: &Suite) -> Result<String> {
    let plan = Plan::load(&paths.root, suite, BuildMode::Host)?;
    let first = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::Ready { workload, .. } => Some(workload.namespace.clone()),
        _ => None,
    });
    Ok(first.unwrap_or_else(|| "default".into()))
}

/// kind mounts the host's /lib/modules, and an engine refuses to mount what is not there; kernels
/// without modules have no such folder.
fn modules_folder(engine: &Engine) -> Result<()> {
    let folder = camino::Utf8Path::new("/lib/modules");
    if engine.is_remote() || folder.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {folder}, which kind mounts into its nodes"))
}
