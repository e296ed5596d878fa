//! What the tasks and the tests need of the outside: child processes ([`process`]), the container
//! engine ([`engine`], [`network`]), [`kind`] and [`kubectl`], each behind one small interface, and why a node does not
//! come ([`diagnosis`]).

mod builds;
pub mod cancel;
pub mod clock;
pub mod diagnosis;
pub mod engine;
pub mod inotify;
pub mod kind;
pub mod kubectl;
pub mod load;
pub mod meter;
pub mod network;
pub mod process;
pub mod pull;
mod reaper;
mod rootless;
pub mod signals;
mod surroundings;

pub use cancel::Cancel;
pub use meter::Meter;
pub use process::{Daemon, Ended, Finished, Job, ProcessError};
