//! What `/metrics` shows.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serving::ProcessMetrics;
use serving::metrics::Requests;

use crate::build_info;

/// All metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    received: Family<SignalLabels, Counter>,
    deduplicated: Family<SourceLabels, Counter>,
    created: Family<CreatedLabels, Counter>,
    creation_errors: Family<ErrorLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    /// Requests to the API.
    pub requests: Requests,
    /// Alerts that senders left out of their deliveries.
    pub alerts_truncated: Counter,
    /// Audit events that were given up.
    pub audit_dropped: Counter,
    /// Audit events that wait to be accepted by datastorage.
    pub audit_buffered: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    revision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    source_type: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CreatedLabels {
    source_type: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            received: Family::default(),
            deduplicated: Family::default(),
            created: Family::default(),
            creation_errors: Family::default(),
            rejected: Family::default(),
            requests: Requests::default(),
            alerts_truncated: Counter::default(),
            audit_dropped: Counter::default(),
            audit_buffered: Gauge::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    /// The library appends `_total` to a counter's name and `_info` to an info's.
    fn registered(mut self) -> Self {
        let build = BuildLabels { version: build_info::VERSION, revision: build_info::revision() };
        let registry = &mut self.registry;
        registry.register("gateway_build", "Which gateway this is", Info::new(build));
        registry.register("gateway_signals_received", "Valid signals that tell of a problem", self.received.clone());
        registry.register(
            "gateway_signals_deduplicated",
            "Signals about a problem that has an active RemediationRequest",
            self.deduplicated.clone(),
        );
        registry.register("gateway_crds_created", "RemediationRequests created", self.created.clone());
        registry.register(
            "gateway_crd_creation_errors",
            "RemediationRequests that could not be created, by what went wrong",
            self.creation_errors.clone(),
        );
        registry.register("gateway_signals_rejected", "Signals that were not taken, by reason", self.rejected.clone());
        self.requests.register(registry, "gateway");
        registry.register(
            "gateway_alerts_truncated",
            "Alerts that an Alertmanager left out of its deliveries",
            self.alerts_truncated.clone(),
        );
        registry.register(
            "gateway_audit_events_dropped",
            "Audit events that were given up",
            self.audit_dropped.clone(),
        );
        registry.register(
            "gateway_audit_buffer_events",
            "Audit events that wait to be accepted by datastorage",
            self.audit_buffered.clone(),
        );
        registry.register_collector(Box::new(ProcessMetrics));
        self
    }

    /// A valid signal came in.
    pub fn count_received(&self, source_type: &'static str, severity: &'static str) {
        self.received.get_or_create(&SignalLabels { source_type, severity }).inc();
    }

    /// It was about a problem that is known.
    pub fn count_deduplicated(&self, source_type: &'static str) {
        self.deduplicated.get_or_create(&SourceLabels { source_type }).inc();
    }

    /// A RemediationRequest was created for it.
    pub fn count_created(&self, source_type: &'static str) {
        self.created.get_or_create(&CreatedLabels { source_type, status: "created" }).inc();
    }

    /// A RemediationRequest should have been created for it.
    pub fn count_creation_error(&self, error_type: &'static str) {
        self.creation_errors.get_or_create(&ErrorLabels { error_type }).inc();
    }

    /// A signal was not taken.
    pub fn count_rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// All of them as OpenMetrics text.
    pub fn encode(&self) -> String {
        serving::metrics::encode(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{Method, StatusCode};

    use super::*;

    #[test]
    fn the_older_format_has_whole_names_and_types_that_it_knows() {
        let metrics = Metrics::default();
        metrics.count_received("prometheus-alert", "critical");
        metrics.requests.observe("/x", &Method::POST, StatusCode::CREATED, Duration::from_millis(7));
        let text = serving::metrics::plain(&metrics.encode());
        for line in [
            "# HELP gateway_signals_received_total Valid signals that tell of a problem.",
            "# TYPE gateway_signals_received_total counter",
            "# TYPE gateway_build_info gauge",
            "# TYPE gateway_http_request_duration_seconds histogram",
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE gateway_audit_buffer_events gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains(" info\n") && !text.contains("# UNIT"), "{text}");
        let samples = |text: &str| text.lines().filter(|line| line.starts_with("gateway_")).count();
        assert_eq!(samples(&text), samples(&metrics.encode()), "nothing is left out");
        // Each name is typed once, before its samples.
        let mut typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let count = typed.len();
        typed.sort_unstable();
        typed.dedup();
        assert_eq!(typed.len(), count);
    }

    #[test]
    fn every_name_that_the_contract_has() {
        let metrics = Metrics::default();
        metrics.count_received("prometheus-alert", "critical");
        metrics.count_deduplicated("prometheus-alert");
        metrics.count_created("prometheus-alert");
        metrics.count_creation_error("timeout");
        metrics.count_rejected("malformed");
        let endpoint = "/api/v1/signals/prometheus";
        metrics.requests.observe(endpoint, &Method::POST, StatusCode::CREATED, Duration::from_millis(7));
        let text = metrics.encode();
        for line in [
            "gateway_signals_received_total{source_type=\"prometheus-alert\",severity=\"critical\"} 1",
            "gateway_signals_deduplicated_total{source_type=\"prometheus-alert\"} 1",
            "gateway_crds_created_total{source_type=\"prometheus-alert\",status=\"created\"} 1",
            "gateway_crd_creation_errors_total{error_type=\"timeout\"} 1",
            "gateway_signals_rejected_total{reason=\"malformed\"} 1",
            "gateway_alerts_truncated_total 0",
            "gateway_audit_events_dropped_total 0",
            "gateway_audit_buffer_events 0",
            "gateway_http_request_duration_seconds_count{endpoint=\"/api/v1/signals/prometheus\",method=\"POST\",status=\"201\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        assert!(text.contains(&format!("gateway_build_info{{version=\"{}\",revision=", build_info::VERSION)), "{text}");
        let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.is_some_and(|bytes| bytes.parse::<i64>().unwrap() > 1_000_000), "{text}");
        assert!(text.contains("process_cpu_seconds_total ") && text.contains("process_open_fds "), "{text}");
    }
}
