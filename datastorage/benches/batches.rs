//! Batched events a second through the service, beside PostgreSQL's own multi-row insert: the same rows,
//! into the same table with the same indexes, with as many connections, in turns in the same run.
//!
//! `cargo bench -p datastorage` (build with `--profile dev` to measure what is deployed).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a measurement fails")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

mod stand;

use stand::Stand;

const BATCH: usize = 500;
/// Batches of one connection in one turn.
const BATCHES: usize = 10;
const TURNS: usize = 7;
const CONNECTIONS: [usize; 2] = [1, 4];

/// What a gateway sends about a signal.
fn data(n: usize) -> serde_json::Value {
    json!({
        "signal_name": "HighMemoryUsage", "fingerprint": format!("{n:064x}"), "namespace": "production",
        "target": { "kind": "Deployment", "name": format!("api-{}", n % 50) }, "occurrence_count": n % 7,
        "labels": { "severity": "critical", "team": format!("team-{}", n % 9), "pod": format!("api-{n}") },
    })
}

/// The bodies that one connection posts.
fn bodies() -> Vec<Vec<u8>> {
    let event = |n| {
        json!({
            "event_id": Uuid::now_v7(), "version": "1.0", "event_type": "gateway.signal.received",
            "event_timestamp": Timestamp::now(), "event_category": "gateway", "event_action": "received",
            "event_outcome": "success", "correlation_id": format!("rr-{}", n / 2), "namespace": "production",
            "severity": "critical", "event_data": data(n),
        })
    };
    (0..BATCHES)
        .map(|turn| json!((turn * BATCH..(turn + 1) * BATCH).map(event).collect::<Vec<_>>()).to_string().into())
        .collect()
}

async fn through_the_service(http: reqwest::Client, url: String, bodies: Vec<Vec<u8>>) {
    for body in bodies {
        let answer = http.post(&url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201, "a batch must reach PostgreSQL to be measured");
    }
}

/// The same events as one statement of literals for each batch, as `pg_dump --rows-per-insert` writes it.
fn statements() -> Vec<String> {
    let row = |n| {
        format!(
            "('{}', '{now}'::timestamptz::date, '{now}', '1.0', 'gateway.signal.received', 'gateway', 'received', \
             'success', 'rr-{}', 'production', 'critical', '{}')",
            Uuid::now_v7(),
            n / 2,
            data(n),
            now = Timestamp::now(),
        )
    };
    let statement = |turn| {
        let rows: Vec<String> = (turn * BATCH..(turn + 1) * BATCH).map(row).collect();
        format!(
            "INSERT INTO audit_events (event_id, event_date, event_timestamp, version, event_type, event_category, \
             event_action, event_outcome, correlation_id, namespace, severity, event_data) VALUES {}",
            rows.join(",")
        )
    };
    (0..BATCHES).map(statement).collect()
}

async fn multi_row_insert(mut connection: PgConnection, statements: Vec<String>) -> PgConnection {
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection
}

/// What every turn starts from.
async fn empty(admin: &mut PgConnection) {
    sqlx::raw_sql("TRUNCATE audit_events, audit_event_ids").execute(&mut *admin).await.unwrap();
    sqlx::raw_sql("CHECKPOINT").execute(admin).await.unwrap();
}

fn rate(connections: usize, took: Duration) -> f64 {
    (connections * BATCHES * BATCH) as f64 / took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let stand = Stand::start().await;
    let (postgres, service, http) = (&stand.postgres, &stand.service, reqwest::Client::new());
    let url = format!("http://{}/api/v1/audit/events/batch", service.api);
    let mut admin = PgConnection::connect(&postgres.url()).await.unwrap();

    println!("batches of {BATCH} events, events/s, median of {TURNS} turns");
    println!("connections  service  multi-row insert  ratio");
    for connections in CONNECTIONS {
        let mut links = Vec::new();
        for _ in 0..connections {
            links.push(PgConnection::connect(&postgres.url()).await.unwrap());
        }
        let (mut service_rates, mut insert_rates) = (Vec::new(), Vec::new());
        // The first turn warms up and does not count.
        for turn in 0..=TURNS {
            empty(&mut admin).await;
            let shares: Vec<_> = (0..connections).map(|_| bodies()).collect();
            let begun = Instant::now();
            let mut work = JoinSet::new();
            for share in shares {
                work.spawn(through_the_service(http.clone(), url.clone(), share));
            }
            work.join_all().await;
            let service_rate = rate(connections, begun.elapsed());

            empty(&mut admin).await;
            let shares: Vec<_> = links.drain(..).map(|link| (link, statements())).collect();
            let begun = Instant::now();
            let mut work = JoinSet::new();
            for (link, share) in shares {
                work.spawn(multi_row_insert(link, share));
            }
            links = work.join_all().await;
            if turn > 0 {
                service_rates.push(service_rate);
                insert_rates.push(rate(connections, begun.elapsed()));
            }
        }
        let (service_rate, insert_rate) = (median(service_rates), median(insert_rates));
        let ratio = service_rate / insert_rate;
        println!("{connections:>11} {service_rate:>8.0} {insert_rate:>17.0} {ratio:>6.2}");
    }
    stand.service.stop().await;
}
