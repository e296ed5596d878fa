//! The kind program: clusters are made here and removed through the engine.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Cmd, Shell, cmd};

use crate::cancel::Cancel;
use crate::engine::{Container, Engine};
use crate::process::Job;

/// The label that kind puts on every node container; its value is the cluster's name.
pub const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";

/// kind's name of the network that its nodes are in.
pub const NETWORK: &str = "kind";

/// The kind program together with the engine that it shall use.
#[derive(Clone, Debug)]
pub struct Kind {
    program: Utf8PathBuf,
    engine: Engine,
}

/// What `kind create cluster` is given.
#[derive(Clone, Debug)]
pub struct Create {
    pub name: String,
    /// The cluster's configuration file.
    pub config: Utf8PathBuf,
    pub node_image: String,
    /// Where the credentials are written; never the user's own file.
    pub kubeconfig: Utf8PathBuf,
    pub deadline: Duration,
}

impl Kind {
    pub fn new(program: impl Into<Utf8PathBuf>, engine: Engine) -> Kind {
        Kind { program: program.into(), engine }
    }

    fn cmd<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        let program = &self.program;
        cmd!(sh, "{program}")
            .envs(self.engine.env().iter().map(|(k, v)| (k, v)))
            .env("KIND_EXPERIMENTAL_PROVIDER", self.engine.flavor().program())
    }

    /// The name of the container that is the control-plane node of the cluster `name`.
    pub fn node(name: &str) -> String {
        format!("{name}-control-plane")
    }

    /// The name of the context that kind writes for the cluster `name`.
    pub fn context(name: &str) -> String {
        format!("kind-{name}")
    }

    /// Makes a cluster. What is left of one that failed stays for a look; remove it by
    /// [`Kind::delete`].
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn create(&self, create: &Create, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let Create { name, config, node_image, kubeconfig, deadline } = create;
        let cmd = self.cmd(&sh).args(["create", "cluster", "--retain", "--name", name]);
        let cmd = cmd.args(["--config", config.as_str(), "--image", node_image, "--kubeconfig", kubeconfig.as_str()]);
        Job::new(cmd)
            .deadline(*deadline)
            .log(log)
            .cancel(cancel)
            // kind itself can stop anywhere; the engine that starts the node cannot.
            .leader_first()
            .run()
            .with_context(|| format!("creating the cluster {name}"))
    }

    /// Brings an image into the cluster's nodes, from an archive that the engine has written.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn load_archive(
        &self,
        name: &str,
        archive: &Utf8Path,
        deadline: Duration,
        log: &Utf8Path,
        cancel: &Cancel,
    ) -> Result<()> {
        let sh = Shell::new()?;
        let cmd = self.cmd(&sh).args(["load", "image-archive", "--name", name, archive.as_str()]);
        Job::new(cmd).deadline(deadline).log(log).cancel(cancel).run()
    }

    /// The node containers of the cluster `name`, dead ones included.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn nodes(&self, name: &str) -> Result<Vec<Container>> {
        self.engine.containers(CLUSTER_LABEL, Some(name))
    }

    /// Removes the cluster's nodes with their volumes, whatever state they are in. A cluster that
    /// is not there is no error. (`kind delete cluster` does the same, but waits for the nodes'
    /// systemd, and edits a kubeconfig that is ours to remove.)
    ///
    /// # Errors
    /// When the engine does not remove them.
    pub fn delete(&self, name: &str, log: Option<&Utf8Path>) -> Result<()> {
        let nodes = self.nodes(name)?;
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let doing = || format!("deleting the cluster {name}");
        self.engine.remove_containers(&names, log).with_context(doing)?;
        // Also those of a node that is gone already.
        let first = Kind::node(name);
        let others = names.iter().copied().filter(|node| *node != first);
        for node in others.chain([first.as_str()]) {
            self.engine.remove_volumes(node).with_context(doing)?;
        }
        Ok(())
    }

    /// Writes the credentials of a running cluster to `kubeconfig`.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn export_kubeconfig(&self, name: &str, kubeconfig: &Utf8Path) -> Result<()> {
        let sh = Shell::new()?;
        let cmd = self.cmd(&sh).args(["export", "kubeconfig", "--name", name, "--kubeconfig", kubeconfig.as_str()]);
        Job::new(cmd).deadline(Duration::from_secs(30)).run()
    }
}
