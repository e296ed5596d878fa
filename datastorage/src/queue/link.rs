//! The connection to Redis: made when it is needed, checked for durability, dropped when it broke.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsCertificates,
};
use tokio::sync::Mutex;

use crate::config::{self, millis, read_secret};
use crate::state::Watched;

/// How long the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Events that wait.
    pub length: u64,
    pub dead_letters: u64,
    /// What both take together.
    pub bytes: u64,
    /// For how long the oldest event has waited.
    pub oldest: Duration,
}

pub(super) struct Link {
    config: config::Redis,
    shared: Mutex<Option<MultiplexedConnection>>,
    pub(super) state: Watched<Length>,
}

impl Link {
    pub(super) fn new(config: &config::Redis) -> Link {
        Link { config: config.clone(), shared: Mutex::default(), state: Watched::new("Redis") }
    }

    /// Runs a command on the connection that all requests share.
    ///
    /// # Errors
    /// The [`RedisError`], or why there is no connection.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut connection = {
            let mut shared = self.shared.lock().await;
            match &*shared {
                Some(connection) => connection.clone(),
                None => shared.insert(self.connect(millis(self.config.timeout_ms)).await?).clone(),
            }
        };
        let result = command.query_async(&mut connection).await;
        if result.as_ref().is_err_and(broken) {
            *self.shared.lock().await = None;
        }
        Ok(result?)
    }

    /// A new connection whose commands may take as long as `wait`.
    ///
    /// # Errors
    /// When Redis does not answer, or could lose what it has answered.
    pub(super) async fn connect(&self, wait: Duration) -> Result<MultiplexedConnection> {
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = &self.config.user {
            login = login.set_username(user);
        }
        if let Some(file) = &self.config.password_file {
            login = login.set_password(read_secret(file)?);
        }
        let address = &self.config.address;
        let tls = &self.config.tls;
        let place = match tls.enabled {
            false => ConnectionAddr::Tcp(address.host.clone(), address.port),
            true => ConnectionAddr::TcpTls {
                host: address.host.clone(),
                port: address.port,
                insecure: false,
                tls_params: None,
            },
        };
        let place = place.into_connection_info()?.set_redis_settings(login);
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(millis(self.config.timeout_ms)))
            .set_response_timeout(Some(wait));
        let client = if tls.enabled {
            let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("reading {}", file.display()));
            let root_cert = tls.ca_file.as_ref().map(read).transpose()?;
            Client::build_with_tls(place, TlsCertificates { client_tls: None, root_cert })?
        } else {
            Client::open(place)?
        };
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&options)
            .await
            .with_context(|| format!("connecting to Redis at {address}"))?;
        check_durability(&mut connection).await.with_context(|| format!("Redis at {address}"))?;
        Ok(connection)
    }
}

/// Whether an error leaves the connection in doubt, or comes from a server that can no longer write.
pub(super) fn broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}

/// An answer is a promise only if it comes after the append-only file is on disk, and if the server
/// never throws the queue away to make room.
async fn check_durability(connection: &mut MultiplexedConnection) -> Result<()> {
    let mut setting = async |name: &str| -> redis::RedisResult<String> {
        let (_, value): (String, String) = redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await?;
        Ok(value)
    };
    let settings = async {
        Ok::<_, RedisError>((
            setting("appendonly").await?,
            setting("appendfsync").await?,
            setting("maxmemory").await?,
            setting("maxmemory-policy").await?,
        ))
    };
    let (append, sync, memory, policy) = match settings.await {
        Ok(settings) => settings,
        Err(error) if broken(&error) => return Err(error).context("asking for its settings"),
        Err(error) => {
            // A managed server may not tell; then whoever runs it answers for it.
            tracing::warn!(%error, "Redis does not tell whether it is durable (appendonly yes, appendfsync always)");
            return Ok(());
        }
    };
    if append != "yes" || sync != "always" {
        bail!(
            "may lose what it was given (appendonly {append}, appendfsync {sync}): set appendonly yes and appendfsync always"
        );
    }
    if memory != "0" && policy.starts_with("allkeys") {
        bail!("may evict the queue (maxmemory-policy {policy}): set maxmemory-policy noeviction");
    }
    Ok(())
}
