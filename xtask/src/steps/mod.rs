//! What each step of a plan really does. The order is the scheduler's; a step only does its own
//! part and ends, within its deadline, well or with an error that says what was found.

mod applied;
mod build;
mod cluster;
mod deploy;
mod dns;
mod executables;
mod gone;
#[cfg(test)]
mod played_tests;
mod pods;
mod ready;
mod refused;
mod render;
mod rollout;
mod script;
mod specs;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::engine::Engine;
use e2e_support::kind::Kind;
use e2e_support::kubectl::Kubectl;
use e2e_support::{Cancel, Ended, ProcessError};

use crate::build_mode::Zig;
use crate::cluster::Effective;
use crate::events::StepContext;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::{BuildMode, Manifests, Step, StepKind};
use crate::setup::make::Workshop;
use crate::shards::Shard;
use crate::suite::Suite;

pub use build::dependencies_reference;

/// Everything that steps work with; made before the first one starts.
#[derive(Clone, Debug)]
pub struct Site {
    pub paths: Paths,
    pub suite: Suite,
    /// The suite's manifests as they were when the site was made.
    pub manifests: Arc<Manifests>,
    pub build: BuildMode,
    /// With what it compiles on the host for the images; none for what it compiles with for itself.
    pub zig: Option<Zig>,
    pub engine: Engine,
    pub kind: Kind,
    /// The program kubectl.
    pub kubectl: Utf8PathBuf,
    /// The reference of the suite's node image.
    pub node_image: String,
    /// Node image and configuration, as one hash.
    pub made_from: String,
    pub config: Effective,
    /// The names, labels and files of what the run makes.
    pub instance: Instance,
    /// The namespace that the services are in.
    pub namespace: String,
    /// The folder of this run.
    pub run_dir: Utf8PathBuf,
    /// Whether the cluster is there already and stays as it is.
    pub cluster_is_there: bool,
    /// How specs are run; none where they are not.
    pub specs: Option<SpecOptions>,
    /// How the steps are done.
    pub way: Way,
    /// Tools and images, as the set-up found or made them.
    pub workshop: Workshop,
}

/// How steps are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// As this program does them.
    #[default]
    Own,
    /// As a shell script commonly does them, to compare with.
    Script,
}

/// How specs are run.
#[derive(Clone, Debug, Default)]
pub struct SpecOptions {
    /// Only specs whose name has this in it.
    pub filter: Option<String>,
    /// Only those of this shard.
    pub shard: Option<Shard>,
    /// How many run at a time.
    pub jobs: Option<usize>,
    /// How often a failed spec is tried again.
    pub retries: u32,
    /// Whether the namespaces of failed specs stay.
    pub keep: bool,
}

/// One step that runs: what it is, until when, and whom it talks to.
pub(crate) struct Running<'a> {
    pub(crate) site: &'a Site,
    pub(crate) step: &'a Step,
    pub(crate) context: &'a StepContext<'a>,
    pub(crate) end: Instant,
    pub(crate) cancel: &'a Cancel,
    pub(crate) log: &'a Utf8Path,
}

impl Site {
    /// The container that is the cluster's node.
    pub fn node(&self) -> String {
        self.instance.node()
    }

    /// The port of this machine that leads to each NodePort, once the cluster is there; before that, those that it is
    /// to get.
    pub fn ports(&self) -> BTreeMap<u16, u16> {
        self.instance.files.read().map_or_else(|| self.config.ports.clone(), |run| run.ports)
    }

    /// kubectl for the suite's cluster.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubectl, self.instance.files.kubeconfig(), self.instance.context())
    }

    /// Does one step.
    ///
    /// # Errors
    /// What went wrong, with which object, and what was found.
    pub fn execute(&self, step: &Step, context: &StepContext<'_>) -> Result<()> {
        let end = Instant::now() + context.deadline();
        // What has been done there before takes another time than on a cluster that is new.
        let elsewhere = matches!(
            step.kind,
            StepKind::Compile { .. } | StepKind::Dependencies | StepKind::Image { .. } | StepKind::Specs
        );
        if self.cluster_is_there && !elsewhere {
            context.already_there("the cluster of an earlier run");
        }
        let running = Running { site: self, step, context, end, cancel: context.cancel(), log: context.log() };
        let result = match self.way {
            Way::Script => running.as_a_script(),
            Way::Own => running.own_way(),
        };
        let with_images = matches!(
            step.kind,
            StepKind::Dependencies | StepKind::Image { .. } | StepKind::Load { .. } | StepKind::Cluster
        );
        result.map_err(|error| {
            // A step that was stopped has not failed of it.
            let failed = with_images && !running.cancel.is_cancelled();
            let error = if failed { gone::because_of_images(&self.engine, &self.workshop, error) } else { error };
            if Instant::now() < end || running.cancel.is_cancelled() {
                return error;
            }
            let Step { id, deadline_s, .. } = step;
            error.context(format!(
                "its deadline of {deadline_s} s has passed (the suite's file gives it another: \
                 `steps: {{{id}: {{deadline_s: …}}}}`)"
            ))
        })
    }
}

