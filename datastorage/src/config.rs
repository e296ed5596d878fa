//! The configuration: a YAML file, and environment variables that take precedence over it.

mod env;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Everything that can be set. Each key has a default that fits the manifests; a key that is not known
/// is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub listen: Listen,
    pub http: Http,
    pub auth: Auth,
    pub postgres: Postgres,
    pub redis: Redis,
    pub queue: Queue,
    pub log: Log,
}

/// Where the service listens. Port 0 takes a free one; the log line `listening` tells which.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub api: String,
    pub health: String,
    pub metrics: String,
}

impl Default for Listen {
    fn default() -> Listen {
        let on = |port| format!("0.0.0.0:{port}");
        Listen { api: on(8080), health: on(8081), metrics: on(9090) }
    }
}

/// The limits of the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Connections that the API holds at once. One more takes the place of the one that was idle longest.
    pub max_connections: usize,
    /// A larger body is answered with 413.
    pub max_body_bytes: usize,
    /// What all bodies that are being read or worked on may hold together. The work takes several times that.
    pub max_body_bytes_in_flight: usize,
    /// Requests that are worked on at once; one more waits for a place.
    pub max_in_flight: usize,
    /// How long a request may wait for a place, or for room; then it is answered with 503.
    pub place_deadline_ms: u64,
    /// How long new connections are still taken at shutdown, when it is not ready any more.
    pub shutdown_delay_ms: u64,
    /// How long requests that are being worked on have to finish after that.
    pub shutdown_grace_ms: u64,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            max_connections: 256,
            max_body_bytes: 2 * 1024 * 1024,
            max_body_bytes_in_flight: 12 * 1024 * 1024,
            max_in_flight: 100,
            place_deadline_ms: 5_000,
            shutdown_delay_ms: 0,
            shutdown_grace_ms: 30_000,
        }
    }
}

/// Who may use the API: who may `create` the Service `datastorage`, as the Kubernetes API says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Off lets anybody in: for local use.
    pub enabled: bool,
    /// Whom tokens must be meant for.
    pub audience: String,
    /// The Service's namespace; if absent, the pod's.
    pub namespace: Option<String>,
    /// How long a positive answer of the Kubernetes API is believed; at most a minute.
    pub cache_ttl_ms: u64,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth { enabled: true, audience: "datastorage".to_owned(), namespace: None, cache_ttl_ms: 60_000 }
    }
}

/// How a server proves who it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Then nothing is sent to a server whose certificate is not good for its host name.
    pub enabled: bool,
    /// The authorities, as PEM, that may have signed it; those of the system where there is none. Read again at every
    /// new connection.
    pub ca_file: Option<PathBuf>,
}

/// Where PostgreSQL is, and for how long to wait for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// `host:port`
    pub address: Address,
    pub database: String,
    pub user: String,
    /// A file that holds the password, which is read again at every new start of the connection.
    pub password_file: Option<PathBuf>,
    pub max_connections: u32,
    /// How long a write may take before its events go to the queue instead.
    pub write_timeout_ms: u64,
    /// How long a query of a client, or a write from the queue, may take.
    pub read_timeout_ms: u64,
    /// How many months are kept beside the current one; older ones are dropped. All are where it is absent.
    pub retention_months: Option<u32>,
    pub tls: Tls,
}

impl Default for Postgres {
    fn default() -> Postgres {
        Postgres {
            address: Address { host: "postgresql".to_owned(), port: 5432 },
            database: "action_history".to_owned(),
            user: "slm_user".to_owned(),
            password_file: None,
            max_connections: 10,
            write_timeout_ms: 1_500,
            read_timeout_ms: 10_000,
            retention_months: None,
            tls: Tls::default(),
        }
    }
}

/// Where Redis is, and for how long to wait for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// `host:port`
    pub address: Address,
    pub user: Option<String>,
    /// A file that holds the password, which is read again at every new connection.
    pub password_file: Option<PathBuf>,
    /// How long one command may take.
    pub timeout_ms: u64,
    pub tls: Tls,
}

impl Default for Redis {
    fn default() -> Redis {
        Redis {
            address: Address { host: "redis".to_owned(), port: 6379 },
            user: None,
            password_file: None,
            timeout_ms: 1_000,
            tls: Tls::default(),
        }
    }
}

