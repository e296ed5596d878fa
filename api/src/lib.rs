//! `kubernaut.ai/v1alpha1` RemediationRequest: what the gateway writes and the remediation controllers read.
//!
//! The Rust types are the source; `manifests/crds/` is generated from them by the `crds` binary.

mod remediation_request;
mod status;

pub use remediation_request::{
    RemediationRequest, RemediationRequestSpec, Severity, SignalType, TargetResource, TargetType,
};
pub use status::{Deduplication, Phase, RemediationRequestStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Field selector key under which the API server finds RemediationRequests of one problem.
pub const FINGERPRINT_FIELD: &str = "spec.signalFingerprint";

/// Label keys of a RemediationRequest.
pub mod labels {
    /// Always [`MANAGED_BY_GATEWAY`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Value of [`MANAGED_BY`].
    pub const MANAGED_BY_GATEWAY: &str = "gateway-service";
    /// The signal type, as in `spec.signalType`.
    pub const SIGNAL_TYPE: &str = "kubernaut.ai/signal-type";
    /// The first 63 characters of the fingerprint: a label value holds no more.
    pub const SIGNAL_FINGERPRINT: &str = "kubernaut.ai/signal-fingerprint";
    /// The severity, as in `spec.severity`.
    pub const SEVERITY: &str = "kubernaut.ai/severity";
    /// On a Namespace: where it belongs (production, staging, development). On a RemediationRequest: the same, or `unknown`.
    pub const ENVIRONMENT: &str = "kubernaut.ai/environment";
    /// P0 to P3.
    pub const PRIORITY: &str = "kubernaut.ai/priority";
    /// What the Rego policy answered: aggressive, moderate, conservative, manual.
    pub const REMEDIATION_PATH: &str = "kubernaut.ai/remediation-path";
    /// The namespace that the signal named, on a request that had to go to the gateway's own namespace.
    pub const ORIGIN_NAMESPACE: &str = "kubernaut.ai/origin-namespace";
    /// `true` on a request that lies in the gateway's namespace because its target's namespace is none or does not exist.
    pub const CLUSTER_SCOPED: &str = "kubernaut.ai/cluster-scoped";
}

/// The generated definitions, each with the name of its file under `manifests/crds/`.
pub fn custom_resource_definitions() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![("kubernaut.ai_remediationrequests.yaml", RemediationRequest::crd())]
}
