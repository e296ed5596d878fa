//! The set-up of a cluster as a shell script commonly does it. Only here to be compared with.

mod plan;
mod steps;

pub use plan::as_script;
pub(super) use steps::carry_out;
