//! Steps and their needs, derived from a suite and the manifests it names. Pure: reading files is the caller's.
//!
//! A need comes from what a step reads. A [`Schedule`] only adds edges to the same steps.

mod derive;
mod estimate;
mod index;
mod layout;
mod need;
pub mod object;
mod print;
pub(crate) mod reads;
mod render;
mod schedule;
mod soft;
#[cfg(test)]
mod tests;
pub(crate) mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::schedule as scheduling;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Problems, Segment, Source, did_you_mean};

pub use derive::derive;
pub(crate) use derive::{derive_groups, parse_groups};
pub use estimate::{Expected, History, Source as ExpectedFrom};
pub use layout::{Delivery, Layout, Part, PartNeed, Role};
pub use object::{Manifests, Object, ObjectRef};
pub use print::Format;
pub use reads::configuration;
pub use render::unrendered;
pub use schedule::Schedule;

/// The name of a step: stable from run to run, so that times can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// The step of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its name, fit for a file: every other character becomes a hyphen.
    pub fn file_stem(&self) -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
        self.0.chars().map(fit).collect()
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for StepId {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// What a step does. Names are those of the suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum StepKind {
    /// Makes a part of the target, or waits for one.
    Part {
        /// What the target's layout calls it.
        part: String,
        /// What it is to the order of steps.
        role: Role,
    },
    /// Compiles these packages on the host, in one cargo invocation.
    Compile {
        /// In the suite's order.
        packages: Vec<String>,
    },
    /// Builds the stage with the compiled dependencies that all images share.
    Dependencies,
    /// Builds an image.
    Image {
        /// The image's name in the suite.
        image: String,
    },
    /// Brings an image to where pods find it.
    Deliver {
        /// The image's name in the suite.
        image: String,
    },
    /// Applies a group of manifests.
    Apply {
        /// The group's name in the suite.
        manifests: String,
        /// Whether it has nothing but custom resource definitions and namespaces.
        ground: bool,
    },
    /// Waits until a workload is rolled out, or a job complete.
    Ready {
        /// The group that has it.
        manifests: String,
        /// What is waited for.
        workload: ObjectRef,
    },
    /// Asks the specs' program which specs it has, where it is there without being compiled.
    List,
    /// Runs the specs.
    Specs,
}

/// What a step uses up. Each has a number of slots; a step takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Mostly computes.
    Cpu,
    /// Mostly moves bytes.
    Disk,
    /// Mostly waits for others.
    Waiting,
}

impl Resource {
    /// All of them, in the order of their slots.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Disk, Self::Waiting];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Waiting => "waiting",
        }
    }
}

/// How many steps of each resource run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// For [`Resource::Cpu`].
    pub cpu: usize,
    /// For [`Resource::Disk`].
    pub disk: usize,
    /// For [`Resource::Waiting`].
    pub waiting: usize,
}

impl Slots {
    /// For a machine with this many cores.
    pub fn for_cores(cores: usize) -> Self {
        let cores = cores.max(1);
        Self {
            cpu: cores,
            disk: cores.max(2),
            // They sleep most of the time; the limit only keeps the number of threads sane.
            waiting: 32,
        }
    }

    /// As the scheduler wants them.
    pub fn to_vec(self) -> Vec<usize> {
        Resource::ALL.iter().map(|resource| self.of(*resource)).collect()
    }

    /// Those of one resource.
    pub fn of(self, resource: Resource) -> usize {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Disk => self.disk,
            Resource::Waiting => self.waiting,
        }
    }
}

/// What of another step is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// That it has begun.
    Start,
    /// That it has ended well.
    Finish,
}

/// Why a need is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The step reads what the other one makes.
    Read,
    /// The suite's file says so.
    Stated,
    /// Only the schedule wants this order.
    Schedule,
}

