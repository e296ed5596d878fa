//! The commands, one file each: its arguments, whose comments are its help, and what it does.

pub mod plan;
