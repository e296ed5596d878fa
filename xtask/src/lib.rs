//! The tasks of this workspace.

// In place of std's, which panic where the terminal is closed or the reader has gone: see `output`.
macro_rules! print {
    ($($text:tt)*) => { $crate::output::out(format_args!($($text)*)) };
}
macro_rules! println {
    () => { $crate::output::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::out(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! eprint {
    ($($text:tt)*) => { $crate::output::err(format_args!($($text)*)) };
}
macro_rules! eprintln {
    () => { $crate::output::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::err(format_args!("{}\n", format_args!($($text)*))) };
}

pub mod bench;
pub mod build_mode;
pub mod called;
pub mod cargo_lock;
pub mod check;
pub mod commands;
pub mod compiled;
pub mod disk;
pub mod dockerfile;
pub mod drive;
pub mod environment;
pub mod error;
pub mod events;
pub mod evidence;
pub mod execute;
pub mod exit;
pub mod hash;
pub mod image_name;
pub mod instance;
mod kubernetes;
mod kustomize;
pub mod lab;
pub mod leftovers;
pub mod machine;
pub mod output;
pub mod paths;
pub mod plan;
pub mod provision;
mod random;
pub mod report;
pub mod schedule;
pub mod setup;
pub mod shards;
pub mod steps;
pub mod suite;
pub mod target;
pub mod trials;
