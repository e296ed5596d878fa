//! The status: who writes what, and which phases end a problem.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::remediation_request::DateTime;

/// What has become of a RemediationRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationRequestStatus {
    /// Written by the remediation controllers. Absent until the first of them has seen the request, which counts as active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall_phase: Option<Phase>,
    /// Written by the gateway alone. Absent for an instant after creation, which counts as one occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<Deduplication>,
}

/// How often one problem has been signalled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplication {
    /// When the gateway received the first signal.
    #[schemars(with = "DateTime")]
    pub first_seen_at: Timestamp,
    /// When the gateway received the newest signal.
    #[schemars(with = "DateTime")]
    pub last_seen_at: Timestamp,
    /// Signals received, the first included.
    #[schemars(range(min = 1))]
    pub occurrence_count: i64,
}

/// Where the remediation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not begun.
    Pending,
    /// The signal is being enriched.
    Processing,
    /// The cause is being looked for.
    Analyzing,
    /// Somebody has to agree.
    AwaitingApproval,
    /// The remedy is being applied.
    Executing,
    /// Waits for another remediation or a cool-down.
    Blocked,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Did not end in time.
    TimedOut,
    /// Was not needed.
    Skipped,
    /// Was called off.
    Cancelled,
}

impl Phase {
    /// Every phase, in the order of a remediation's life.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Processing,
        Self::Analyzing,
        Self::AwaitingApproval,
        Self::Executing,
        Self::Blocked,
        Self::Completed,
        Self::Failed,
        Self::TimedOut,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Processing => "Processing",
            Self::Analyzing => "Analyzing",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Executing => "Executing",
            Self::Blocked => "Blocked",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::Skipped => "Skipped",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether the problem is over: a later signal with the same fingerprint is a new problem.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::TimedOut | Self::Skipped | Self::Cancelled => true,
            Self::Pending
            | Self::Processing
            | Self::Analyzing
            | Self::AwaitingApproval
            | Self::Executing
            | Self::Blocked => false,
        }
    }
}
