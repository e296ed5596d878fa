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
mod step;
#[cfg(test)]
mod tests;
pub(crate) mod webhook;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::schedule as scheduling;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Problems, Segment, Source, did_you_mean};

pub use derive::derive;
pub(crate) use derive::{derive_groups, parse_groups};
pub use estimate::History;
pub use layout::{Delivery, Layout, Part, PartMilestone, PartNeed, Role};
pub use object::{Manifests, Object, ObjectRef};
pub use print::Format;
pub use reads::configuration;
pub use render::unrendered;
pub use schedule::Schedule;
pub use step::{Expected, ExpectedFrom, Milestone, Need, On, Origin, Resource, Step, StepId, StepKind};

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
            for milestone in &mut step.milestones {
                if let Some(expected) = history.expected(&step.id.milestone(&milestone.name)) {
                    milestone.expected = expected;
                }
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
        scheduling::Graph::new(self.steps.iter().map(|step| step.node(self)).collect())
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
