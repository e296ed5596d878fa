//! What the HTTP sides of both services have in common: listeners whose connections are bounded, bodies, metrics in both
//! of their forms, and authentication by the API server.

pub mod auth;
pub mod body;
mod host;
pub mod kubernetes;
mod linger;
pub mod listen;
pub mod metrics;
mod process_metrics;
mod refusal;
pub mod text;

pub use host::has_one_host;
pub use linger::linger;
pub use process_metrics::ProcessMetrics;