/// A step that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The step that is waited for.
    pub step: StepId,
    /// What of it.
    pub on: On,
    /// Why the need is there.
    pub origin: Origin,
    /// What is read, in words.
    pub why: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its stable name.
    pub id: StepId,
    /// What a person calls it.
    pub title: String,
    /// The suite's phases that its time counts for: one, or several for what serves several.
    pub phases: Vec<String>,
    /// What it does.
    pub kind: StepKind,
    /// What it uses up.
    pub resource: Resource,
    /// What it waits for.
    pub needs: Vec<Need>,
    /// How long it should take.
    pub expected: Expected,
    /// How long it may take, in seconds.
    pub deadline_s: f64,
}

/// Where the Rust of a run is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BuildMode {
    /// On this machine; images only copy the binaries.
    Host,
    /// In the Dockerfiles' own build stages.
    Container,
}

impl BuildMode {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Container => "container",
        }
    }
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// The bare target, with what has no pods: custom resource definitions and namespaces.
    Cluster,
    /// Everything deployed and ready.
    Deployed,
    /// The specs as well.
    Specs,
}

/// What is to be done, and what waits for what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The suite's name.
    pub suite: String,
    /// The order that was asked for.
    pub schedule: Schedule,
    /// Where the Rust is compiled.
    pub build: BuildMode,
    /// The suite's phases, in its order.
    pub phases: Vec<String>,
    /// The steps, each behind what it needs.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of a suite whose manifests are below `root`, on a target of this layout. It reads the manifests and nothing else.
    ///
    /// # Errors
    /// A manifest cannot be read or parsed, objects appear twice, or what they read goes in a circle.
    pub fn load(root: &Utf8Path, suite: &Suite, build: BuildMode, layout: &Layout) -> Result<Self, Problems> {
        derive(suite, &read_manifests(root, suite)?, build, layout)
    }

    /// The same steps with `schedule`'s edges on top; edges of an earlier schedule are dropped.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        for step in &mut self.steps {
            step.needs.retain(|need| need.origin != Origin::Schedule);
        }
        schedule::add_edges(&mut self, schedule);
        self.schedule = schedule;
        schedule::put_in_order(&mut self, |at| at);
        self
    }

    /// The same plan with the times of earlier runs wherever there are any.
    #[must_use]
    pub fn with_history(mut self, history: &History) -> Self {
        for step in &mut self.steps {
            if let Some(expected) = history.expected(&step.id) {
                step.expected = expected;
            }
        }
        self
    }

    /// The same plan with this time for compiling, where it is another than in the history: see [`crate::compiled`].
    #[must_use]
    pub fn with_compilation(mut self, expected: Option<Expected>) -> Self {
        if let Some(expected) = expected {
            for step in self.steps.iter_mut().filter(|step| matches!(step.kind, StepKind::Compile { .. })) {
                step.expected = expected;
            }
        }
        self
    }

    /// Without the steps that go further than `extent`. Apply it before a schedule.
    #[must_use]
    pub fn up_to(mut self, extent: Extent) -> Self {
        let kept = |step: &Step| match extent {
            Extent::Specs => true,
            Extent::Deployed => step.kind != StepKind::Specs && !self.serves_only_specs(step),
            Extent::Cluster => step.is_ground(),
        };
        let keep: Vec<bool> = self.steps.iter().map(kept).collect();
        let mut keep = keep.into_iter();
        self.steps.retain(|_| keep.next().unwrap_or(false));
        let left: BTreeSet<StepId> = self.steps.iter().map(|step| step.id.clone()).collect();
        for step in &mut self.steps {
            step.needs.retain(|need| left.contains(&need.step));
        }
        self
    }

    /// The step of this id.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// As the scheduler wants it.
    ///
    /// # Errors
    /// The plan has a circle; those of [`derive`] and [`Plan::with_schedule`] have none.
    pub fn graph(&self) -> Result<scheduling::Graph<StepId>, scheduling::GraphError<StepId>> {
        scheduling::Graph::new(self.steps.iter().map(Step::node).collect())
    }

    /// The place of the step's first phase among the suite's.
    fn phase_index(&self, step: &Step) -> usize {
        let place = |phase: &String| self.phases.iter().position(|other| other == phase);
        step.phases.iter().filter_map(place).min().unwrap_or(self.phases.len())
    }

    fn serves_only_specs(&self, step: &Step) -> bool {
        let is_user = |user: &&Step| user.needs.iter().any(|need| need.step == step.id);
        let mut users = self.steps.iter().filter(is_user).peekable();
        matches!(step.kind, StepKind::Compile { .. } | StepKind::List)
            && users.peek().is_some()
            && users.all(|user| user.kind == StepKind::Specs)
    }
}

