//! The configuration: a YAML file, then environment variables.
//!
//! Every key has a default, so an empty file, or none, is a valid configuration.

mod environment;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use axum::http::{HeaderName, HeaderValue, Method};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens, and the limits on what it takes in.
    pub server: Server,
    /// Who may send signals.
    pub auth: Auth,
    /// How it uses the Kubernetes API.
    pub kubernetes: Kubernetes,
    /// The remediation path.
    pub policy: Policy,
    /// The audit trail.
    pub audit: Audit,
    /// Cross-origin requests.
    pub cors: Cors,
    /// The log.
    pub log: Log,
}

/// Where it listens, and the limits on what it takes in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address of the API. Port 0 takes a free one.
    pub api_address: SocketAddr,
    /// Address of `/healthz` and `/readyz`.
    pub health_address: SocketAddr,
    /// Address of `/metrics`.
    pub metrics_address: SocketAddr,
    /// Connections that the API holds at once. One more takes the place of the one that was idle longest.
    pub max_connections: usize,
    /// Requests worked on at once; one more waits for a place.
    pub max_in_flight: usize,
    /// How long a request may wait for a place, or for room for its body; then 503.
    pub place_deadline_ms: u64,
    /// The largest Event, in bytes; a larger one is answered 413. An alert of this size or more fails alone.
    pub max_event_bytes: usize,
    /// The largest webhook of an Alertmanager, in bytes; a larger one is answered 413.
    pub max_webhook_bytes: usize,
    /// What all bodies that are being read or worked on may hold together, in bytes.
    pub max_body_bytes_in_flight: usize,
    /// How long a sender may take for its body; then 408.
    pub body_deadline_ms: u64,
    /// How long the API goes on taking new connections after it has become unready on SIGTERM.
    pub shutdown_delay_ms: u64,
    /// How long what is in flight may take to finish after that.
    pub shutdown_deadline_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        let on = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self {
            api_address: on(8080),
            health_address: on(8081),
            metrics_address: on(9090),
            max_connections: 1_024,
            max_in_flight: 100,
            place_deadline_ms: 5_000,
            max_event_bytes: 256 * 1024,
            max_webhook_bytes: 4 * 1024 * 1024,
            max_body_bytes_in_flight: 32 * 1024 * 1024,
            body_deadline_ms: 10_000,
            shutdown_delay_ms: 0,
            shutdown_deadline_ms: 30_000,
        }
    }
}

/// Who may send signals.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Off takes signals from anybody: for local use.
    pub enabled: bool,
    /// How long a positive answer of the API server is believed; at most a minute.
    pub cache_ttl_ms: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self { enabled: true, cache_ttl_ms: 60_000 }
    }
}

/// How it uses the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// The gateway's own namespace; if absent, the pod's, or the current context's.
    pub namespace: Option<String>,
    /// Which namespaces are looked after, by their labels, as in a NetworkPolicy: signals about others are answered 200
    /// and ignored. All are where it is absent.
    #[serde(rename = "namespaceSelector")]
    pub namespace_selector: Option<LabelSelector>,
    /// How long one call may take.
    pub call_deadline_ms: u64,
    /// How long all calls for one request may take; then 504.
    pub request_deadline_ms: u64,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self { namespace: None, namespace_selector: None, call_deadline_ms: 5_000, request_deadline_ms: 15_000 }
    }
}

/// The remediation path.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The Rego file.
    pub path: PathBuf,
}

impl Default for Policy {
    fn default() -> Self {
        Self { path: "/config.app/gateway/policies/remediation_path.rego".into() }
    }
}

/// The audit trail.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Base URL of datastorage, such as `http://datastorage:8080`; without it no audit is kept.
    pub url: Option<String>,
    /// The file with the bearer token that datastorage asks for; read again for each request, for it is renewed.
    pub token_file: Option<PathBuf>,
    /// Events that wait at most; more are dropped and counted.
    pub buffer_events: usize,
    /// Bytes that they may take together; what does not fit is dropped and counted.
    pub buffer_bytes: usize,
    /// Events in one request at most; datastorage takes up to 500.
    pub batch_events: usize,
    /// How long an event waits for others before it is sent.
    pub linger_ms: u64,
    /// How long one request may take.
    pub request_deadline_ms: u64,
    /// The longest pause between two tries.
    pub max_backoff_ms: u64,
    /// How long a shutdown waits for what is buffered.
    pub flush_deadline_ms: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            buffer_events: 10_000,
            buffer_bytes: 48 * 1024 * 1024,
            batch_events: 100,
            linger_ms: 200,
            request_deadline_ms: 5_000,
            max_backoff_ms: 2_000,
            flush_deadline_ms: 10_000,
        }
    }
}