impl Running<'_> {
    fn own_way(&self) -> Result<()> {
        match &self.step.kind {
            StepKind::Cluster => self.cluster(),
            StepKind::Node => self.node(),
            StepKind::Api => self.api(),
            StepKind::Dns => self.dns(),
            StepKind::Compile { packages } => self.compile(packages),
            StepKind::Dependencies => self.dependencies(),
            StepKind::Image { image } => self.image(image),
            StepKind::Load { image } => self.load(image),
            StepKind::Apply { manifests, ground } => {
                if *ground {
                    self.site.instance.files.forget_ground()?;
                }
                self.apply(manifests)
            }
            StepKind::Ready { manifests, workload } => self.ready(manifests, workload),
            StepKind::Specs => self.specs(),
        }
    }

    pub(crate) fn progress(&self, text: impl Into<String>) {
        self.context.progress(text);
    }

    /// Fails where the node has ended: nothing that is asked of the cluster will be answered any more.
    pub(crate) fn node_must_run(&self) -> Result<()> {
        let node = self.site.node();
        // An engine that does not answer says nothing about the node.
        let Ok(container) = self.site.engine.container(&node) else { return Ok(()) };
        match container {
            Some(container) if container.state == "running" => Ok(()),
            Some(container) => bail!("the node {node} ended in the middle: its container is {}", container.state),
            None => bail!("the node {node} was removed in the middle"),
        }
    }

    /// What is left of the step's time.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Asks until the answer is `Ok`, pausing in between.
    ///
    /// # Errors
    /// The last answer, when the step's time is over or the work is cancelled.
    pub(crate) fn until<T>(&self, what: &str, pause: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        self.context.asks_for(what, pause);
        let mut before = None;
        loop {
            let last = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => self.telling(error, before),
            };
            if self.cancel.sleep(pause) {
                let reason = self.cancel.reason().unwrap_or("cancelled").to_owned();
                return Err(last.context(format!("waiting for {what}, stopped: {reason}")));
            }
            if Instant::now() >= self.end {
                return Err(last.context(format!("waiting for {what}")));
            }
            before = Some(last);
        }
    }

    /// The error of a try, or of the one `before` where the deadline has cut this one short: that says nothing.
    pub(crate) fn telling(&self, error: anyhow::Error, before: Option<anyhow::Error>) -> anyhow::Error {
        let ended = error.downcast_ref::<ProcessError>().map(|error| error.ended);
        let cut_short = matches!(ended, Some(Ended::DeadlinePassed { .. })) && self.left().is_zero();
        before.filter(|_| cut_short).unwrap_or(error)
    }
}

/// Writes a file, with its folder.
pub(crate) fn write(path: &Utf8Path, text: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
    }
    std::fs::write(AsRef::<Path>::as_ref(path), text).with_context(|| format!("writing {path}"))
}

/// As [`write`], for what holds credentials: at no moment can anybody else read it, whatever the umask is.
pub(crate) fn write_secret(path: &Utf8Path, text: impl AsRef<[u8]>) -> Result<()> {
    let doing = || format!("writing {path}");
    let folder = path.parent().with_context(|| format!("{path} lies in no folder"))?;
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
    // Temporary files are their owner's alone from the start.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(doing)?;
    std::io::Write::write_all(&mut file, text.as_ref()).with_context(doing)?;
    file.persist(path).map(drop).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_their_owners_alone_also_where_the_file_was_open_to_all() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("cluster/kubeconfig");
        write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        write_secret(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