/// How the queue is worked off.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// This replica's name in the consumer group; the host's name where it is not set.
    pub consumer: Option<String>,
    /// When queue and dead letters take so many bytes, no more events are accepted. Redis needs half as much again.
    pub max_bytes: u64,
    /// How long an event may stay with another replica before this one takes it over.
    pub claim_idle_ms: u64,
    /// The pause after an event's first failed try; it doubles with each.
    pub retry_base_ms: u64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { consumer: None, max_bytes: 80 * 1024 * 1024, claim_idle_ms: 30_000, retry_base_ms: 500 }
    }
}

/// What is logged: `info`, or a filter such as `warn,datastorage=debug`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub filter: String,
}

impl Default for Log {
    fn default() -> Log {
        // sqlx passes on what the server remarks, such as that a table is already there.
        Log { filter: "info,sqlx=warn".to_owned() }
    }
}

/// A host and a port. A host name is looked up anew at every connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl std::str::FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Address> {
        let wrong = || format!("`{text}` is not a host:port");
        let (host, port) = text.rsplit_once(':').with_context(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).with_context(wrong)?;
        if host.is_empty() {
            bail!("{}", wrong());
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Address {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Address> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Config {
    /// Reads the file, where there is one, then the variables `DATASTORAGE_…`, and checks the whole.
    ///
    /// # Errors
    /// The file with line and column, the variable, or the key, and what is wrong with it.
    pub fn load(file: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config> {
        let mut config = match file {
            None => Config::default(),
            Some(path) => {
                let shown = path.display();
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("reading the configuration {shown}"))?;
                Config::parse(&text).with_context(|| format!("in the configuration {shown}"))?
            }
        };
        env::apply(&mut config, variables)?;
        config.check()?;
        Ok(config)
    }

    fn parse(text: &str) -> Result<Config> {
        // A file of nothing but comments sets nothing.
        Ok(serde_yaml::from_str::<Option<Config>>(text)?.unwrap_or_default())
    }

    fn check(&self) -> Result<()> {
        let at_least_one = [
            ("http.max_connections", self.http.max_connections as u64),
            ("http.max_body_bytes", self.http.max_body_bytes as u64),
            ("http.max_in_flight", self.http.max_in_flight as u64),
            ("http.place_deadline_ms", self.http.place_deadline_ms),
            ("postgres.retention_months", u64::from(self.postgres.retention_months.unwrap_or(1))),
            ("postgres.max_connections", u64::from(self.postgres.max_connections)),
            ("postgres.write_timeout_ms", self.postgres.write_timeout_ms),
            ("postgres.read_timeout_ms", self.postgres.read_timeout_ms),
            ("redis.timeout_ms", self.redis.timeout_ms),
            ("queue.max_bytes", self.queue.max_bytes),
            ("queue.claim_idle_ms", self.queue.claim_idle_ms),
            ("queue.retry_base_ms", self.queue.retry_base_ms),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            bail!("the configuration's {key} is 0: it must be at least 1");
        }
        let largest = self.http.max_body_bytes;
        if self.http.max_body_bytes_in_flight < largest {
            bail!("the configuration's http.max_body_bytes_in_flight is below http.max_body_bytes, {largest}");
        }
        if self.auth.cache_ttl_ms > 60_000 {
            bail!("the configuration's auth.cache_ttl_ms is {}: it may be 60000 at most", self.auth.cache_ttl_ms);
        }
        for (key, file) in [
            ("postgres.password_file", &self.postgres.password_file),
            ("postgres.tls.ca_file", &self.postgres.tls.ca_file),
            ("redis.password_file", &self.redis.password_file),
            ("redis.tls.ca_file", &self.redis.tls.ca_file),
        ] {
            if let Some(path) = file {
                read_secret(path).with_context(|| format!("the configuration's {key}"))?;
            }
        }
        Ok(())
    }
}

/// Reads a secret from a mounted file; the line end that an editor leaves is not part of it.
///
/// # Errors
/// When the file cannot be read or is empty; its content is never shown.
pub(crate) fn read_secret(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the secret file {}", path.display()))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        bail!("the secret file {} is empty", path.display());
    }
    Ok(secret.to_owned())
}

pub(crate) fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[cfg(test)]
mod tests;
