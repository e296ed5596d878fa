//! What a target is, and what the steps of a run work with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;
use e2e_support::clock::Instant;
use e2e_support::engine::Engine;
use e2e_support::kubectl::Kubectl;

use crate::build_mode::{Building, Zig};
use crate::called::called;
use crate::events::RunFolder;
use crate::execute::StepContext;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::{BuildMode, Layout, Manifests, Object, Plan, Step, StepKind, derive, derive_groups};
use crate::setup::make::Workshop;
use crate::shards::Shard;
use crate::suite::{Image, Suite};

/// A place for a suite to run in: its own steps, how an image gets there, what stays of it and what is removed.
pub trait Target: fmt::Debug + Send + Sync {
    /// What it contributes to plans.
    fn layout(&self) -> &'static Layout;

    /// What it is made from, as one hash.
    fn fingerprint(&self) -> &str;

    /// Whether an earlier run has left it, and this one uses it.
    fn was_there(&self) -> bool;

    /// The port of this machine that is to lead to each NodePort.
    fn planned_ports(&self) -> &BTreeMap<u16, u16>;

    /// What the engine calls an image of the suite.
    fn image_reference(&self, instance: &Instance, image: &Image) -> String {
        instance.image(&image.reference)
    }

    /// What pods are to name the image that manifests call `reference`; none where they name it as it stands there.
    ///
    /// # Errors
    /// When an image that the run builds is not there yet.
    fn pod_image(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// The context in the kubeconfig of its API server.
    fn context(&self, instance: &Instance) -> String {
        instance.context()
    }

    /// What of it is made and removed, in words.
    fn place(&self, instance: &Instance) -> String {
        format!("the cluster {}", instance.cluster())
    }

    /// What a green run on it does not show, in words; nothing where that is all that the specs can show.
    fn limits(&self) -> Option<&'static str> {
        None
    }

    /// Does one step. This is for a target that does all of them in another way.
    ///
    /// # Errors
    /// What went wrong, with which object, and what was found.
    fn carry_out(&self, running: &Running<'_>) -> Result<()> {
        running.carry_out(self)
    }

