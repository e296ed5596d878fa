//! What the tests stand on: servers, a service, and a client.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use datastorage::Service;
use datastorage::config::Config;
use jiff::{Timestamp, ToSpan};
use redis::aio::MultiplexedConnection;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use testbed::postgres::Postgres;
use testbed::redis::Redis;
use tokio::runtime::Runtime;

pub(crate) const DEADLINE: Duration = Duration::from_secs(180);
/// As of Kubernetes' liveness probe: who asks again and again does not wait long for one answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const EVENTS: &str = "/api/v1/audit/events";
pub(crate) const BATCH: &str = "/api/v1/audit/events/batch";

/// The servers that a service uses.
pub(crate) struct Servers {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
}

impl Servers {
    pub(crate) fn start() -> Servers {
        Servers { postgres: Postgres::start().unwrap(), redis: Redis::start().unwrap() }
    }

    /// A configuration with free ports, short pauses, and more patience than a busy machine needs.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.listen.api = "127.0.0.1:0".to_owned();
        config.listen.health = "127.0.0.1:0".to_owned();
        config.listen.metrics = "127.0.0.1:0".to_owned();
        config.auth.enabled = false;
        config.postgres.address = self.postgres.address().parse().unwrap();
        config.postgres.password_file = Some(self.postgres.password_file());
        config.postgres.write_timeout_ms = 20_000;
        config.redis.timeout_ms = 10_000;
        config.redis.address = self.redis.address().parse().unwrap();
        config.redis.password_file = Some(self.redis.password_file());
        config.queue.claim_idle_ms = 500;
        config.queue.retry_base_ms = 10;
        config
    }

    pub(crate) async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.postgres.url()).await.unwrap()
    }

    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE));
        redis::Client::open(self.redis.url())
            .unwrap()
            .get_multiplexed_async_connection_with_config(&patient)
            .await
            .unwrap()
    }

    /// How many rows there are for this correlation.
    pub(crate) async fn rows(&self, correlation_id: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE correlation_id = $1")
            .bind(correlation_id)
            .fetch_one(&mut self.sql().await)
            .await
            .unwrap()
    }

    pub(crate) async fn queued(&self) -> u64 {
        let mut connection = self.redis().await;
        redis::cmd("XLEN").arg(datastorage::queue::STREAM).query_async(&mut connection).await.unwrap()
    }

    pub(crate) async fn wait_for_rows(&self, correlation_id: &str, rows: i64) {
        wait_for(&format!("{rows} rows of {correlation_id}"), async || self.rows(correlation_id).await == rows).await;
    }
}

/// A service, and the servers that it uses, which all tests share that disturb nothing.
pub(crate) struct Stand {
    pub(crate) servers: Servers,
    pub(crate) client: Client,
    pub(crate) service: Service,
    runtime: Runtime,
}

impl Stand {
    pub(crate) fn start() -> Stand {
        let runtime = Runtime::new().unwrap();
        let servers = Servers::start();
        let service = runtime.block_on(Service::start(servers.config())).unwrap();
        let client = Client::of(&service);
        runtime.block_on(client.wait_until_up("postgres"));
        runtime.block_on(client.wait_until_up("redis"));
        Stand { servers, client, service, runtime }
    }

    pub(crate) fn run<T>(&self, test: impl Future<Output = T>) -> T {
        self.runtime.block_on(test)
    }
}

pub(crate) fn shared() -> &'static Stand {
    static STAND: OnceLock<Stand> = OnceLock::new();
    STAND.get_or_init(Stand::start)
}

/// A client of one service.
#[derive(Clone)]
pub(crate) struct Client {
    api: String,
    health: String,
    http: reqwest::Client,
}

/// An answer; its body is null where it is no JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn of(service: &Service) -> Client {
        Client::new(&service.api.to_string(), &service.health.to_string())
    }

    pub(crate) fn new(api: &str, health: &str) -> Client {
        let http = reqwest::Client::builder().timeout(DEADLINE).build().unwrap();
        Client { api: format!("http://{api}"), health: format!("http://{health}"), http }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.api))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await.unwrap()
    }

    pub(crate) async fn post_bytes(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        answer(self.request(Method::POST, path).body(body.into())).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await.unwrap()
    }

    pub(crate) async fn ready(&self) -> Answer {
        answer(self.http.get(format!("{}/readyz", self.health))).await.unwrap()
    }

    pub(crate) async fn alive(&self) -> bool {
        let probe = self.http.get(format!("{}/healthz", self.health)).timeout(PROBE_TIMEOUT);
        answer(probe).await.is_ok_and(|answer| answer.status == 200)
    }

    pub(crate) async fn wait_until_up(&self, server: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let found = self.ready().await.body;
            if found[server]["up"] == true {
                return;
            }
            assert!(Instant::now() < end, "waiting for {server} to be up: not so after {DEADLINE:?}: {found}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn wait_until_down(&self, server: &str) {
        wait_for(&format!("{server} to be down"), async || self.ready().await.body[server]["up"] == false).await;
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
    Ok(Answer { status, headers, body })
}

pub(crate) async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "waiting for {what}: not so after {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::now() - hours.hours()
}

/// An event with every required field.
pub(crate) fn event(correlation_id: &str) -> Value {
    json!({
        "version": "1.0",
        "event_type": "gateway.signal.received",
        "event_timestamp": hours_ago(0),
        "event_category": "gateway",
        "event_action": "received",
        "event_outcome": "success",
        "correlation_id": correlation_id,
        "event_data": { "signal": "HighMemory", "labels": { "pod": "api-0" } },
    })
}

/// The same event with one field set.
pub(crate) fn event_with(correlation_id: &str, field: &str, value: impl Into<Value>) -> Value {
    let mut event = event(correlation_id);
    event[field] = value.into();
    event
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4())
}
