//! Turns alerts and events into RemediationRequests.
