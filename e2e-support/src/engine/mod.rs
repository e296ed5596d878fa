//! Podman and Docker behind one small interface.

mod build;
mod client;
mod containers;
mod find;
mod flavor;
mod images;
mod machine;

pub use build::Build;
pub use client::{Container, Engine};
pub use flavor::{Flavor, NoEngine};
pub use machine::Machine;
