//! The events that the gateway tells of.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use serving::text::cut_chars;
use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::signal::Signal;
use crate::text;

/// What an event takes without the signal.
const FRAME_BYTES: usize = 2 * 1024;

/// An event as datastorage takes it.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    event_id: Uuid,
    version: &'static str,
    event_type: &'static str,
    event_timestamp: Timestamp,
    event_category: &'static str,
    event_action: &'static str,
    event_outcome: &'static str,
    correlation_id: String,
    actor_type: &'static str,
    actor_id: &'static str,
    resource_type: &'static str,
    resource_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    severity: &'static str,
    event_data: Value,
    #[serde(skip)]
    bytes: usize,
}

/// What an event is about: a signal and the request that it led to.
pub struct Subject<'a> {
    /// The signal.
    pub signal: &'a Signal,
    /// Its fingerprint.
    pub fingerprint: &'a Fingerprint,
    /// The request's name.
    pub request_name: String,
    /// The request's namespace.
    pub request_namespace: String,
}

impl Event {
    /// A signal was taken that nothing was known of. It goes along as it came, so that what became of it can be made
    /// again from the audit alone.
    pub fn received(subject: &Subject<'_>) -> Self {
        let more = json!({
            "original_payload": subject.signal.payload,
            "labels": subject.signal.labels,
            "signal_source": subject.signal.source,
        });
        let mut event = Self::new("gateway.signal.received", "received", "success", subject, more);
        let labels: usize = subject.signal.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        // Twice: quotes in it are escaped on the wire.
        event.bytes += 2 * (subject.signal.payload.len() + labels);
        event
    }

    /// About how much memory it takes, in bytes, and more than it has on the wire.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A signal was taken whose problem has `occurrence_count` signals by now.
    pub fn deduplicated(subject: &Subject<'_>, occurrence_count: i64) -> Self {
        let more = json!({ "occurrence_count": occurrence_count });
        Self::new("gateway.signal.deduplicated", "deduplicated", "success", subject, more)
    }

    /// A request was created.
    pub fn created(subject: &Subject<'_>, environment: &str, priority: &str, remediation_path: &str) -> Self {
        let more = json!({ "environment": environment, "priority": priority, "remediation_path": remediation_path });
        Self::new("gateway.crd.created", "created", "success", subject, more)
    }

    /// A request could not be created; `error_type` as in the metrics.
    pub fn failed(subject: &Subject<'_>, error_type: &str) -> Self {
        Self::new("gateway.crd.failed", "create", "failure", subject, json!({ "error_type": error_type }))
    }

    fn new(
        event_type: &'static str,
        event_action: &'static str,
        event_outcome: &'static str,
        subject: &Subject<'_>,
        more: Value,
    ) -> Self {
        let Subject { signal, fingerprint, request_name, request_namespace } = subject;
        let mut event_data = json!({
            "signal_name": cut_chars(&signal.name, text::NAME_MAX_CHARS),
            "signal_type": signal.signal_type.as_str(),
            "fingerprint": fingerprint.as_str(),
            "remediation_request": format!("{request_namespace}/{request_name}"),
            "target": {
                "kind": cut_chars(&signal.target.kind, text::NAME_MAX_CHARS),
                "name": cut_chars(&signal.target.name, text::NAME_MAX_CHARS),
                "namespace": cut_chars(&signal.target.namespace, text::NAME_MAX_CHARS),
            },
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut event_data, more) {
            all.extend(more);
        }
        Self {
            event_id: Uuid::new_v4(),
            version: "1.0",
            event_type,
            event_timestamp: Timestamp::now(),
            event_category: "gateway",
            event_action,
            event_outcome,
            correlation_id: request_name.clone(),
            actor_type: "service",
            actor_id: "gateway",
            resource_type: "RemediationRequest",
            resource_id: request_name.clone(),
            namespace: request_namespace.clone(),
            severity: signal.severity.as_str(),
            event_data,
            bytes: FRAME_BYTES,
        }
    }
}