impl Step {
    /// Whether it belongs to the bare target: a part of it, or manifests that others live in.
    pub fn is_ground(&self) -> bool {
        matches!(self.kind, StepKind::Part { .. } | StepKind::Apply { ground: true, .. })
    }

    /// What it is to the order of steps, where it is a part of the target.
    pub fn role(&self) -> Option<Role> {
        match self.kind {
            StepKind::Part { role, .. } => Some(role),
            _ => None,
        }
    }

    fn node(&self) -> scheduling::Node<StepId> {
        let needs = self.needs.iter().map(|need| scheduling::Need {
            id: need.step.clone(),
            on: match need.on {
                On::Start => scheduling::On::Start,
                On::Finish => scheduling::On::Finish,
            },
        });
        scheduling::Node {
            id: self.id.clone(),
            // Seconds are positive and far below what milliseconds in 64 bits can hold.
            weight: (self.expected.seconds * 1000.0) as u64,
            late: self.role() == Some(Role::Making),
            resource: self.resource as usize,
            needs: needs.collect(),
        }
    }
}

/// The texts of all manifests of a suite, by path: what kustomize makes of a folder by the folder's. What cannot be
/// rendered because nothing that renders is here yet is left out: [`unrendered`] tells it.
///
/// # Errors
/// Every file that cannot be read and every kustomization that cannot be rendered, at the line of the suite that names
/// it.
pub fn read_manifests(root: &Utf8Path, suite: &Suite) -> Result<BTreeMap<Utf8PathBuf, Source>, Problems> {
    let mut texts = BTreeMap::new();
    let mut problems: Vec<Problem> = Vec::new();
    for (group, manifests) in suite.manifests.iter().enumerate() {
        for (at, file) in manifests.files.iter().enumerate() {
            match Source::read(root, file) {
                Ok(source) => {
                    texts.insert(file.clone(), source);
                }
                Err(problem) => {
                    let path = crate::at!["manifests", group, "files", at];
                    problems.push(unusable(root, suite, &path, file, &problem.message));
                }
            }
        }
    }
    for rendered in render::all(root, suite) {
        match rendered {
            Ok(source) => drop(texts.insert(source.file.clone(), source)),
            Err(problem) => problems.push(problem),
        }
    }
    Problems(problems).into_result().map(|()| texts)
}

/// A file or folder that the suite names at `path` and that cannot be used, for the reason `why`; with the nearest one
/// beside it.
pub(crate) fn unusable(root: &Utf8Path, suite: &Suite, path: &[Segment], file: &Utf8Path, why: &str) -> Problem {
    let near = neighbours(root, file);
    let hint = did_you_mean(file.as_str(), near.iter().map(String::as_str));
    suite.source.problem(path, format!("`{file}`: {why}")).hint(hint)
}

/// The files beside the one that is missing.
pub(crate) fn neighbours(root: &Utf8Path, file: &Utf8Path) -> Vec<String> {
    let folder = file.parent().unwrap_or(Utf8Path::new(""));
    let entries = root.join(folder).read_dir_utf8().into_iter().flatten().flatten();
    entries.map(|entry| folder.join(entry.file_name()).into_string()).collect()
}
