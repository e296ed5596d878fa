//! The object that a signal becomes.

use std::collections::BTreeMap;

use api::{RemediationRequest, RemediationRequestSpec, TargetResource, TargetType, labels};
use jiff::Timestamp;
use serving::text::cut_chars;

use super::{Place, Problem};
use crate::signal::Signal;
use crate::text::{self, LABEL_VALUE_MAX_BYTES, NAME_MAX_CHARS};

/// What follows from where a problem lies.
#[derive(Clone, Debug)]
pub struct Context {
    /// Such as production; `unknown` where nobody says.
    pub environment: String,
    /// P0 to P3.
    pub priority: &'static str,
    /// What the policy answered.
    pub remediation_path: String,
}

pub(super) fn describe(
    signal: &Signal,
    problem: &Problem,
    place: &Place,
    context: &Context,
    name: &str,
    received: Timestamp,
) -> RemediationRequest {
    let mut request = RemediationRequest::new(name, spec(signal, problem, received));
    request.metadata.namespace = Some(place.namespace.clone());
    let mut all = BTreeMap::from([
        (labels::MANAGED_BY, labels::MANAGED_BY_GATEWAY.to_owned()),
        (labels::SIGNAL_TYPE, signal.signal_type.as_str().to_owned()),
        (labels::SIGNAL_FINGERPRINT, problem.fingerprint.label().to_owned()),
        (labels::SEVERITY, signal.severity.as_str().to_owned()),
        (labels::ENVIRONMENT, context.environment.clone()),
        (labels::PRIORITY, context.priority.to_owned()),
        (labels::REMEDIATION_PATH, context.remediation_path.clone()),
    ]);
    if place.is_fallback {
        all.insert(labels::CLUSTER_SCOPED, "true".to_owned());
        all.insert(labels::ORIGIN_NAMESPACE, text::label_value(&signal.target.namespace));
    }
    request.metadata.labels = Some(all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    request
}

fn spec(signal: &Signal, problem: &Problem, received: Timestamp) -> RemediationRequestSpec {
    let name = |text: &str| cut_chars(text, NAME_MAX_CHARS).to_owned();
    let target = &signal.target;
    RemediationRequestSpec {
        signal_fingerprint: problem.fingerprint.to_string(),
        signal_name: name(&signal.name),
        severity: signal.severity,
        signal_type: signal.signal_type,
        signal_source: signal.source.clone(),
        target_type: TargetType::Kubernetes,
        target_resource: TargetResource {
            kind: name(&target.kind),
            name: name(&target.name),
            namespace: Some(name(&target.namespace)).filter(|namespace| !namespace.is_empty()),
            api_version: target.api_version.as_deref().map(name),
        },
        firing_time: signal.firing_time.unwrap_or(received),
        received_time: received,
        signal_labels: signal
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), text::cut_bytes(value, LABEL_VALUE_MAX_BYTES).to_owned()))
            .collect(),
        signal_annotations: signal.annotations.clone(),
        original_payload: Some(signal.payload.clone()),
    }
}
