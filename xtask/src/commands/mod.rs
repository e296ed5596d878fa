//! The commands, one file each: its arguments, whose comments are its help, and what it does.

pub mod bench_setup;
pub mod check;
pub mod ci;
pub mod completions;
pub mod crds;
pub mod down;
pub mod e2e;
pub mod gc;
pub mod lab;
pub mod logs;
pub mod merge;
pub mod plan;
pub mod schema;
pub mod setup;
pub mod status;
pub mod test;
pub mod times;
pub mod trials;
pub mod up;
