//! The tasks of this workspace.

pub mod bench;
pub mod build_mode;
pub mod check;
pub mod cluster;
pub mod commands;
pub mod compiled;
pub mod disk;
pub mod dockerfile;
pub mod drive;
pub mod environment;
pub mod events;
pub mod evidence;
pub mod exit;
pub mod instance;
pub mod leftovers;
pub mod machine;
pub mod paths;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod setup;
pub mod site;
pub mod steps;
pub mod suite;
