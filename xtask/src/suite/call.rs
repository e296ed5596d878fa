//! What is asked of an API server.

use serde::Deserialize;

/// Requests to the API server.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// As roles name them: `get`, `create`.
    pub verbs: Vec<String>,
    /// The resource with its group, as kubectl writes it: `pods`, `deployments.apps`, `gears.example.com/status`.
    pub resource: String,
    /// The namespace that it is asked in; all of them where none is named.
    pub namespace: Option<String>,
}
