//! What all reports of a bench are made of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::Comparison;
use super::measure::Run;
use super::state::Settings;

/// All that the reports are made of; written as it is to the JSON file.
#[derive(Debug, Serialize)]
pub struct Document {
    /// [`super::state::SCHEMA`].
    pub schema: u32,
    pub settings: Settings,
    /// How many rounds were asked for.
    pub rounds: u32,
    /// The machine and the tools.
    pub environment: BTreeMap<String, String>,
    /// The suite's phases in its order, each with what somebody once thought that it would take.
    pub phases: Vec<Estimate>,
    pub comparison: Comparison,
    /// Every run, also those that warmed up or failed, in the order in which they ran.
    pub runs: Vec<Run>,
}

/// A phase and the guess of its time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    pub phase: String,
    /// None where nobody guessed.
    pub estimate_s: Option<f64>,
}