    /// Does the step of its own that its layout calls `part`.
    ///
    /// # Errors
    /// As [`Target::carry_out`].
    fn part(&self, running: &Running<'_>, part: &str) -> Result<()>;

    /// Brings an image that was built to where pods find it.
    ///
    /// # Errors
    /// As [`Target::carry_out`].
    fn deliver(&self, running: &Running<'_>, image: &Image) -> Result<()>;

    /// Fails where it has ended: nothing that is asked of it will be answered any more.
    ///
    /// # Errors
    /// What has ended.
    fn must_run(&self, session: &Session) -> Result<()>;

    /// Whether nothing of it is there any more.
    fn is_gone(&self, session: &Session) -> bool;

    /// Mends what is between it and the specs, before these begin.
    fn open_to_specs(&self, running: &Running<'_>);

    /// Writes what a failed run leaves to look at into the run's folder, until `end`. What cannot be had is noted in its
    /// place.
    fn collect_evidence(&self, session: &Session, folder: &RunFolder, end: Instant);

    /// Where it stays after the command, and how it is removed, in words.
    fn stays(&self, session: &Session) -> String {
        let Session { instance, suite, .. } = session;
        format!("cluster {} stays; remove it: {} down {}", instance.cluster(), called(), suite.name)
    }

    /// Keeps it running until `cancel` is set or it is told to end, where it goes with this program; returns at once
    /// where it stays by itself.
    ///
    /// # Errors
    /// When it ends by itself, or something of it stays.
    fn stay(&self, _: &Session, _: &Cancel) -> Result<()> {
        Ok(())
    }

    /// Removes it with all that was made in it.
    ///
    /// # Errors
    /// When something of it stays.
    fn remove(&self, session: &Session, log: Option<&Utf8Path>) -> Result<()>;

    /// What there is of one that could not be made, in words.
    fn remains(&self, session: &Session) -> String;
}

/// What becomes of what an earlier run has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Earlier {
    /// It is replaced.
    #[default]
    Replace,
    /// It is used as it is, where it fits.
    Reuse,
}

/// One use of a target by one command.
#[derive(Clone, Debug)]
pub struct Session {
    pub paths: Paths,
    pub suite: Suite,
    /// The suite's manifests as they were when the session began.
    pub manifests: Arc<Manifests>,
    pub build: BuildMode,
    /// With what it compiles on the host for the images; none for what it compiles with for itself.
    pub zig: Option<Zig>,
    /// Tools and images, as the set-up found or made them.
    pub workshop: Workshop,
    /// The names, labels and files of what the run makes.
    pub instance: Instance,
    /// The program kubectl.
    pub kubectl: Utf8PathBuf,
    /// The namespace that the services are in.
    pub namespace: String,
    /// The folder of this run.
    pub run_dir: Utf8PathBuf,
    /// How specs are run; none where they are not.
    pub specs: Option<SpecOptions>,
    /// Where the suite runs.
    pub target: Arc<dyn Target>,
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
#[derive(Clone, Copy)]
pub struct Running<'a> {
    pub(crate) session: &'a Session,
    pub(crate) step: &'a Step,
    pub(crate) context: &'a StepContext<'a>,
    pub(crate) end: Instant,
    pub(crate) cancel: &'a Cancel,
    pub(crate) log: &'a Utf8Path,
}

impl Session {
    /// A session on `target`, with a machine that was set up for it.
    ///
    /// # Errors
    /// When the suite's manifests cannot be read.
    pub fn new(
        paths: &Paths,
        suite: Suite,
        (workshop, Building { mode: build, zig }): (Workshop, Building),
        instance: Instance,
        run_dir: Utf8PathBuf,
        target: Arc<dyn Target>,
    ) -> Result<Self> {
        let manifests = Manifests::read(&paths.root, &suite)?;
        Self::with_manifests(
            paths,
            suite,
            manifests,
            (workshop, Building { mode: build, zig }),
            instance,
            run_dir,
            target,
        )
    }

    /// As [`Session::new`], with these manifests of the suite.
    ///
    /// # Errors
    /// As [`derive`].
    pub fn with_manifests(
        paths: &Paths,
        suite: Suite,
        manifests: Manifests,
        (workshop, Building { mode: build, zig }): (Workshop, Building),
        instance: Instance,
        run_dir: Utf8PathBuf,
        target: Arc<dyn Target>,
    ) -> Result<Self> {
        Ok(Self {
            namespace: namespace(&suite, &manifests, target.layout())?,
            manifests: Arc::new(manifests),
            kubectl: workshop.folder("kubectl")?.join("bin/kubectl"),
            paths: paths.clone(),
            build,
            zig,
            workshop,
            instance,
            run_dir,
            specs: None,
            target,
            suite,
        })
    }

    /// The container engine.
    ///
    /// # Errors
    /// Where the target needs none.
    pub fn engine(&self) -> Result<&Engine> {
        self.workshop.engine()
    }

    /// The context in the kubeconfig of the suite's API server.
    pub fn context(&self) -> String {
        self.target.context(&self.instance)
    }

    /// kubectl for the suite's API server.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubectl, self.instance.files.kubeconfig(), self.context())
    }

    /// The port of this machine that leads to each NodePort, once they are known; before that, those that it is to get.
    pub fn ports(&self) -> BTreeMap<u16, u16> {
        self.instance.files.read().map_or_else(|| self.target.planned_ports().clone(), |run| run.ports)
    }

    /// What the engine calls an image of the suite.
    pub fn image_reference(&self, image: &Image) -> String {
        self.target.image_reference(&self.instance, image)
    }

    /// The folder that replaces the stage of an image that compiles.
    pub(crate) fn staged(&self, image: &str) -> Utf8PathBuf {
        self.run_dir.join("stage/images").join(image)
    }

    /// The specs' program, as this run uses it.
    pub(crate) fn staged_specs(&self, binary: &str) -> Utf8PathBuf {
        self.run_dir.join("stage/specs").join(binary)
    }

    /// The plan of the suite here, without a schedule's edges, and of its manifests as they were when the session began.
    ///
    /// # Errors
    /// As [`derive`].
    pub fn plan(&self) -> Result<Plan> {
        plan_of(&self.suite, &self.manifests, self.build, self.target.layout())
    }
}

fn plan_of(suite: &Suite, manifests: &Manifests, build: BuildMode, layout: &Layout) -> Result<Plan> {
    if !manifests.is_rewritten {
        return Ok(derive(suite, &manifests.sources, build, layout)?);
    }
    let groups: Vec<Vec<Object>> =
        suite.manifests.iter().map(|group| manifests.of(group.sources()).cloned().collect()).collect();
    Ok(derive_groups(suite, &manifests.sources, &groups, build, layout)?)
}

/// The namespace of the suite's workloads: that of the first one.
fn namespace(suite: &Suite, manifests: &Manifests, layout: &Layout) -> Result<String> {
    let plan = plan_of(suite, manifests, BuildMode::Host, layout)?;
    let first = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::Ready { workload, .. } => Some(workload.namespace.clone()),
        _ => None,
    });
    Ok(first.unwrap_or_else(|| "default".into()))
}
