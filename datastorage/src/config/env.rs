//! Environment variables over the file: `DATASTORAGE_<SECTION>_<KEY>`.

use std::str::FromStr;

use anyhow::{Context, Result};

use super::Config;

/// Sets every key whose variable is there and not empty. Other variables with the same beginning are
/// left alone: Kubernetes adds some of its own, such as `DATASTORAGE_SERVICE_HOST`, for a Service of
/// that name.
///
/// # Errors
/// The variable whose value cannot be read.
pub(super) fn apply(config: &mut Config, variables: impl IntoIterator<Item = (String, String)>) -> Result<()> {
    for (name, value) in variables {
        let Some(key) = name.strip_prefix("DATASTORAGE_") else { continue };
        if !value.is_empty() {
            set(config, key, &value).with_context(|| format!("the environment variable {name}"))?;
        }
    }
    Ok(())
}

fn set(config: &mut Config, key: &str, value: &str) -> Result<()> {
    match key {
        "LISTEN_API" => config.listen.api = value.to_owned(),
        "LISTEN_HEALTH" => config.listen.health = value.to_owned(),
        "LISTEN_METRICS" => config.listen.metrics = value.to_owned(),
        "HTTP_MAX_CONNECTIONS" => config.http.max_connections = number(value)?,
        "HTTP_MAX_BODY_BYTES_IN_FLIGHT" => config.http.max_body_bytes_in_flight = number(value)?,
        "HTTP_PLACE_DEADLINE_MS" => config.http.place_deadline_ms = number(value)?,
        "HTTP_SHUTDOWN_DELAY_MS" => config.http.shutdown_delay_ms = number(value)?,
        "AUTH_ENABLED" => config.auth.enabled = truth(value)?,
        "AUTH_AUDIENCE" => config.auth.audience = value.to_owned(),
        "AUTH_NAMESPACE" => config.auth.namespace = Some(value.to_owned()),
        "AUTH_CACHE_TTL_MS" => config.auth.cache_ttl_ms = number(value)?,
        "POSTGRES_RETENTION_MONTHS" => config.postgres.retention_months = Some(number(value)?),
        "POSTGRES_TLS_ENABLED" => config.postgres.tls.enabled = truth(value)?,
        "POSTGRES_TLS_CA_FILE" => config.postgres.tls.ca_file = Some(value.into()),
        "REDIS_TLS_ENABLED" => config.redis.tls.enabled = truth(value)?,
        "REDIS_TLS_CA_FILE" => config.redis.tls.ca_file = Some(value.into()),
        "HTTP_MAX_BODY_BYTES" => config.http.max_body_bytes = number(value)?,
        "HTTP_MAX_IN_FLIGHT" => config.http.max_in_flight = number(value)?,
        "HTTP_SHUTDOWN_GRACE_MS" => config.http.shutdown_grace_ms = number(value)?,
        "POSTGRES_ADDRESS" => config.postgres.address = value.parse()?,
        "POSTGRES_DATABASE" => config.postgres.database = value.to_owned(),
        "POSTGRES_USER" => config.postgres.user = value.to_owned(),
        "POSTGRES_PASSWORD_FILE" => config.postgres.password_file = Some(value.into()),
        "POSTGRES_MAX_CONNECTIONS" => config.postgres.max_connections = number(value)?,
        "POSTGRES_WRITE_TIMEOUT_MS" => config.postgres.write_timeout_ms = number(value)?,
        "POSTGRES_READ_TIMEOUT_MS" => config.postgres.read_timeout_ms = number(value)?,
        "REDIS_ADDRESS" => config.redis.address = value.parse()?,
        "REDIS_USER" => config.redis.user = Some(value.to_owned()),
        "REDIS_PASSWORD_FILE" => config.redis.password_file = Some(value.into()),
        "REDIS_TIMEOUT_MS" => config.redis.timeout_ms = number(value)?,
        "QUEUE_CONSUMER" => config.queue.consumer = Some(value.to_owned()),
        "QUEUE_MAX_BYTES" => config.queue.max_bytes = number(value)?,
        "QUEUE_CLAIM_IDLE_MS" => config.queue.claim_idle_ms = number(value)?,
        "QUEUE_RETRY_BASE_MS" => config.queue.retry_base_ms = number(value)?,
        "LOG_FILTER" => config.log.filter = value.to_owned(),
        _ => {}
    }
    Ok(())
}

fn number<T: FromStr>(value: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    value.parse().with_context(|| format!("`{value}` is not a number that fits"))
}

fn truth(value: &str) -> Result<bool> {
    value.parse().with_context(|| format!("`{value}` is neither true nor false"))
}
