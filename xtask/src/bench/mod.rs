//! Compares schedules on the same work: who runs when follows from a seed, each run begins with the same state, and
//! what the numbers do not show is not said.
//!
//! [`Bench`] runs; a [`Comparison`] follows from the runs alone, and the reports from both.

mod clock;
pub mod compare;
pub mod contender;
mod copy;
pub mod document;
mod html;
mod markdown;
pub mod measure;
mod order;
mod prepare;
pub mod report;
mod run;
pub mod scenario;
mod shown;
pub mod state;
pub mod stats;
mod tables;
#[cfg(test)]
mod tests;
mod void;

pub use compare::{Comparison, compare};
pub use contender::{Contender, Order, Slowed, contenders};
pub use copy::Copy;
pub use measure::Run;
pub use report::{Reports, write};
pub use run::Bench;
pub use scenario::Scenario;
pub use state::{SCHEMA, Settings, State, look};
