//! Alertmanager's webhook, version 4.
//!
//! A delivery is read in two steps: first where its alerts are, then each of them when its turn comes. So what a
//! delivery takes is its body and a few bytes for each alert, however much its alerts have in common.

use std::collections::BTreeMap;
use std::fmt;

use api::{Severity, SignalType};
use jiff::Timestamp;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serving::body::Object;

use super::{Signal, Target, Time, null_is_default, set_time};
use crate::freshness;
use crate::problem::Problem;

const SOURCE: &str = "alertmanager";

/// Alerts of one delivery at most.
pub const MAX_ALERTS: usize = 5_000;
/// The largest alert, in bytes, and the most that may be common to all: what a RemediationRequest can hold, and more than
/// any sender writes.
pub const MAX_ALERT_BYTES: usize = 256 * 1024;

/// The parts of a delivery that matter here. Alertmanager sends more. What annotations are common to all alerts stands
/// in each of them as well.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    status: String,
    #[serde(default, deserialize_with = "null_is_default")]
    truncated_alerts: u64,
    #[serde(default, borrow)]
    common_labels: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "null_is_default")]
    alerts: Alerts<'a>,
}

/// The texts of up to [`MAX_ALERTS`] alerts, and how many there are.
#[derive(Debug, Default)]
struct Alerts<'a> {
    texts: Vec<&'a RawValue>,
    total: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Alerts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;

        impl<'de> Visitor<'de> for Bounded {
            type Value = Alerts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut alerts = Alerts::default();
                while alerts.texts.len() < MAX_ALERTS
                    && let Some(text) = sequence.next_element()?
                {
                    alerts.texts.push(text);
                }
                alerts.total = alerts.texts.len();
                while sequence.next_element::<IgnoredAny>()?.is_some() {
                    alerts.total += 1;
                }
                Ok(alerts)
            }
        }

        deserializer.deserialize_seq(Bounded)
    }
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
    starts_at: Time,
}

/// What one alert of a delivery turned out to be.
#[derive(Debug)]
pub enum Item {
    /// A problem.
    Firing(Box<Signal>),
    /// The end of one, which is none of the gateway's business.
    Resolved,
    /// Not usable, for this reason.
    Invalid(Problem),
}

/// A delivery.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Alerts that the sender left out, for there were more than it sends at once.
    pub truncated_alerts: u64,
    status: String,
    common_labels_text: &'a str,
    common_labels: BTreeMap<String, String>,
    alerts: Vec<&'a RawValue>,
}

/// Reads a delivery.
///
/// # Errors
/// When it is not JSON, not a webhook, without an alert, or with too many. One bad alert among others is an
/// [`Item::Invalid`].
pub fn parse(body: &[u8]) -> Result<Delivery<'_>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::malformed("the body is empty"));
    }
    let Object(webhook): Object<Webhook<'_>> =
        serde_json::from_slice(body).map_err(|error| super::malformed(&error, "an Alertmanager webhook"))?;
    let Alerts { texts, total } = webhook.alerts;
    if texts.is_empty() {
        return Err(Problem::malformed("the webhook holds no alerts"));
    }
    if total > MAX_ALERTS {
        return Err(Problem::too_large(format!("the webhook holds {total} alerts; it may hold {MAX_ALERTS}")));
    }
    let common_labels_text = webhook.common_labels.map_or("null", RawValue::get);
    if common_labels_text.len() > MAX_ALERT_BYTES {
        return Err(Problem::too_large(format!("commonLabels is larger than {MAX_ALERT_BYTES} bytes")));
    }
    super::storable(common_labels_text)?;
    let common_labels: Option<_> =
        serde_json::from_str(common_labels_text).map_err(|_| Problem::malformed("commonLabels is no map of texts"))?;
    Ok(Delivery {
        truncated_alerts: webhook.truncated_alerts,
        status: webhook.status,
        common_labels_text,
        common_labels: common_labels.unwrap_or_default(),
        alerts: texts,
    })
}

impl<'a> Delivery<'a> {
    /// How many alerts there are; at least one.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.alerts.len()
    }

    /// The texts of its alerts, in their order.
    pub fn alerts(&self) -> impl Iterator<Item = &'a str> {
        self.alerts.iter().map(|text| text.get())
    }

    /// The text of what labels are common to all alerts.
    pub fn common_labels_text(&self) -> &'a str {
        self.common_labels_text
    }

    /// What reading an alert takes, in bytes of text.
    pub fn bytes_of(&self, index: usize) -> usize {
        self.alerts[index].get().len() + self.common_labels_text.len()
    }

    /// Reads one alert. Where nothing else dates the delivery, its start must be known, and not ahead of `now`.
    pub fn read(&self, index: usize, now: Option<Timestamp>) -> Item {
        self.try_read(self.alerts[index].get(), now).unwrap_or_else(Item::Invalid)
    }

    fn try_read(&self, text: &str, now: Option<Timestamp>) -> Result<Item, Problem> {
        if text.len() > MAX_ALERT_BYTES {
            return Err(Problem::too_large(format!("the alert is larger than {MAX_ALERT_BYTES} bytes")));
        }
        super::storable(text)?;
        let alert: Alert = super::read(text, "an alert")?;
        if let Some(now) = now {
            let start = alert
                .starts_at
                .0
                .ok_or_else(|| Problem::stale("missing timestamp: send X-Timestamp, or a startsAt in the alert"))?;
            freshness::check_not_ahead(start, now).map_err(Problem::stale)?;
        }
        let status = if alert.status.is_empty() { &self.status } else { &alert.status };
        if status == "resolved" {
            return Ok(Item::Resolved);
        }
        let mut labels = alert.labels;
        for (key, value) in &self.common_labels {
            if !labels.contains_key(key) {
                labels.insert(key.clone(), value.clone());
            }
        }
        let Some(name) = labels.get("alertname").filter(|name| !name.is_empty()).cloned() else {
            return Err(Problem::invalid("the alert has no label alertname"));
        };
        Ok(Item::Firing(Box::new(Signal {
            signal_type: SignalType::PrometheusAlert,
            source: Some(SOURCE.to_owned()),
            severity: severity(labels.get("severity").map_or("", String::as_str)),
            target: Target::from_labels(&labels, &name),
            firing_time: alert.starts_at.0,
            annotations: alert.annotations,
            payload: text.to_owned(),
            labels,
            name,
        })))
    }
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
