//! From a suite's name to a session on its cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Engine, Flavor};
use e2e_support::kind::Kind;
use e2e_support::{Cancel, network};
use sha2::{Digest, Sha256};

use super::existing::{self, Existing, delete};
use super::{Cluster, Effective, Style, config, node_image};
use crate::build_mode::Building;
use crate::called::called;
use crate::dockerfile::{bases, runtime_base};
use crate::hash::hex;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::provision::{self, Request};
use crate::setup::catalog::Catalog;
use crate::setup::make::Workshop;
use crate::setup::survey::Wanted;
use crate::suite::Suite;
use crate::target::session::Earlier;
use crate::target::session::Session;

/// Sets the machine up if need be, and makes ready what the steps of `suite` work with. A cluster that is in the way is
/// deleted, and `say` is told why. The caller holds the instance's lock.
///
/// # Errors
/// When the machine cannot be set up, or a cluster of that name is somebody else's.
#[expect(clippy::too_many_arguments, reason = "each is one thing that a command knows, and none goes with another")]
pub fn open(
    paths: &Paths,
    suite: Suite,
    request: &Request,
    earlier: Earlier,
    style: Style,
    run_dir: Utf8PathBuf,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Session> {
    let instance = Instance::of(paths, &suite)?;
    let request = Request { engine: instance.engine_choice(request.engine), ..request.clone() };
    let (workshop, building) = set_up(paths, &suite, &request, cancel)?;
    let engine = workshop.engine()?.clone();
    modules_folder(&engine)?;
    let kind = Kind::new(workshop.folder("kind")?.join("bin/kind"), engine.clone());
    let kubectl = workshop.folder("kubectl")?.join("bin/kubectl");
    let (node, preload) = images_of_node(paths, &suite, &workshop)?;
    let node_image = node_image::ensure(&engine, &instance, &node, preload, &paths.cache, cancel, say)?;
    let made_from = made_from(paths, &suite, &node_image)?;
    leave_engine(paths, &instance, engine.flavor(), say)?;
    let nodes = config::nodes(&paths.root, &suite.cluster.config, instance.cluster())?;
    let mut found = None;
    match existing::find(&engine, &kubectl, &instance, &nodes, &made_from)? {
        Existing::Fits(run) if earlier == Earlier::Reuse => {
            found = Some(Effective { yaml: String::new(), ports: run.ports, replaced: Vec::new() });
        }
        Existing::None => {}
        other => {
            let why = if let Existing::Unfit(why) = other { why } else { "each run begins with a new one".into() };
            say(&format!("replacing the cluster {}: {why}", instance.cluster()));
            delete(&engine, instance.cluster(), &paths.cache, None)?;
        }
    }
    let was_there = found.is_some();
    let config = match found {
        Some(config) => config,
        None => {
            instance.files.remove()?;
            instance.files.write_engine(engine.flavor())?;
            network::clean(&engine)?.iter().for_each(|line| say(line));
            config::effective(&paths.root, &suite.cluster.config)?
        }
    };
    for (wanted, port) in &config.replaced {
        say(&format!("port {wanted} is taken on this machine: {port} is used in its place"));
    }
    let cache = paths.cache.clone();
    let cluster = Cluster { engine, kind, nodes, node_image, made_from, config, was_there, style, cache };
    Session::new(paths, suite, (workshop, building), instance, run_dir, Arc::new(cluster))
}

/// The image of the node, and those that it has from the start.
fn images_of_node(paths: &Paths, suite: &Suite, workshop: &Workshop) -> Result<(String, BTreeSet<String>)> {
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
    Ok((image_of(&suite.cluster.node)?, preload))
}

/// Removes the instance's cluster from the engine that has it, where that is another one than is used from now on.
fn leave_engine(paths: &Paths, instance: &Instance, now: Flavor, say: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(before) = instance.files.engine().filter(|before| *before != now) else { return Ok(()) };
    let name = instance.cluster();
    match crate::setup::engine::open(Some(before), &paths.cache) {
        Ok(engine) => {
            say(&format!("removing the cluster {name}, which {before} has: this one is made with {now}"));
            delete(&engine, name, &paths.cache, None)
        }
        // It may be gone for good: that is no reason to do nothing from now on.
        Err(error) => {
            say(&format!(
                "the cluster {name} was made with {before}, which does not answer; if it is still there, \
                 `{} down {} --engine {before}` removes it ({error:#})",
                called(),
                instance.suite()
            ));
            Ok(())
        }
    }
}

/// Sets the machine up for a cluster of `suite`.
///
/// # Errors
/// As [`provision::set_up`].
pub fn set_up(paths: &Paths, suite: &Suite, request: &Request, cancel: &Cancel) -> Result<(Workshop, Building)> {
    provision::set_up(paths, suite, request, |mode| wanted(paths, suite, mode, request), cancel)
}

/// What a run of `suite` on a cluster needs of the machine.
///
/// # Errors
/// When the catalog or a Dockerfile of the suite cannot be read, or the suite names no piece of it.
pub fn wanted(paths: &Paths, suite: &Suite, build: BuildMode, request: &Request) -> Result<Wanted> {
    let (engine, kubernetes) = (request.engine, request.kubernetes.clone());
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

/// What a cluster is made from, as one hash: node image and configuration as written, with what it mounts.
fn made_from(paths: &Paths, suite: &Suite, node_image: &str) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{node_image}\0"));
    config::hash(&paths.root, &suite.cluster.config, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// kind mounts the host's /lib/modules, and an engine refuses to mount what is not there; kernels
/// without modules have no such folder.
fn modules_folder(engine: &Engine) -> Result<()> {
    let folder = Utf8Path::new("/lib/modules");
    if engine.is_remote() || folder.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {folder}, which kind mounts into its nodes"))
}
