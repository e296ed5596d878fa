//! Signals as their senders write them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) const PROMETHEUS: &str = "/api/v1/signals/prometheus";
pub(crate) const EVENT: &str = "/api/v1/signals/kubernetes-event";

/// Now, moved by so many seconds.
pub(crate) fn at(offset_seconds: i64) -> String {
    Timestamp::now().checked_add(SignedDuration::from_secs(offset_seconds)).unwrap().to_string()
}

/// A firing alert with these labels and a name.
pub(crate) fn alert(labels: &[(&str, &str)]) -> Value {
    let mut all: serde_json::Map<String, Value> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    all.entry("alertname").or_insert_with(|| json!("HighLoad"));
    json!({"status": "firing", "labels": all, "annotations": {"summary": "it is high"}, "startsAt": at(-60),
           "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "c4b9d2e6a1f07e55"})
}

/// A delivery of these alerts.
pub(crate) fn webhook(alerts: &[Value]) -> Value {
    json!({"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "gateway",
           "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": alerts})
}

/// A delivery of one alert about a Deployment.
pub(crate) fn about_deployment(namespace: &str, name: &str) -> Value {
    webhook(&[alert(&[("namespace", namespace), ("deployment", name), ("severity", "critical")])])
}

/// A Warning about a Pod.
pub(crate) fn pod_event(namespace: &str, pod: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{pod}.1"), "namespace": namespace},
           "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "v1"},
           "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning", "count": 3,
           "source": {"component": "kubelet"}, "reportingComponent": "kubelet",
           "firstTimestamp": at(-200), "lastTimestamp": at(-2), "eventTime": null})
}
