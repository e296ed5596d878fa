//! Errors that tell whose they are: exit codes follow from them.

use std::fmt;

/// What was asked for does not exist or cannot be: a mistake of who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongUsage(pub String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// The context of an error that kept a run from its first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetUpFailed;

impl fmt::Display for SetUpFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the set-up failed")
    }
}
