//! Runs a graph of steps: what is ready runs as soon as there is a slot for it, the longest way to the end first.
//!
//! It knows nothing of suites, clusters or commands. Steps are an id, a weight, a resource and needs; the work
//! itself arrives as a closure. [`Queue`] decides and is pure; [`run`] has the threads.

mod graph;
mod queue;
mod runner;
#[cfg(test)]
mod tests;

pub use graph::{Graph, GraphError, Need, Node, On};
pub use queue::Queue;
pub use runner::{Cancellation, Change, Context, End, OnFailure, Options, SkipCause, run};
