//! A Kubernetes Event of the core group.

use std::collections::BTreeMap;

use api::{Severity, SignalType};
use jiff::Timestamp;
use serde::Deserialize;
use serving::text::cut_chars;

use super::{Signal, Target, Time, null_is_default, null_is_empty, set_time};
use crate::problem::{MAX_REPEATED_CHARS, Problem};
use crate::text;

const SOURCE: &str = "kubernetes-events";

/// Reasons that mean that something is down, whatever the Event's type.
const CRITICAL_REASONS: [&str; 6] =
    ["OOMKilled", "NodeNotReady", "FailedScheduling", "Evicted", "FailedMount", "NetworkNotReady"];

/// The parts of an Event that matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default, deserialize_with = "null_is_default")]
    api_version: String,
    #[serde(default, deserialize_with = "null_is_default")]
    kind: String,
    #[serde(default, rename = "type", deserialize_with = "null_is_default")]
    event_type: String,
    #[serde(default, deserialize_with = "null_is_default")]
    reason: String,
    #[serde(default, deserialize_with = "null_is_default")]
    message: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "null_is_empty")]
    involved_object: InvolvedObject,
    #[serde(default, deserialize_with = "null_is_empty")]
    source: Source,
    #[serde(default, deserialize_with = "null_is_default")]
    reporting_component: String,
    #[serde(default, deserialize_with = "set_time")]
    first_timestamp: Time,
    #[serde(default, deserialize_with = "set_time")]
    last_timestamp: Time,
    #[serde(default, deserialize_with = "set_time")]
    event_time: Time,
    #[serde(default, deserialize_with = "null_is_empty")]
    series: Series,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvolvedObject {
    #[serde(default, deserialize_with = "null_is_default")]
    kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    namespace: String,
    #[serde(default, deserialize_with = "null_is_default")]
    api_version: String,
}

#[derive(Debug, Default, Deserialize)]
struct Source {
    #[serde(default, deserialize_with = "null_is_default")]
    component: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    #[serde(default, deserialize_with = "set_time")]
    last_observed_time: Time,
}

/// What an Event tells.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// Of a problem.
    Problem(Box<Reported>),
    /// Of something in the ordinary course of things, which is none of the gateway's business: exporters send all.
    Normal,
}

/// An Event that tells of a problem.
#[derive(Debug, PartialEq)]
pub struct Reported {
    /// What it tells.
    pub signal: Signal,
    /// When it last happened, if it says so.
    pub time: Option<Timestamp>,
}

/// Reads an Event.
///
/// # Errors
/// When it is not one, or does not say what happened to what.
pub fn parse(body: &[u8]) -> Result<Told, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::malformed("the body is empty"));
    }
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    super::storable(text)?;
    let event: Event = super::read(text, "a Kubernetes Event")?;
    if !event.kind.is_empty() && event.kind != "Event" {
        let kind = cut_chars(&event.kind, MAX_REPEATED_CHARS);
        return Err(Problem::malformed(format!("the object is of kind {kind}, not Event")));
    }
    if !event.api_version.is_empty() && event.api_version != "v1" {
        let version = cut_chars(&event.api_version, MAX_REPEATED_CHARS);
        return Err(Problem::malformed(format!("the Event is of {version}: send it as of v1, the core group")));
    }
    if event.event_type == "Normal" {
        return Ok(Told::Normal);
    }
    for (field, value) in [
        ("reason", &event.reason),
        ("involvedObject.kind", &event.involved_object.kind),
        ("involvedObject.name", &event.involved_object.name),
    ] {
        if value.is_empty() {
            return Err(Problem::invalid(format!("the Event has no {field}")));
        }
    }
    let times = [event.last_timestamp, event.series.last_observed_time, event.event_time, event.first_timestamp];
    let time = times.into_iter().find_map(|time| time.0);
    Ok(Told::Problem(Box::new(Reported { time, signal: event.into_signal(time, text) })))
}

impl Event {
    fn into_signal(self, time: Option<Timestamp>, text: &str) -> Signal {
        let is_critical = self.event_type == "Error" || CRITICAL_REASONS.contains(&self.reason.as_str());
        let InvolvedObject { kind, name, namespace, api_version } = self.involved_object;
        let source = [self.reporting_component, self.source.component]
            .into_iter()
            .find(|component| !component.is_empty())
            .unwrap_or_else(|| SOURCE.to_owned());
        let mut annotations = self.metadata.annotations;
        if !self.message.is_empty() {
            annotations.insert("message".to_owned(), self.message);
        }
        Signal {
            name: self.reason,
            signal_type: SignalType::KubernetesEvent,
            source: Some(text::cut_bytes(&source, text::LABEL_VALUE_MAX_BYTES).to_owned()),
            severity: if is_critical { Severity::Critical } else { Severity::Warning },
            target: Target::new(&kind, &name, &namespace, Some(&api_version)),
            firing_time: self.first_timestamp.0.or(self.event_time.0).or(time),
            labels: self.metadata.labels,
            annotations,
            payload: text.to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
