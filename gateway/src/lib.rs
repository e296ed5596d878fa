//! The gateway: takes alerts of an Alertmanager and Kubernetes Events, finds out what they are about, and makes one
//! RemediationRequest for each problem, however often and by however many senders it is told of it.
//!
//! ```text
//! request ─► server (limits, auth, freshness) ─► signal (parse) ─► owner (top owner) ─► remediation (one request) ─► audit
//! ```

pub mod audit;
pub mod build_info;
pub mod config;
pub mod fingerprint;
pub mod freshness;
pub mod logging;
pub mod metrics;
pub mod owner;
pub mod policy;
pub mod priority;
pub mod problem;
pub mod remediation;
pub mod server;
pub mod signal;
pub mod text;

mod pipeline;
mod scope;

pub use config::Config;
pub use server::Gateway;
pub use serving::kubernetes::connect;
