//! The way of one signal: top owner, fingerprint, request, audit.
//!
//! Once begun it goes to its end, whether or not the sender still waits: what was created must be audited.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::audit::{self, Subject};
use crate::metrics::Metrics;
use crate::owner::Owners;
use crate::policy::Policy;
use crate::priority::priority;
use crate::problem;
use crate::remediation::{Context, Problem, RecordError, Recorded, Store};
use crate::scope::Scope;
use crate::signal::Signal;
use serving::kubernetes::CallError;

/// What every signal goes through.
pub(crate) struct Pipeline {
    pub(crate) scope: Scope,
    pub(crate) owners: Owners,
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) trail: audit::Trail,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) room: Room,
}

/// What all signals that are being worked on may hold together.
pub(crate) struct Room(Arc<Semaphore>);

/// In kibibytes of what the signals were sent as; the work on one takes several times that.
const ROOM_KIB: u32 = 12 * 1024;

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB as usize)))
    }
}

/// What became of a signal.
pub(crate) enum Outcome {
    Recorded {
        fingerprint: String,
        recorded: Recorded,
    },
    /// The gateway does not look after what the signal is about; why not.
    Ignored {
        reason: String,
    },
}

impl Pipeline {
    /// Takes a valid signal, which was sent as so many bytes, and hands the outcome to `told`. The work begins once
    /// there is room for it; nothing is created after `deadline` that was not being created then.
    ///
    /// # Errors
    /// Why it failed. None comes after the deadline: then the outcome is told, but not returned.
    pub(crate) async fn take<T: Send + 'static>(
        self: &Arc<Self>,
        signal: Signal,
        bytes: usize,
        deadline: Instant,
        told: impl FnOnce(Result<Outcome, problem::Problem>) -> T + Send + 'static,
    ) -> Option<T> {
        let kibibytes = u32::try_from(bytes / 1024 + 1).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        let room = tokio::time::timeout_at(deadline, Arc::clone(&self.room.0).acquire_many_owned(kibibytes)).await;
        // It is never closed.
        let room = room.ok()?.ok()?;
        let pipeline = Arc::clone(self);
        let work = async move {
            let mut signal = signal;
            let outcome = pipeline.work(&mut signal, deadline).await;
            drop((signal, room));
            told(outcome)
        };
        tokio::time::timeout_at(deadline, tokio::spawn(work.in_current_span())).await.ok()?.ok()
    }

    /// Waits until nothing is being worked on, but no longer than until `end`.
    pub(crate) async fn finished(&self, end: Instant) {
        if tokio::time::timeout_at(end, self.room.0.acquire_many(ROOM_KIB)).await.is_err() {
            tracing::warn!("signals were still being worked on at the shutdown's deadline");
        }
    }

    async fn work(&self, signal: &mut Signal, deadline: Instant) -> Result<Outcome, problem::Problem> {
        let received = Timestamp::now();
        if let Some(reason) =
            self.scope.excludes(&signal.target.namespace).await.map_err(|error| unavailable(&error))?
        {
            self.metrics.count_rejected("out_of_scope");
            return Ok(Outcome::Ignored { reason });
        }
        let source_type = signal.signal_type.as_str();
        self.metrics.count_received(source_type, signal.severity.as_str());
        if signal.target.means_its_node
            && let Some(node) = self.owners.node_of(&signal.target).await.map_err(|error| unavailable(&error))?
        {
            signal.target = node;
        }
        let signal = &*signal;
        let top = self.owners.top(&signal.target).await.map_err(|error| unavailable(&error))?;
        let problem = Problem::of(top);
        tracing::debug!(top = ?problem.top, fingerprint = %problem.fingerprint, "found the top owner");
        let context = |environment: &str| {
            let priority = priority(signal.severity, environment);
            let remediation_path = self.policy.path(priority, environment);
            Context { environment: environment.to_owned(), priority, remediation_path }
        };
        let subject = |namespace: &str, name: &str| Subject {
            signal,
            fingerprint: &problem.fingerprint,
            request_name: name.to_owned(),
            request_namespace: namespace.to_owned(),
        };
        match self.store.record(signal, &problem, received, deadline, context).await {
            Ok(recorded) => {
                match &recorded {
                    Recorded::Created { namespace, name, context } => {
                        self.metrics.count_created(source_type);
                        let subject = subject(namespace, name);
                        self.trail.tell(audit::Event::received(&subject));
                        let Context { environment, priority, remediation_path } = context;
                        self.trail.tell(audit::Event::created(&subject, environment, priority, remediation_path));
                        tracing::info!(namespace, name, fingerprint = %problem.fingerprint, "created a RemediationRequest");
                    }
                    Recorded::Duplicate { namespace, name, deduplication } => {
                        self.metrics.count_deduplicated(source_type);
                        let count = deduplication.occurrence_count;
                        self.trail.tell(audit::Event::deduplicated(&subject(namespace, name), count));
                        tracing::debug!(namespace, name, count, "counted a duplicate");
                    }
                }
                Ok(Outcome::Recorded { fingerprint: problem.fingerprint.to_string(), recorded })
            }
            Err(RecordError { error, wanted: Some((namespace, name)) }) => {
                self.metrics.count_creation_error(error.kind());
                self.trail.tell(audit::Event::failed(&subject(&namespace, &name), error.kind()));
                if error.is_refusal() {
                    tracing::error!(%error, "the API server refuses what a signal became");
                    return Err(problem::Problem::invalid(
                        "the Kubernetes API refuses a RemediationRequest for this signal",
                    ));
                }
                Err(unavailable(&error))
            }
            Err(RecordError { error, wanted: None }) => Err(unavailable(&error)),
        }
    }
}

/// What the sender is told; what happened stands in the log.
pub(crate) fn unavailable(error: &CallError) -> problem::Problem {
    tracing::error!(%error, "the Kubernetes API could not be used");
    if error.is_too_late() {
        return problem::Problem::deadline_exceeded();
    }
    problem::Problem::unavailable(error.retry_after_seconds())
}
