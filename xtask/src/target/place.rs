//! Which targets there are.

use clap::builder::{PossibleValue, TypedValueParser, ValueParserFactory};
use clap::error::ErrorKind;

use super::existing::LAYOUT as EXISTING;
use super::kind::LAYOUT as KIND;
use super::processes::LAYOUT as PROCESSES;
use crate::plan::Layout;

/// How a context is named on the command line.
const CONTEXT: &str = "context:";

/// A target as the command line names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// A Kind cluster.
    #[default]
    Kind,
    /// Plain processes of this machine, beside an API server.
    Processes,
    /// A cluster that is there: the one of this context of the user's kubeconfig.
    Existing(String),
}

impl Place {
    /// What it contributes to plans.
    pub fn layout(&self) -> &'static Layout {
        match self {
            Place::Kind => &KIND,
            Place::Processes => &PROCESSES,
            Place::Existing(_) => &EXISTING,
        }
    }

    /// Whether what a command has made there may outlive it.
    pub fn outlives_commands(&self) -> bool {
        *self != Place::Processes
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Kind => f.write_str("kind"),
            Place::Processes => f.write_str("processes"),
            Place::Existing(name) => write!(f, "{CONTEXT}{name}"),
        }
    }
}

/// Reads a target from the command line.
#[derive(Clone, Debug)]
pub struct Parser;

impl ValueParserFactory for Place {
    type Parser = Parser;

    fn value_parser() -> Parser {
        Parser
    }
}

impl TypedValueParser for Parser {
    type Value = Place;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Place, clap::Error> {
        match value.to_str().unwrap_or_default() {
            "kind" => Ok(Place::Kind),
            "processes" => Ok(Place::Processes),
            text => match text.strip_prefix(CONTEXT).filter(|name| !name.is_empty()) {
                Some(name) => Ok(Place::Existing(name.to_owned())),
                None => {
                    let message = format!("--on {text}: there are kind, processes and {CONTEXT}NAME\n");
                    Err(clap::Error::raw(ErrorKind::InvalidValue, message).with_cmd(command))
                }
            },
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = [
            PossibleValue::new("kind").help("A Kind cluster"),
            PossibleValue::new("processes").help("Plain processes of this machine, beside an API server"),
            PossibleValue::new("context:").help("The cluster of the context NAME of your kubeconfig: context:NAME"),
        ];
        Some(Box::new(values.into_iter()))
    }
}
