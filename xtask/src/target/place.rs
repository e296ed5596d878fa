//! Which targets there are.

use super::kind::LAYOUT as KIND;
use super::processes::LAYOUT as PROCESSES;
use crate::plan::Layout;

/// A target as the command line names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Place {
    /// A Kind cluster
    #[default]
    Kind,
    /// Plain processes of this machine, beside an API server
    Processes,
}

impl Place {
    /// What it contributes to plans.
    pub fn layout(self) -> &'static Layout {
        match self {
            Place::Kind => &KIND,
            Place::Processes => &PROCESSES,
        }
    }

    /// Whether what a command has made there may outlive it.
    pub fn outlives_commands(self) -> bool {
        self == Place::Kind
    }
}
