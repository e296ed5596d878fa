//! What `/metrics` shows.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serving::ProcessMetrics;
use serving::metrics::Requests;

use crate::postgres::{Failure, Postgres};
use crate::queue::{Length, Queue};
use crate::state::ServerState;

/// What is counted.
pub(crate) struct Metrics {
    events: Family<AnswerLabels, Counter>,
    failures: Family<KindLabels, Counter>,
    /// Requests to the API.
    pub(crate) requests: Requests,
    /// Events of the queue that were written.
    pub(crate) worked_off: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let events = Family::<AnswerLabels, Counter>::default();
        let failures = Family::<KindLabels, Counter>::default();
        // From the start, so that the first of a kind is seen to come.
        for answer in ["stored", "queued", "refused"] {
            drop(events.get_or_create(&AnswerLabels { answer }));
        }
        for kind in ["event", "refused", "outage", "busy"] {
            drop(failures.get_or_create(&KindLabels { kind }));
        }
        Metrics { events, failures, requests: Requests::default(), worked_off: Counter::default() }
    }
}

impl Metrics {
    /// Valid events that were answered: stored, queued, or refused, by the database or for want of both.
    pub(crate) fn count_events(&self, answer: &'static str, count: usize) {
        self.events.get_or_create(&AnswerLabels { answer }).inc_by(count as u64);
    }

    /// A write did not succeed.
    pub(crate) fn count_failure(&self, failure: &Failure) {
        let kind = match failure {
            Failure::Event(_) => "event",
            Failure::Refused(_) => "refused",
            Failure::Outage(_) => "outage",
            Failure::Busy(_) => "busy",
        };
        self.failures.get_or_create(&KindLabels { kind }).inc();
    }
}

/// Shows what is counted, and how the servers and the queue are at the moment.
pub(crate) fn router(metrics: &Metrics, postgres: Arc<Postgres>, queue: Arc<Queue>) -> Router {
    let mut registry = Registry::default();
    // The library appends `_total` to a counter's name and `_info` to an info's.
    let build = BuildLabels { version: env!("CARGO_PKG_VERSION") };
    registry.register("datastorage_build", "Which datastorage this is", Info::new(build));
    registry.register("datastorage_events", "Valid events, by what they were answered", metrics.events.clone());
    registry.register(
        "datastorage_write_failures",
        "Writes to PostgreSQL that did not succeed, by kind",
        metrics.failures.clone(),
    );
    registry.register(
        "datastorage_queue_events_written",
        "Events of the queue that were written to PostgreSQL",
        metrics.worked_off.clone(),
    );
    metrics.requests.register(&mut registry, "datastorage");
    registry.register_collector(Box::new(Servers { postgres, queue }));
    registry.register_collector(Box::new(ProcessMetrics));
    Router::new().route("/metrics", get(show)).with_state(Arc::new(registry))
}

async fn show(State(registry): State<Arc<Registry>>, headers: HeaderMap) -> axum::response::Response {
    serving::metrics::answer(serving::metrics::encode(&registry), &headers)
}

/// How the servers and the queue are. What Redis does not tell at the moment is left out.
struct Servers {
    postgres: Arc<Postgres>,
    queue: Arc<Queue>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Servers")
    }
}

impl Collector for Servers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut put = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::<f64>::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let up = |is_up: bool| f64::from(u8::from(is_up));
        let redis = self.queue.state().borrow().clone();
        put("datastorage_postgresql_up", "Whether PostgreSQL can be used", up(self.postgres.is_up()))?;
        put("datastorage_redis_up", "Whether Redis can be used", up(redis.is_up()))?;
        if let ServerState::Up(Length { length, dead_letters, bytes, oldest }) = redis {
            put("datastorage_queue_events", "Events that wait for PostgreSQL", length as f64)?;
            put("datastorage_queue_bytes", "What the queue and the dead letters take", bytes as f64)?;
            let help = "For how long the oldest event of the queue has waited";
            put("datastorage_queue_oldest_age_seconds", help, oldest.as_secs_f64())?;
            put("datastorage_dead_letters", "Events that were given up", dead_letters as f64)?;
        }
        Ok(())
    }
}
