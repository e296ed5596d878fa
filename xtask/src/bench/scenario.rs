//! What is there before each run, and what is not.

use serde::{Deserialize, Serialize};

use crate::target::place::Place;

/// The state that every run of a bench begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// No images or layers of the services, no compiled dependencies, no cluster
    Cold,
    /// One changed line; dependencies are compiled, there is no cluster
    Edit,
    /// Nothing has changed, all images are built; there is no cluster
    Unchanged,
    /// One changed line on a cluster where everything is deployed
    Reuse,
    /// One changed line; everything runs as plain processes, which are started anew
    Processes,
}

impl Scenario {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Edit => "edit",
            Self::Unchanged => "unchanged",
            Self::Reuse => "reuse",
            Self::Processes => "processes",
        }
    }

    /// In a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Cold => "no images or layers of the services, no compiled dependencies, no cluster",
            Self::Edit => "one changed line; dependencies are compiled, there is no cluster",
            Self::Unchanged => "nothing has changed and all images are built; there is no cluster",
            Self::Reuse => "one changed line on a cluster where everything is deployed",
            Self::Processes => "one changed line; everything runs as plain processes, which are started anew",
        }
    }

    /// Whether a line is changed before each run.
    pub fn edits(self) -> bool {
        matches!(self, Self::Edit | Self::Reuse | Self::Processes)
    }

    /// Where the suite runs.
    pub fn place(self) -> Place {
        match self {
            Self::Processes => Place::Processes,
            Self::Cold | Self::Edit | Self::Unchanged | Self::Reuse => Place::Kind,
        }
    }

    /// Why a script has no place in it; nothing where it has one.
    pub fn without_script(self) -> Option<&'static str> {
        match self {
            Self::Reuse => Some("a script begins with a new cluster"),
            Self::Processes => Some("a script deploys on a cluster"),
            Self::Cold | Self::Edit | Self::Unchanged => None,
        }
    }
}
