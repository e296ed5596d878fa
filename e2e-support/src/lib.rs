//! What the tasks and the tests need of the outside: child processes ([`process`]), the container
//! engine ([`engine`], [`network`]), [`kind`] and [`kubectl`], each behind one small interface, an API server without a
//! cluster ([`control_plane`]), and why a node does not come ([`diagnosis`]).

mod builds;
pub mod cancel;
pub mod clock;
pub mod control_plane;
pub mod diagnosis;
pub mod engine;
pub mod inotify;
pub mod kind;
pub mod kubectl;
pub mod load;
pub mod meter;
pub mod network;
pub mod ports;
pub mod process;
pub mod pull;
mod reaper;
mod rootless;
pub mod signals;
mod surroundings;
pub mod users;

pub use cancel::Cancel;
pub use meter::Meter;
pub use process::{Daemon, Ended, Finished, Job, ProcessError};
