//! Signals as their real senders spell them: Alertmanager's webhook, version 4, and a core/v1 Event.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// What Alertmanager writes into `endsAt` of an alert that still fires.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One alert of a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    status: &'static str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Option<Timestamp>,
}

impl Alert {
    /// A critical alert that began to fire just now.
    pub(crate) fn new(name: &str) -> Alert {
        Alert::nameless().label("alertname", name)
    }

    /// A critical alert without a name.
    pub(crate) fn nameless() -> Alert {
        Alert {
            status: "firing",
            labels: BTreeMap::from([("severity".to_owned(), "critical".to_owned())]),
            annotations: BTreeMap::from([("summary".to_owned(), "made by a spec".to_owned())]),
            starts_at: Some(Timestamp::now()),
        }
    }

    /// An alert about a pod: what most specs need.
    pub(crate) fn about_pod(namespace: &str, pod: &str) -> Alert {
        Alert::new("HighMemoryUsage").label("namespace", namespace).label("pod", pod)
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Alert {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without_label(mut self, key: &str) -> Alert {
        self.labels.remove(key);
        self
    }

    pub(crate) fn severity(self, severity: &str) -> Alert {
        self.label("severity", severity)
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Alert {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Began to fire that long from now: negative durations lie in the past.
    pub(crate) fn starting_in(mut self, from_now: SignedDuration) -> Alert {
        self.starts_at = Some(Timestamp::now() + from_now);
        self
    }

    pub(crate) fn starting_at(mut self, time: Timestamp) -> Alert {
        self.starts_at = Some(time);
        self
    }

    pub(crate) fn without_start(mut self) -> Alert {
        self.starts_at = None;
        self
    }

    pub(crate) fn resolved(mut self) -> Alert {
        self.status = "resolved";
        self
    }

    fn to_json(&self) -> Value {
        let ends_at = if self.status == "resolved" { Timestamp::now().to_string() } else { NEVER.to_owned() };
        let mut alert = json!({
            "status": self.status,
            "labels": self.labels,
            "annotations": self.annotations,
            "endsAt": ends_at,
            "generatorURL": "http://prometheus.example/graph?g0.expr=up",
            "fingerprint": "c1a2b3c4d5e6f708",
        });
        if let Some(time) = self.starts_at {
            alert["startsAt"] = json!(time.to_string());
        }
        alert
    }
}

/// The webhook with these alerts.
pub(crate) fn webhook(alerts: &[Alert]) -> Value {
    webhook_with_common_labels(alerts, &[])
}

/// The webhook with these alerts and with labels that are common to all of them.
pub(crate) fn webhook_with_common_labels(alerts: &[Alert], common: &[(&str, &str)]) -> Value {
    let common: BTreeMap<_, _> = common.iter().copied().collect();
    json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"HighMemoryUsage\"}",
        "truncatedAlerts": 0,
        "status": if alerts.iter().all(|alert| alert.status == "resolved") { "resolved" } else { "firing" },
        "receiver": "kubernaut",
        "groupLabels": {},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": alerts.iter().map(Alert::to_json).collect::<Vec<_>>(),
    })
}

/// A Warning event about an object, as client-go's recorder writes it: last seen just now, null where a time is not
/// set, empty text where a name is not.
pub(crate) fn event(namespace: &str, kind: &str, name: &str, reason: &str) -> Value {
    let now = whole_seconds(Timestamp::now());
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{name}.17c2f0a1b2c3d4e5"), "namespace": namespace, "creationTimestamp": now},
        "involvedObject": {
            "apiVersion": "v1", "kind": kind, "name": name, "namespace": namespace,
            "uid": "5f0c1c52-3f5e-4a53-9a55-3b3e7e3f5a10", "resourceVersion": "4711",
        },
        "reason": reason,
        "message": "made by a spec",
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": "Warning",
        "eventTime": null,
        "reportingComponent": "kubelet",
        "reportingInstance": "node-1",
    })
}

/// RFC 3339 without fractions, as `metav1.Time` is written.
pub(crate) fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_looks_like_alertmanagers() {
        let start: Timestamp = "2025-12-01T09:30:00.25Z".parse().unwrap();
        let alert = Alert::about_pod("shop", "checkout-1").severity("info").starting_at(start);
        let body = webhook(&[alert.clone(), alert.resolved()]);
        assert_eq!(body["version"], "4");
        assert_eq!(body["status"], "firing");
        let first = &body["alerts"][0];
        assert_eq!(
            first["labels"],
            json!({"alertname": "HighMemoryUsage", "namespace": "shop", "pod": "checkout-1", "severity": "info"})
        );
        assert_eq!(first["startsAt"], "2025-12-01T09:30:00.25Z");
        assert_eq!(first["endsAt"], NEVER);
        assert_eq!(body["alerts"][1]["status"], "resolved");
        assert_ne!(body["alerts"][1]["endsAt"], NEVER);
    }

    #[test]
    fn kubernetes_times_have_no_fraction() {
        assert_eq!(whole_seconds("2025-12-01T09:30:00.999Z".parse().unwrap()), "2025-12-01T09:30:00Z");
    }
}
