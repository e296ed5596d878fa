//! The Kind cluster of a suite: its files, its ports, whether one that is there fits.

mod config;
mod creation;
mod network;
mod node_image;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Container, Engine, Flavor};
use e2e_support::kind::Kind;
use e2e_support::kubectl::Kubectl;
use e2e_support::{Job, kind};
use serde::{Deserialize, Serialize};
use xshell::Shell;

use crate::disk;
use crate::instance::Instance;

pub use config::{Effective, effective, hash as hash_config};
pub(crate) use creation::{Creation, below};
pub use network::{hold as hold_network, remove as remove_network};
pub use node_image::ensure as ensure_node_image;

/// What specs and people need to know of a cluster: written beside its kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// kind's name of the cluster.
    pub cluster: String,
    pub kubeconfig: Utf8PathBuf,
    /// The context in the kubeconfig.
    pub context: String,
    /// The namespace that the services are in.
    pub namespace: String,
    /// The host's port on 127.0.0.1 of each NodePort.
    pub ports: BTreeMap<u16, u16>,
}

/// Where the files of a suite's cluster are; one cluster per suite.
#[derive(Clone, Debug)]
pub struct Files {
    pub dir: Utf8PathBuf,
}

impl Files {
    /// Below `runs`, for the suite `suite`.
    pub fn new(runs: &Utf8Path, suite: &str) -> Files {
        Files { dir: runs.join(suite).join("cluster") }
    }

    pub fn kubeconfig(&self) -> Utf8PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The configuration as kind gets it, ports replaced.
    pub fn config(&self) -> Utf8PathBuf {
        self.dir.join("kind.yaml")
    }

    pub fn run_file(&self) -> Utf8PathBuf {
        self.dir.join("run.json")
    }

    /// The engine that has the cluster, noted before it is created; none where nothing was noted.
    pub fn engine(&self) -> Option<Flavor> {
        std::fs::read_to_string(self.dir.join("engine")).ok()?.trim().parse().ok()
    }

    /// Notes it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_engine(&self, engine: Flavor) -> Result<()> {
        crate::steps::write(&self.dir.join("engine"), format!("{engine}\n"))
    }

    /// Where an image of the suite is kept for the next load of it. It outlives the cluster.
    pub fn spool(&self, image: &str) -> Utf8PathBuf {
        self.dir.with_file_name("oci").join(image)
    }

    /// What the cluster was made from: node image and configuration, as one hash.
    pub fn made_from(&self) -> Utf8PathBuf {
        self.dir.join("made-from")
    }

    /// Whether the cluster was left on purpose.
    pub fn is_kept(&self) -> bool {
        self.dir.join("kept").exists()
    }

    /// Notes that it is.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_kept(&self) -> Result<()> {
        crate::steps::write(&self.dir.join("kept"), "")
    }

    /// The hash of the manifests that the cluster's ground was last made of.
    pub fn ground(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.join("ground")).ok()
    }

    /// Notes that hash.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_ground(&self, hash: &str) -> Result<()> {
        let path = self.dir.join("ground");
        std::fs::write(&path, hash).with_context(|| format!("writing {path}"))
    }

    /// Forgets that hash: the ground is about to be changed.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn forget_ground(&self) -> Result<()> {
        let path = self.dir.join("ground");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {path}"))
            }
            _ => Ok(()),
        }
    }

    /// Reads the run file; `None` where there is none, or none that this version wrote.
    pub fn read(&self) -> Option<RunFile> {
        serde_json::from_slice(&std::fs::read(self.run_file()).ok()?).ok()
    }

    /// Writes the run file, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, run: &RunFile) -> Result<()> {
        let path = self.run_file();
        let new = path.with_extension("json.new");
        let text = serde_json::to_string_pretty(run).context("writing a run file")?;
        std::fs::write(&new, text + "\n").with_context(|| format!("writing {new}"))?;
        std::fs::rename(&new, &path).with_context(|| format!("writing {path}"))
    }

    /// Forgets the cluster.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn remove(&self) -> Result<()> {
        disk::remove_folder(&self.dir)
    }
}

/// What of a suite's cluster is there.
#[derive(Debug)]
pub enum Existing {
    None,
    /// It runs, answers, and was made from what it would be made from now.
    Fits(Box<RunFile>),
    /// It is ours, and has to go; with the reason.
    Unfit(String),
}

/// Looks for the instance's cluster. `made_from` is what it would be made from now.
///
/// # Errors
/// When a cluster of that name is there and is not ours, or the engine does not answer.
pub fn existing(engine: &Engine, kubectl: &Utf8Path, instance: &Instance, made_from: &str) -> Result<Existing> {
    let (name, files) = (instance.cluster(), &instance.files);
    let nodes = engine.containers(kind::CLUSTER_LABEL, Some(name))?;
    let Some(node) = nodes.first() else { return Ok(Existing::None) };
    must_own(instance, &nodes)?;
    if node.state != "running" {
        return Ok(Existing::Unfit(format!("its node {} is {}", node.name, node.state)));
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
    remove_network(engine, cache)
}
