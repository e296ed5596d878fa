//! Alertmanager's webhook, version 4.

use std::collections::BTreeMap;

use api::{Severity, SignalType};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Signal, Target, Unusable, null_is_default, set_time};

const SOURCE: &str = "alertmanager";

/// The parts of a delivery that matter here. Alertmanager sends more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    status: String,
    #[serde(default, deserialize_with = "null_is_default")]
    common_labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    common_annotations: BTreeMap<String, String>,
    #[serde(default, borrow, deserialize_with = "null_is_default")]
    alerts: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    #[serde(default, deserialize_with = "null_is_default")]
    status: String,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "set_time")]
    starts_at: Option<Timestamp>,
}

/// What one alert of a delivery turned out to be.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A problem.
    Firing(Box<Signal>),
    /// The end of one, which is none of the gateway's business.
    Resolved,
    /// Not usable, for this reason.
    Invalid(String),
}

/// A delivery.
#[derive(Debug, PartialEq)]
pub struct Delivery {
    /// Its alerts, in their order; at least one.
    pub items: Vec<Item>,
    /// The newest `startsAt` of them all.
    pub newest_start: Option<Timestamp>,
}

/// Reads a delivery.
///
/// # Errors
/// When it is not JSON, not a webhook, or without an alert. One bad alert among others is an
/// [`Item::Invalid`].
pub fn parse(body: &[u8]) -> Result<Delivery, Unusable> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Unusable::Malformed("the body is empty".to_owned()));
    }
    let webhook: Webhook<'_> = serde_json::from_slice(body)
        .map_err(|error| Unusable::Malformed(format!("not an Alertmanager webhook: {error}")))?;
    if webhook.alerts.is_empty() {
        return Err(Unusable::Malformed("the webhook holds no alerts".to_owned()));
    }
    let mut newest_start = None;
    let items = webhook.alerts.iter().map(|raw| read_alert(&webhook, raw, &mut newest_start)).collect();
    Ok(Delivery { items, newest_start })
}

fn read_alert(webhook: &Webhook<'_>, raw: &RawValue, newest_start: &mut Option<Timestamp>) -> Item {
    let alert: Alert = match serde_json::from_str(raw.get()) {
        Ok(alert) => alert,
        Err(error) => return Item::Invalid(format!("not an alert: {error}")),
    };
    *newest_start = (*newest_start).max(alert.starts_at);
    let status = if alert.status.is_empty() { &webhook.status } else { &alert.status };
    if status == "resolved" {
        return Item::Resolved;
    }
    let labels = overlay(&webhook.common_labels, alert.labels);
    let Some(name) = labels.get("alertname").filter(|name| !name.is_empty()).cloned() else {
        return Item::Invalid("the alert has no label alertname".to_owned());
    };
    Item::Firing(Box::new(Signal {
        signal_type: SignalType::PrometheusAlert,
        source: Some(SOURCE.to_owned()),
        severity: severity(labels.get("severity").map_or("", String::as_str)),
        target: Target::from_labels(&labels, &name),
        firing_time: alert.starts_at,
        annotations: overlay(&webhook.common_annotations, alert.annotations),
        payload: raw.get().to_owned(),
        labels,
        name,
    }))
}

/// The alert's own, and of the common ones what it has not.
fn overlay(common: &BTreeMap<String, String>, own: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = common.clone();
    all.extend(own);
    all
}

fn severity(label: &str) -> Severity {
    [Severity::Critical, Severity::Warning, Severity::Info]
        .into_iter()
        .find(|severity| severity.as_str().eq_ignore_ascii_case(label))
        .unwrap_or(Severity::Warning)
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