/// Cross-origin requests. Without an origin there are none.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Such as `https://console.example.com`; `*` alone is any.
    pub allowed_origins: Vec<String>,
    /// Methods that such a page may use.
    pub allowed_methods: Vec<String>,
    /// Headers that such a page may send.
    pub allowed_headers: Vec<String>,
    /// How long a browser may remember the answer.
    pub max_age_seconds: u64,
}

impl Default for Cors {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Self {
            allowed_origins: Vec::new(),
            allowed_methods: list(&["GET", "POST", "OPTIONS"]),
            allowed_headers: list(&["authorization", "content-type", "x-timestamp"]),
            max_age_seconds: 600,
        }
    }
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important level that is written.
    pub level: LogLevel,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody has to look at.
    Error,
    /// And what may become that.
    Warn,
    /// And every request.
    #[default]
    Info,
    /// And what was decided about it.
    Debug,
}

impl LogLevel {
    /// The spelling in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl Config {
    /// Reads the file, if there is one, then the variables (name and value), then checks the whole.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key or a value of the wrong kind (with line and column), or a
    /// setting makes no sense (with its key).
    pub fn load(path: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut config = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the configuration {}", path.display()))?;
                Self::parse(&text).with_context(|| format!("in the configuration {}", path.display()))?
            }
            None => Self::default(),
        };
        environment::apply(&mut config, variables)?;
        config.check()?;
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self> {
        // A file of comments alone is the YAML value null, which stands for no settings here.
        Ok(serde_yaml::from_str::<Option<Self>>(text)?.unwrap_or_default())
    }

    /// Refuses settings that make no sense, alone or together.
    ///
    /// # Errors
    /// With the key and what it may be.
    pub fn check(&self) -> Result<()> {
        let Self { server, auth, kubernetes, audit, cors, .. } = self;
        let positive = [
            ("server.max_connections", server.max_connections as u64),
            ("server.max_in_flight", server.max_in_flight as u64),
            ("server.place_deadline_ms", server.place_deadline_ms),
            ("server.max_event_bytes", server.max_event_bytes as u64),
            ("server.max_webhook_bytes", server.max_webhook_bytes as u64),
            ("server.body_deadline_ms", server.body_deadline_ms),
            ("kubernetes.call_deadline_ms", kubernetes.call_deadline_ms),
            ("kubernetes.request_deadline_ms", kubernetes.request_deadline_ms),
            ("audit.buffer_events", audit.buffer_events as u64),
            ("audit.buffer_bytes", audit.buffer_bytes as u64),
            ("audit.request_deadline_ms", audit.request_deadline_ms),
            ("audit.max_backoff_ms", audit.max_backoff_ms),
        ];
        for (key, value) in positive {
            if value == 0 {
                bail!("{key} is 0: it must be at least 1");
            }
        }
        let largest = server.max_event_bytes.max(server.max_webhook_bytes);
        if server.max_body_bytes_in_flight < largest {
            bail!(
                "server.max_body_bytes_in_flight is {}: the largest body alone may have {largest}",
                server.max_body_bytes_in_flight
            );
        }
        if auth.cache_ttl_ms > 60_000 {
            bail!("auth.cache_ttl_ms is {}: it may be 60000 at most", auth.cache_ttl_ms);
        }
        if !(1..=500).contains(&audit.batch_events) {
            bail!("audit.batch_events is {}: it may be 1 to 500, which is what datastorage takes", audit.batch_events);
        }
        if let Some(url) = &audit.url {
            match reqwest::Url::parse(url) {
                Ok(parsed) if parsed.scheme() == "http" => {}
                Ok(parsed) => bail!("audit.url has the scheme {}: it must be http", parsed.scheme()),
                Err(error) => bail!("audit.url is no URL ({error}): it must read like http://datastorage:8080"),
            }
        }
        if let Some(selector) = &kubernetes.namespace_selector {
            crate::scope::parse(selector)?;
        }
        if let Some(namespace) = &kubernetes.namespace
            && !crate::text::is_namespace_name(namespace)
        {
            bail!("kubernetes.namespace is {namespace:?}: no namespace can have this name");
        }
        if cors.allowed_origins.len() > 1 && cors.allowed_origins.iter().any(|origin| origin == "*") {
            bail!("cors.allowed_origins has * beside others: it must stand alone");
        }
        check_each("cors.allowed_origins", &cors.allowed_origins, |item| HeaderValue::from_str(item).is_ok())?;
        check_each("cors.allowed_methods", &cors.allowed_methods, |item| item.parse::<Method>().is_ok())?;
        check_each("cors.allowed_headers", &cors.allowed_headers, |item| item.parse::<HeaderName>().is_ok())
    }
}

fn check_each(key: &str, items: &[String], is_valid: impl Fn(&str) -> bool) -> Result<()> {
    match items.iter().find(|item| !is_valid(item)) {
        Some(item) => bail!("{key} has {item:?}, which cannot stand in a header"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
