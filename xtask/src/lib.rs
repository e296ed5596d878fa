//! The tasks of this workspace.

pub mod commands;
pub mod events;
pub mod plan;
pub mod schedule;
pub mod suite;
