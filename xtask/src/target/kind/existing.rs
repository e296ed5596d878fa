//! Whether an instance's cluster is there, whose it is, and how it is removed.

use std::time::Duration;

use anyhow::{Result, bail};
use camino::Utf8Path;
use e2e_support::engine::{Container, Engine};
use e2e_support::kind::Kind;
use e2e_support::kubectl::Kubectl;
use e2e_support::{Job, kind};
use xshell::Shell;

use super::network;
use crate::instance::{Instance, RunFile};

/// What of a suite's cluster is there.
#[derive(Debug)]
pub(super) enum Existing {
    None,
    /// It runs, answers, and was made from what it would be made from now.
    Fits(Box<RunFile>),
    /// It is ours, and has to go; with the reason.
    Unfit(String),
}

/// Looks for the instance's cluster, which has these `nodes`. `made_from` is what it would be made from now.
///
/// # Errors
/// When a cluster of that name is there and is not ours, or the engine does not answer.
pub(super) fn find(
    engine: &Engine,
    kubectl: &Utf8Path,
    instance: &Instance,
    nodes: &[String],
    made_from: &str,
) -> Result<Existing> {
    let (name, files) = (instance.cluster(), &instance.files);
    let found = engine.containers(kind::CLUSTER_LABEL, Some(name))?;
    if found.is_empty() {
        return Ok(Existing::None);
    }
    must_own(instance, &found)?;
    for name in nodes {
        match found.iter().find(|node| node.name == *name) {
            Some(node) if node.state == "running" => {}
            Some(node) => return Ok(Existing::Unfit(format!("its node {name} is {}", node.state))),
            None => return Ok(Existing::Unfit(format!("its node {name} is gone"))),
        }
    }
    let Some(run) = files.read() else {
        return Ok(Existing::Unfit("there is no record of how it was made (a run that was killed?)".into()));
    };
    let was_made_from = std::fs::read_to_string(files.made_from()).unwrap_or_default();
    if was_made_from != made_from {
        return Ok(Existing::Unfit("its node image or its configuration has changed".into()));
    }
    let kubectl = Kubectl::new(kubectl, &run.kubeconfig, &run.context);
    let sh = Shell::new()?;
    let ask = kubectl.cmd(&sh).args(["get", "--raw", "/readyz"]);
    match Job::new(ask).deadline(Duration::from_secs(5)).read() {
        Ok(_) => Ok(Existing::Fits(Box::new(run))),
        Err(error) => {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            Ok(Existing::Unfit(format!("its API server does not answer ({first})")))
        }
    }
}

/// Fails where one of `nodes`, which have the name of the instance's cluster, was not made by it.
///
/// # Errors
/// With the foreign container, and what to do.
pub fn must_own(instance: &Instance, nodes: &[Container]) -> Result<()> {
    let name = instance.cluster();
    match nodes.iter().find(|node| !instance.owns(node)) {
        None => Ok(()),
        Some(foreign) => bail!(
            "a cluster named {name} is there that this checkout did not make (container {}, {}): it stays; \
             delete it with `kind delete cluster --name {name}`, or give the suite's cluster another name",
            foreign.name,
            foreign.state
        ),
    }
}

/// Deletes the cluster `name` and, where no other cluster is left, the network that kind made. No kind program is needed:
/// the nodes are the engine's containers.
///
/// # Errors
/// When the engine does not remove them.
pub fn delete(engine: &Engine, name: &str, cache: &Utf8Path, log: Option<&Utf8Path>) -> Result<()> {
    Kind::new("kind", engine.clone()).delete(name, log)?;
    network::remove(engine, cache)
}
