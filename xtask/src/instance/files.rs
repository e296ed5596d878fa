//! What is noted of what an instance has made: beside its kubeconfig, for the next commands, for specs and for people.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::Flavor;
use serde::{Deserialize, Serialize};

use crate::disk;

/// What specs and people need to know of a cluster: written beside its kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Its name.
    pub cluster: String,
    pub kubeconfig: Utf8PathBuf,
    /// The context in the kubeconfig.
    pub context: String,
    /// The namespace that the services are in.
    pub namespace: String,
    /// The host's port on 127.0.0.1 of each NodePort.
    pub ports: BTreeMap<u16, u16>,
    /// Where workloads are processes: the socket by which they are started and stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Utf8PathBuf>,
    /// Labels of every namespace that specs make, so that it is known whose they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
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

    /// Those of the suite's run on a cluster that is there; a cluster of the instance keeps its own.
    pub fn on_cluster_that_is_there(&self) -> Files {
        Files { dir: self.dir.with_file_name("existing") }
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
        disk::write(&self.dir.join("engine"), format!("{engine}\n"))
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
        disk::write(&self.dir.join("kept"), "")
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
