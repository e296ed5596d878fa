//! What happens in a run, as a list of events: the only thing between the runner and everything that reports.

pub mod folder;
pub mod history;
mod reader;
mod recorder;
mod stop;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Slots, StepId};
use crate::shards::{Partition, Split};

pub use folder::{RunFolder, Runs, SuiteLock};
pub use reader::{Follower, Liveness, read};
pub use recorder::{Recorder, Reporter, RunInfo};
pub use stop::Stop;
pub use timeline::{MachineState, SpecState, SpecStatus, StepState, StepStatus, Timeline};

/// The version of this list of events; a reader refuses newer ones.
pub const SCHEMA: u32 = 7;

/// The fact of a step that found its work done.
pub const ALREADY_THERE: &str = "already there";
/// The fact of a step that took another time than it usually does.
pub const UNUSUAL: &str = "unusual";
/// The fact with the command lines of a step's children, sorted, each once and on a line of its own.
pub const COMMANDS: &str = "commands";

/// How facts begin that tell how often a step asks for something.
pub const POLLS: &str = "asks for";

/// The error of a step for which the specs are to blame, and not what they run on; with what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecsFailed(pub String);

impl std::fmt::Display for SpecsFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecsFailed {}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds since the run began, by a clock that never goes back and stands still while the run is
    /// stopped, as by Ctrl-Z.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The first event of every run.
    RunStarted(Box<RunStarted>),
    /// All needs of the step are met.
    StepReady {
        /// Which step.
        step: StepId,
    },
    /// The step has a slot and runs.
    StepStarted {
        /// Which step.
        step: StepId,
    },
    /// The step has reached a milestone. Since schema 7.
    StepReached {
        /// Which step.
        step: StepId,
        /// The milestone's name.
        milestone: String,
    },
    /// The step tells where it is.
    StepProgress {
        /// Which step.
        step: StepId,
        /// One line.
        note: String,
    },
    /// Something about the step that stays true: a command, a polling interval, a hash of what went in.
    StepFact {
        /// Which step.
        step: StepId,
        /// What the fact is about.
        key: String,
        /// The fact.
        value: String,
    },
    /// The step ended well.
    StepFinished {
        /// Which step.
        step: StepId,
        /// What it used.
        #[serde(flatten)]
        usage: Usage,
    },
    /// The step ended with an error.
    StepFailed {
        /// Which step.
        step: StepId,
        /// The whole chain of causes, the first line being the shortest.
        error: String,
        /// What it used.
        #[serde(flatten)]
        usage: Usage,
    },
    /// The step never began.
    StepSkipped {
        /// Which step.
        step: StepId,
        /// The step that failed; none where the run was cancelled.
        because: Option<StepId>,
        /// Why, in words.
        reason: String,
    },
    /// The step was told to stop while it ran.
    StepCancelled {
        /// Which step.
        step: StepId,
        /// What it came back with.
        error: String,
        /// What it used.
        #[serde(flatten)]
        usage: Usage,
    },
    /// How the specs are split, in a run of one shard of them. Since schema 5.
    SpecsSplit(Split),
    /// The specs that are going to run.
    SpecsListed {
        /// Their names.
        specs: Vec<String>,
        /// Those that run alone. Since schema 5.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        alone: Vec<String>,
    },
    /// A spec runs.
    SpecStarted {
        /// Its name.
        spec: String,
    },
    /// A spec has passed; with more than one attempt it is flaky.
    SpecPassed {
        /// Its name.
        spec: String,
        /// How often it ran.
        attempts: u32,
    },
    /// A spec has failed in its last attempt.
    SpecFailed {
        /// Its name.
        spec: String,
        /// The message, then the details.
        error: String,
        /// How often it ran.
        attempts: u32,
    },
    /// A spec that was listed did not come to an end, although the specs' program did. Since schema 4.
    SpecUnfinished {
        /// Its name.
        spec: String,
        /// What became of the program.
        reason: String,
        /// How often it began.
        attempts: u32,
    },
    /// A spec was left out by a filter or a mark.
    SpecIgnored {
        /// Its name.
        spec: String,
    },
    /// What the whole machine, with everything else on it, has used so far. Since schema 2.
    MachineUsed {
        /// CPU time since the first such event of the run, in seconds, over all cores.
        cpu_s: f64,
        /// Memory in use at this moment, in bytes.
        memory_bytes: u64,
    },
    /// A line about the run as a whole.
    Note {
        /// The line.
        text: String,
    },
    /// The last event of every run that was not killed.
    RunFinished {
        /// How it ended.
        result: RunResult,
        /// The first line of the reason; empty where all is well.
        reason: String,
    },
}

/// What a step's children used, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// Bytes moved into the node.
    pub bytes: u64,
    /// The largest resident size of any child, in bytes; 0 where unknown.
    pub peak_rss_bytes: u64,
}

/// What a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// The run's name: that of its folder.
    pub run: String,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// The command line, without the program.
    pub command: Vec<String>,
    /// The shard that it is; none where it is a whole run. Since schema 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// What is to be done.
    pub plan: Plan,
    /// How many steps of each kind run at a time.
    pub slots: Slots,
    /// The cores of the machine.
    pub cores: usize,
    /// The process that writes this.
    pub pid: u32,
    /// Versions, hardware, stand-ins: whatever may matter to who reads the times.
    pub environment: BTreeMap<String, String>,
}

impl RunStarted {
    /// The suite, and the shard of it that this is.
    pub fn subject(&self) -> String {
        let suite = &self.plan.suite;
        self.partition.map_or_else(|| suite.clone(), |partition| format!("{suite}, shard {partition}"))
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// Everything ended well.
    Passed,
    /// Every step of the set-up ended well, a spec did not, or the specs' program is not as it should be.
    SpecsFailed,
    /// A step of the set-up did not end well.
    SetupFailed,
    /// Someone stopped it.
    Interrupted,
    /// What was asked for does not exist: a filter lets no spec through. Since schema 4.
    WrongUsage,
}

impl RunResult {
    /// As a person says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::SpecsFailed => "specs failed",
            Self::SetupFailed => "set-up failed",
            Self::Interrupted => "interrupted",
            Self::WrongUsage => "wrong usage",
        }
    }
}
