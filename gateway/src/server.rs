//! The HTTP side: three listeners, what every answer has in common, starting and stopping.

mod api;
mod body;
mod edge;
mod group;
mod health;
mod progress;
mod told;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Client;
use serving::auth::{Access, Authenticator};
use serving::listen::Listening;
use tokio::time::Instant;

use self::health::Health;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::owner::Owners;
use crate::pipeline::{Pipeline, Room};
use crate::policy::Policy;
use crate::remediation::Store;
use crate::scope::Scope;
use crate::{audit, build_info};

/// How long the health and metrics listeners may take to close at the very end.
const LAST_CLOSE: Duration = Duration::from_secs(1);
/// Connections to the health listener, and to the metrics one.
const MAX_PROBES: usize = 64;

/// A running gateway.
pub struct Gateway {
    api: Listening,
    health: Listening,
    metrics: Listening,
    pipeline: Arc<Pipeline>,
    state: Arc<Health>,
    audit: audit::Worker,
    shutdown_delay: Duration,
    shutdown_deadline: Duration,
}

impl Gateway {
    /// Loads the policy, binds the three addresses and starts serving.
    ///
    /// # Errors
    /// When the policy is missing or broken, or an address cannot be bound. The Kubernetes API need not be there yet:
    /// until it is, the gateway is not ready.
    pub async fn start(config: &Config, client: Client) -> Result<Self> {
        config.check()?;
        let policy = Policy::load(&config.policy.path).context("loading the remediation path's policy")?;
        let metrics = Arc::new(Metrics::default());
        let (trail, audit) = audit::start(&config.audit, metrics.clone())?;
        let namespace = config.kubernetes.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let call_deadline = Duration::from_millis(config.kubernetes.call_deadline_ms);
        let authenticator = config.auth.enabled.then(|| {
            let ttl = Duration::from_millis(config.auth.cache_ttl_ms);
            let access = Access { namespace: namespace.clone(), service: "gateway-service", audience: None };
            Authenticator::new(client.clone(), access, call_deadline, ttl)
        });
        if authenticator.is_none() {
            tracing::warn!("auth.enabled is false: signals are taken from anybody");
        }
        let selector = config.kubernetes.namespace_selector.as_ref();
        let pipeline = Arc::new(Pipeline {
            scope: Scope::new(client.clone(), call_deadline, selector)?,
            owners: Owners::new(client.clone(), call_deadline),
            store: Store::new(client, namespace.clone(), call_deadline),
            policy,
            trail,
            metrics: metrics.clone(),
            room: Room::default(),
        });
        let state = Arc::new(Health::new(pipeline.clone()));
        let api = api::router(config, pipeline.clone(), authenticator);
        let server = &config.server;
        let listen = async |key, address, max_connections, router| {
            Listening::start(key, address, max_connections, router, edge::refusal).await
        };
        let probes = health::router(state.clone());
        let gateway = Self {
            api: listen("server.api_address", server.api_address, server.max_connections, api).await?,
            health: listen("server.health_address", server.health_address, MAX_PROBES, probes).await?,
            metrics: listen("server.metrics_address", server.metrics_address, MAX_PROBES, health::metrics(metrics))
                .await?,
            pipeline,
            state,
            audit,
            shutdown_delay: Duration::from_millis(server.shutdown_delay_ms),
            shutdown_deadline: Duration::from_millis(server.shutdown_deadline_ms),
        };
        tracing::info!(
            api = %gateway.api_address(),
            health = %gateway.health_address(),
            metrics = %gateway.metrics_address(),
            namespace,
            version = build_info::VERSION,
            revision = build_info::revision(),
            "serving"
        );
        Ok(gateway)
    }

    /// Where the API really listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Where `/healthz` and `/readyz` really are.
    pub fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// Where `/metrics` really is.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics.address()
    }

    /// Becomes unready, finishes what is in flight, hands in the audit, and closes. Takes at most the configured delay
    /// and both deadlines.
    pub async fn shutdown(self) {
        tracing::info!("shutting down: not ready any more");
        self.state.begin_shutdown();
        tokio::time::sleep(self.shutdown_delay).await;
        let end = Instant::now() + self.shutdown_deadline;
        self.api.stop(self.shutdown_deadline).await;
        // Work goes on whose sender does not wait for it any more.
        self.pipeline.finished(end).await;
        self.audit.flush().await;
        tokio::join!(self.health.stop(LAST_CLOSE), self.metrics.stop(LAST_CLOSE));
        tracing::info!("shut down");
    }
}
