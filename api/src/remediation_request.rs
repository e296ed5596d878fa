//! The object and its spec.
#![allow(unreachable_pub, reason = "KubeSchema repeats the public struct inside a function")]
#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a name and a path of its own")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::RemediationRequestStatus;

/// One problem that somebody or something shall remedy. Written once by the gateway; only its status changes afterwards.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubernaut.ai",
    version = "v1alpha1",
    kind = "RemediationRequest",
    plural = "remediationrequests",
    shortname = "rr",
    category = "kubernaut",
    namespaced,
    status = "RemediationRequestStatus",
    derive = "PartialEq",
    selectable = ".spec.signalFingerprint",
    doc = "One problem that somebody or something shall remedy, with the signal that told of it.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.overallPhase"),
    printcolumn(name = "Severity", type_ = "string", json_path = ".spec.severity"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetResource.name"),
    printcolumn(name = "Path", type_ = "string", json_path = ".metadata.labels['kubernaut\\.ai/remediation-path']"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".status.deduplication.occurrenceCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec is immutable after creation"))]
#[serde(rename_all = "camelCase")]
pub struct RemediationRequestSpec {
    /// Hex SHA-256 of `namespace:kind:name` of the top owner of the target: what makes two signals one problem.
    #[schemars(regex(pattern = r"^[a-f0-9]{64}$"), length(max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("signalFingerprint is immutable"))]
    pub signal_fingerprint: String,

    /// The alert's name or the event's reason.
    #[schemars(length(min = 1, max = 253))]
    pub signal_name: String,

    /// How bad it is, as the sender says.
    pub severity: Severity,

    /// Which kind of signal it was.
    pub signal_type: SignalType,

    /// Who sent it, such as `alertmanager` or the component that reported an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub signal_source: Option<String>,

    /// Where the target lives.
    pub target_type: TargetType,

    /// What the signal is about. The fingerprint is made from its top owner, not from it.
    pub target_resource: TargetResource,

    /// When the problem began, as the sender says.
    #[schemars(with = "DateTime")]
    pub firing_time: Timestamp,

    /// When the gateway received the signal.
    #[schemars(with = "DateTime")]
    pub received_time: Timestamp,

    /// The signal's labels, each value cut to 63 bytes on a character boundary.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signal_labels: BTreeMap<String, String>,

    /// The signal's annotations, whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signal_annotations: BTreeMap<String, String>,

    /// The signal as it was received, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_payload: Option<String>,
}

/// How bad a signal says that its problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Service is lost or about to be.
    Critical,
    /// Needs attention, not at once.
    Warning,
    /// For the record.
    Info,
}

impl Severity {
    /// The spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// The kinds of signals that the gateway takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignalType {
    /// An alert of a Prometheus, as its Alertmanager delivers it.
    PrometheusAlert,
    /// A core/v1 Event of type Warning or Error.
    KubernetesEvent,
}

impl SignalType {
    /// The spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusAlert => "prometheus-alert",
            Self::KubernetesEvent => "kubernetes-event",
        }
    }
}

/// Where a target lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    /// An object of the cluster's API.
    Kubernetes,
    /// An AWS resource.
    Aws,
    /// An Azure resource.
    Azure,
    /// A Google Cloud resource.
    Gcp,
    /// Something that Datadog watches.
    Datadog,
}

/// The thing that a signal is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetResource {
    /// As the API spells it: `Pod`, `StatefulSet`; `Unknown` for a signal that names no object.
    #[schemars(length(min = 1, max = 253))]
    pub kind: String,
    /// The object's name; for `Unknown` the signal's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Absent for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub namespace: Option<String>,
    /// Such as `v1` or `apps/v1`; absent where the signal does not tell and the kind is not a built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub api_version: Option<String>,
}

/// Stands for a timestamp in the schema: RFC 3339 text.
#[derive(JsonSchema)]
#[schemars(transparent, extend("format" = "date-time"))]
pub(crate) struct DateTime(#[allow(dead_code, reason = "only its schema is used")] String);
