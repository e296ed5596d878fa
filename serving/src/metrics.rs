//! Metrics of requests, and all metrics in the two forms that a Prometheus may ask for.

use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: from one call to a server behind the service up to the deadline of a request.
const DURATION_BUCKETS: [f64; 13] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// How long requests took, by route, method and status.
#[derive(Clone, Debug)]
pub struct Requests(Family<RequestLabels, Histogram, fn() -> Histogram>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: String,
    method: &'static str,
    status: u16,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests(Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)))
    }
}

impl Requests {
    /// Registers them as `SERVICE_http_request_duration_seconds`.
    pub fn register(&self, registry: &mut Registry, service: &str) {
        let name = format!("{service}_http_request_duration_seconds");
        registry.register(name, "Time from a request's head to its answer", self.0.clone());
    }

    /// A request was answered. `endpoint` is a route, never a path that a client made up: a label takes memory for good.
    pub fn observe(&self, endpoint: &str, method: &Method, status: StatusCode, duration: Duration) {
        let labels =
            RequestLabels { endpoint: endpoint.to_owned(), method: method_label(method), status: status.as_u16() };
        self.0.get_or_create(&labels).observe(duration.as_secs_f64());
    }
}

/// A method as a label; one that a client made up is none.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// All that is registered, as OpenMetrics text.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("writing to a String cannot fail");
    text
}

/// The same in the older text format, version 0.0.4, which knows no `info` and has a counter's whole name in front.
pub fn plain(open_metrics: &str) -> String {
    let mut plain = String::new();
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            let help = help.strip_prefix(name).unwrap_or_default();
            plain.push_str(&format!("# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

/// As OpenMetrics for whoever asks for it, as a Prometheus does; else in the format that everybody reads.
pub fn answer(open_metrics: String, headers: &HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open = accepted.flat_map(|value| value.split(',')).any(is_open_metrics);
    let vary = (header::VARY, "accept");
    if is_open {
        let content_type = (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        return ([content_type, vary], open_metrics).into_response();
    }
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([content_type, vary], plain(&open_metrics)).into_response()
}

fn is_open_metrics(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/openmetrics-text"));
    is_named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
}
