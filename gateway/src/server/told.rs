//! What a sender is told of its signals.

use jiff::Timestamp;
use serde::Serialize;

use crate::pipeline::Outcome;
use crate::problem::Problem;
use crate::remediation::Recorded;

/// What became of one signal.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    pub(super) duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation_request_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation_request_namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    /// Why a signal is ignored that tells of a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// As in [`Many`], for a delivery of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_alerts: Option<u64>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    count: i64,
    first_occurrence: Timestamp,
    last_occurrence: Timestamp,
    remediation_request_ref: String,
}

#[derive(Default, Serialize)]
pub(super) struct Summary {
    total: usize,
    created: usize,
    deduplicated: usize,
    ignored: usize,
    failed: usize,
}

/// What became of a delivery of several.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Many {
    results: Vec<Told>,
    summary: Summary,
    /// Alerts that the sender left out, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_alerts: Option<u64>,
}

impl Many {
    pub(super) fn new(results: Vec<Told>, truncated_alerts: u64) -> Self {
        let mut summary = Summary { total: results.len(), ..Summary::default() };
        for told in &results {
            match told.status {
                "created" => summary.created += 1,
                "duplicate" => summary.deduplicated += 1,
                "ignored" => summary.ignored += 1,
                _ => summary.failed += 1,
            }
        }
        Self { results, summary, truncated_alerts: Some(truncated_alerts).filter(|count| *count > 0) }
    }
}

impl Told {
    fn plain(status: &'static str) -> Self {
        Self {
            status,
            fingerprint: None,
            duplicate: false,
            remediation_request_name: None,
            remediation_request_namespace: None,
            metadata: None,
            error: None,
            retryable: None,
            reason: None,
            truncated_alerts: None,
        }
    }

    /// The same, of a delivery that lacks so many others.
    pub(super) fn beside(self, truncated_alerts: u64) -> Self {
        Self { truncated_alerts: Some(truncated_alerts).filter(|count| *count > 0), ..self }
    }

    pub(super) fn ignored() -> Self {
        Self::plain("ignored")
    }

    pub(super) fn failed(problem: &Problem) -> Self {
        let error = Some(problem.detail().to_owned());
        Self { error, retryable: Some(problem.is_retryable()), ..Self::plain("failed") }
    }
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        let (fingerprint, recorded) = match outcome {
            Outcome::Recorded { fingerprint, recorded } => (Some(fingerprint), recorded),
            Outcome::Ignored { reason } => return Self { reason: Some(reason), ..Self::ignored() },
        };
        match recorded {
            Recorded::Created { namespace, name, .. } => Self {
                fingerprint,
                remediation_request_name: Some(name),
                remediation_request_namespace: Some(namespace),
                ..Self::plain("created")
            },
            Recorded::Duplicate { namespace, name, deduplication } => Self {
                fingerprint,
                duplicate: true,
                metadata: Some(Metadata {
                    count: deduplication.occurrence_count,
                    first_occurrence: deduplication.first_seen_at,
                    last_occurrence: deduplication.last_seen_at,
                    remediation_request_ref: format!("{namespace}/{name}"),
                }),
                remediation_request_name: Some(name),
                remediation_request_namespace: Some(namespace),
                ..Self::plain("duplicate")
            },
        }
    }
}
