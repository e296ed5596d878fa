//! What every use of the Kubernetes API has in common: a deadline, and errors that say what was being done.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::core::Status;
use kube::{Client, Config};

/// A client for the cluster that this process runs in, or else for KUBECONFIG's current context.
///
/// # Errors
/// When neither is there, or its certificates cannot be used.
pub async fn connect() -> Result<Client> {
    let mut config =
        Config::infer().await.context("looking for a Kubernetes cluster: run in a pod, or set KUBECONFIG")?;
    // A sender that is told 503 tries again by itself; retries in here would only use up its patience.
    config.default_retry = false;
    Client::try_from(config).context("making a Kubernetes client")
}

/// A call that did not succeed.
#[derive(Debug)]
pub struct CallError {
    /// What was being done to which object.
    pub doing: String,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Cause {
    /// No answer within the call's deadline.
    Slow(Duration),
    /// Not begun, since the whole request's deadline had come.
    TooLate,
    /// The API server said no, or could not be reached.
    Kube(Box<kube::Error>),
}

impl CallError {
    /// Of a call that was not begun.
    pub fn too_late(doing: String) -> Self {
        Self { doing, cause: Cause::TooLate }
    }

    /// What the API server said, if it said anything.
    pub fn status(&self) -> Option<&Status> {
        match &self.cause {
            Cause::Kube(error) => status_of(error),
            Cause::Slow(_) | Cause::TooLate => None,
        }
    }

    /// Whether the API server may have done what it was asked for: no answer came, or one of what stands before it.
    pub fn is_unclear(&self) -> bool {
        match &self.cause {
            Cause::TooLate => false,
            Cause::Slow(_) => true,
            Cause::Kube(error) => {
                status_of(error).is_none_or(|status| status.code >= 500 && !is_too_large_for_etcd(status))
            }
        }
    }

    /// Whether the request's deadline came before it was begun.
    pub fn is_too_late(&self) -> bool {
        matches!(self.cause, Cause::TooLate)
    }

    /// Whether the API server refuses the object itself, so that sending it again does not help: it is invalid, or too
    /// large to be kept, or an admission policy or a webhook denies it. Not so where the service may not create any, or a quota is used up: that
    /// is for the cluster's operators to mend.
    pub fn is_refusal(&self) -> bool {
        self.status().is_some_and(|status| match status.code {
            400 | 413 | 422 => true,
            403 => {
                let message = &status.message;
                // Admission webhooks and policies say so themselves; the authorizer says that the user cannot.
                message.contains("denied the request") || message.contains("denied request")
            }
            _ => is_too_large_for_etcd(status),
        })
    }

    /// Whether discovery found no such group or kind, or may not be asked.
    pub fn is_unknown_kind(&self) -> bool {
        match &self.cause {
            Cause::Kube(error) if matches!(**error, kube::Error::Discovery(_)) => true,
            _ => self.status().is_some_and(|status| matches!(status.code, 403 | 404)),
        }
    }

    /// Seconds after which the API server wants to be asked again.
    pub fn retry_after_seconds(&self) -> u32 {
        let asked =
            self.status().and_then(|status| status.details.as_ref()).map_or(0, |details| details.retry_after_seconds);
        asked.max(1)
    }

    /// A word for metrics.
    pub fn kind(&self) -> &'static str {
        match (&self.cause, self.status().map(|status| status.code)) {
            (Cause::Slow(_) | Cause::TooLate, _) => "timeout",
            (_, Some(400 | 413 | 422)) => "invalid",
            (_, Some(403)) if self.is_refusal() => "denied",
            (_, Some(401 | 403)) => "forbidden",
            (_, Some(404)) => "not_found",
            (_, Some(500)) if self.is_refusal() => "invalid",
            (_, Some(409)) => "conflict",
            (_, Some(429)) => "throttled",
            (_, Some(_)) => "server_error",
            (_, None) => "unreachable",
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            Cause::TooLate => write!(f, "{}: no time was left for it", self.doing),
            Cause::Slow(deadline) => write!(f, "{}: no answer within {} ms", self.doing, deadline.as_millis()),
            Cause::Kube(error) => {
                write!(f, "{}: {error}", self.doing)?;
                let mut source = std::error::Error::source(error);
                while let Some(inner) = source {
                    write!(f, ": {inner}")?;
                    source = inner.source();
                }
                Ok(())
            }
        }
    }
}

/// Whether etcd does not keep an object that the API server took: this writes some signs as six bytes, and has no status
/// of its own for what then is too large, be it for etcd (1.5 MiB) or for its own client of it (2 MiB).
fn is_too_large_for_etcd(status: &Status) -> bool {
    let words = ["etcdserver: request is too large", "trying to send message larger than max"];
    status.code == 500 && words.iter().any(|words| status.message.contains(words))
}

/// What the API server said, if it said anything.
pub fn status_of(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Waits for `answer`, but no longer than `deadline`.
///
/// # Errors
/// When none came in time, or another one than was wanted.
pub async fn call<T>(
    deadline: Duration,
    doing: impl FnOnce() -> String,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(CallError { doing: doing(), cause: Cause::Kube(Box::new(error)) }),
        Err(_) => Err(CallError { doing: doing(), cause: Cause::Slow(deadline) }),
    }
}
