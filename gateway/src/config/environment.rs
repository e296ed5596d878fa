//! Environment variables that override the file: `GATEWAY_`, the section, the key.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Result, anyhow};

use super::{Config, LogLevel};

type Setter = fn(&mut Config, &str) -> Result<(), String>;

/// Every variable, and where its value goes. A variable that starts with `GATEWAY_` and is not here is left alone: a
/// Service named gateway-service makes the kubelet set `GATEWAY_SERVICE_HOST` and its like.
pub(super) const VARIABLES: &[(&str, Setter)] = &[
    ("GATEWAY_SERVER_API_ADDRESS", |c, v| put(&mut c.server.api_address, v)),
    ("GATEWAY_SERVER_HEALTH_ADDRESS", |c, v| put(&mut c.server.health_address, v)),
    ("GATEWAY_SERVER_METRICS_ADDRESS", |c, v| put(&mut c.server.metrics_address, v)),
    ("GATEWAY_SERVER_MAX_CONNECTIONS", |c, v| put(&mut c.server.max_connections, v)),
    ("GATEWAY_SERVER_MAX_IN_FLIGHT", |c, v| put(&mut c.server.max_in_flight, v)),
    ("GATEWAY_SERVER_PLACE_DEADLINE_MS", |c, v| put(&mut c.server.place_deadline_ms, v)),
    ("GATEWAY_SERVER_MAX_EVENT_BYTES", |c, v| put(&mut c.server.max_event_bytes, v)),
    ("GATEWAY_SERVER_MAX_WEBHOOK_BYTES", |c, v| put(&mut c.server.max_webhook_bytes, v)),
    ("GATEWAY_SERVER_MAX_BODY_BYTES_IN_FLIGHT", |c, v| put(&mut c.server.max_body_bytes_in_flight, v)),
    ("GATEWAY_SERVER_BODY_DEADLINE_MS", |c, v| put(&mut c.server.body_deadline_ms, v)),
    ("GATEWAY_SERVER_SHUTDOWN_DELAY_MS", |c, v| put(&mut c.server.shutdown_delay_ms, v)),
    ("GATEWAY_SERVER_SHUTDOWN_DEADLINE_MS", |c, v| put(&mut c.server.shutdown_deadline_ms, v)),
    ("GATEWAY_AUTH_ENABLED", |c, v| put(&mut c.auth.enabled, v)),
    ("GATEWAY_AUTH_CACHE_TTL_MS", |c, v| put(&mut c.auth.cache_ttl_ms, v)),
    ("GATEWAY_KUBERNETES_NAMESPACE", |c, v| put_optional(&mut c.kubernetes.namespace, v)),
    ("GATEWAY_KUBERNETES_CALL_DEADLINE_MS", |c, v| put(&mut c.kubernetes.call_deadline_ms, v)),
    ("GATEWAY_KUBERNETES_REQUEST_DEADLINE_MS", |c, v| put(&mut c.kubernetes.request_deadline_ms, v)),
    ("GATEWAY_POLICY_PATH", |c, v| put(&mut c.policy.path, v)),
    ("GATEWAY_AUDIT_URL", |c, v| put_optional(&mut c.audit.url, v)),
    ("GATEWAY_AUDIT_TOKEN_FILE", |c, v| put_optional(&mut c.audit.token_file, v)),
    ("GATEWAY_AUDIT_BUFFER_EVENTS", |c, v| put(&mut c.audit.buffer_events, v)),
    ("GATEWAY_AUDIT_BUFFER_BYTES", |c, v| put(&mut c.audit.buffer_bytes, v)),
    ("GATEWAY_AUDIT_BATCH_EVENTS", |c, v| put(&mut c.audit.batch_events, v)),
    ("GATEWAY_AUDIT_LINGER_MS", |c, v| put(&mut c.audit.linger_ms, v)),
    ("GATEWAY_AUDIT_REQUEST_DEADLINE_MS", |c, v| put(&mut c.audit.request_deadline_ms, v)),
    ("GATEWAY_AUDIT_MAX_BACKOFF_MS", |c, v| put(&mut c.audit.max_backoff_ms, v)),
    ("GATEWAY_AUDIT_FLUSH_DEADLINE_MS", |c, v| put(&mut c.audit.flush_deadline_ms, v)),
    ("GATEWAY_CORS_ALLOWED_ORIGINS", |c, v| put_list(&mut c.cors.allowed_origins, v)),
    ("GATEWAY_CORS_ALLOWED_METHODS", |c, v| put_list(&mut c.cors.allowed_methods, v)),
    ("GATEWAY_CORS_ALLOWED_HEADERS", |c, v| put_list(&mut c.cors.allowed_headers, v)),
    ("GATEWAY_CORS_MAX_AGE_SECONDS", |c, v| put(&mut c.cors.max_age_seconds, v)),
    ("GATEWAY_LOG_LEVEL", |c, v| put(&mut c.log.level, v)),
];

pub(super) fn apply(config: &mut Config, variables: impl IntoIterator<Item = (String, String)>) -> Result<()> {
    for (name, value) in variables {
        if let Some((_, set)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            set(config, &value).map_err(|error| anyhow!("the environment variable {name} is {value:?}: {error}"))?;
        }
    }
    Ok(())
}

fn put<T: FromStr<Err: Display>>(place: &mut T, value: &str) -> Result<(), String> {
    *place = value.parse().map_err(|error: T::Err| error.to_string())?;
    Ok(())
}

/// Empty text takes the value away.
fn put_optional<T: for<'a> From<&'a str>>(place: &mut Option<T>, value: &str) -> Result<(), String> {
    *place = (!value.is_empty()).then(|| value.into());
    Ok(())
}

/// Items stand between commas.
fn put_list(place: &mut Vec<String>, value: &str) -> Result<(), String> {
    *place = value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
    Ok(())
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| "it may be error, warn, info or debug".to_owned())
    }
}
