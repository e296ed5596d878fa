//! What a plan is made of: steps, what they do and use up, and what they wait for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ObjectRef, Plan, Role};
use crate::schedule as scheduling;

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

    /// The name under which the times of a milestone of this step are kept and shown.
    pub fn milestone(&self, name: &str) -> Self {
        Self(format!("{self}/{name}"))
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

/// An expected time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// How long.
    pub seconds: f64,
    /// How it is known.
    pub source: ExpectedFrom,
}

/// How an expected time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedFrom {
    /// The median of this many earlier runs.
    Measured(u32),
    /// The suite's file says so.
    Suite,
    /// So many packages are not compiled yet.
    Packages(u32),
    /// What such a step takes on a small machine.
    Default,
}

impl fmt::Display for ExpectedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(1) => f.write_str("measured in 1 run"),
            Self::Measured(runs) => write!(f, "measured in {runs} runs"),
            Self::Packages(1) => f.write_str("for 1 package that is not compiled yet"),
            Self::Packages(count) => write!(f, "for {count} packages that are not compiled yet"),
            Self::Suite => f.write_str("the suite's estimate"),
            Self::Default => f.write_str("a default"),
        }
    }
}

/// What of another step is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// That it has told of its milestone of this name, or has ended well.
    Milestone(String),
    /// That it has ended well.
    Finish,
}

/// Something that a step reaches before it ends, and that others wait for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Milestone {
    /// Its name, unique in its step.
    pub name: String,
    /// What a person calls it.
    pub title: String,
    /// How long it should take from the step's begin.
    pub expected: Expected,
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

impl Need {
    /// The step, or its milestone: what is waited for, as it is shown.
    pub fn what(&self) -> StepId {
        match &self.on {
            On::Milestone(name) => self.step.milestone(name),
            On::Finish => self.step.clone(),
        }
    }
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
    /// What it tells of before its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<Milestone>,
    /// How long it may take, in seconds.
    pub deadline_s: f64,
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

    /// The number of its milestone of this name.
    pub fn place_of(&self, milestone: &str) -> Option<usize> {
        self.milestones.iter().position(|other| other.name == milestone)
    }

    /// How long it should take until what a need for it waits for, in seconds.
    pub fn expected_until_s(&self, on: &On) -> f64 {
        let milestone = match on {
            On::Milestone(name) => self.place_of(name).map(|place| &self.milestones[place].expected),
            On::Finish => None,
        };
        milestone.unwrap_or(&self.expected).seconds
    }

    pub(super) fn node(&self, plan: &Plan) -> scheduling::Node<StepId> {
        let needs = self.needs.iter().map(|need| scheduling::Need {
            id: need.step.clone(),
            on: match &need.on {
                // One that there is not is refused with the graph.
                On::Milestone(name) => scheduling::On::Milestone(
                    plan.step(&need.step).and_then(|step| step.place_of(name)).unwrap_or(usize::MAX),
                ),
                On::Finish => scheduling::On::Finish,
            },
        });
        // Seconds are positive and far below what milliseconds in 64 bits can hold.
        let millis = |expected: &Expected| (expected.seconds * 1000.0) as u64;
        scheduling::Node {
            id: self.id.clone(),
            weight: millis(&self.expected),
            milestones: self.milestones.iter().map(|milestone| millis(&milestone.expected)).collect(),
            late: self.role() == Some(Role::Making),
            resource: self.resource as usize,
            needs: needs.collect(),
        }
    }
}
