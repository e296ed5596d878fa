//! How long a page takes at the beginning and far behind it, in a table of many rows, by cursor and by what narrows.
//!
//! `DATASTORAGE_BENCH_ROWS=10000000 cargo bench -p datastorage --bench pages`; a million rows where nothing is said.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a measurement fails")]

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, PgConnection};

mod stand;

use stand::Stand;

const ROWS_ENV: &str = "DATASTORAGE_BENCH_ROWS";
const PAGES: usize = 10_000;
/// Pages at each end that a median is taken of.
const SOME: usize = 50;

/// Rows of the last two months, as a gateway writes them: each correlation has four, each type every fourth.
const FILL: &str = "
INSERT INTO audit_events (event_id, event_date, event_timestamp, version, event_type, event_category, event_action,
                          event_outcome, correlation_id, severity, event_data)
SELECT gen_random_uuid(), (at AT TIME ZONE 'UTC')::date, at, '1.0', 'gateway.type.' || n % 4, 'gateway', 'received',
       CASE WHEN n % 1000 = 0 THEN 'failure' ELSE 'success' END, 'rr-' || n / 4, 'critical',
       jsonb_build_object('fingerprint', md5(n::text), 'target', jsonb_build_object('name', 'api-' || n % 50))
FROM (SELECT n, date_trunc('month', now()) - n * (interval '27 days' / $1) + interval '1 s' AS at
      FROM generate_series(1, $1) AS n) AS made";

struct Timed {
    took: Duration,
    body: Value,
}

async fn get(http: &reqwest::Client, url: &str) -> Timed {
    let begun = Instant::now();
    let answer = http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "a page must be read to be measured");
    let bytes = answer.bytes().await.unwrap();
    let took = begun.elapsed();
    Timed { took, body: serde_json::from_slice(&bytes).unwrap() }
}

fn shown(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1000.0;
    println!("{what:<34} {:>8.1} {:>8.1}", ms(times.len() / 2), ms(times.len() - 1));
}

#[tokio::main]
async fn main() {
    let rows: i64 = std::env::var(ROWS_ENV).map_or(1_000_000, |rows| rows.parse().unwrap());
    let stand = Stand::start().await;
    let mut admin = PgConnection::connect(&stand.postgres.url()).await.unwrap();
    let begun = Instant::now();
    sqlx::query(FILL).bind(rows).execute(&mut admin).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE audit_events").execute(&mut admin).await.unwrap();
    println!("{rows} rows, filled in {:.0} s; ms, median and most of {SOME}", begun.elapsed().as_secs_f64());

    let http = reqwest::Client::new();
    let base = format!("http://{}/api/v1/audit/events?limit=50", stand.service.api);
    let (mut times, mut after) = (Vec::new(), String::new());
    for _ in 0..PAGES {
        let page = get(&http, &format!("{base}{after}")).await;
        times.push(page.took);
        let Some(next) = page.body["pagination"]["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    shown("pages 1 to 50, by cursor", times[..SOME].to_vec());
    shown(&format!("pages to {}, by cursor", times.len()), times[times.len() - SOME..].to_vec());
    for narrowed in ["&correlation_id=rr-7", "&event_type=gateway.type.1", "&event_outcome=failure", "&severity=info"] {
        let mut times = Vec::new();
        for _ in 0..SOME {
            times.push(get(&http, &format!("{base}{narrowed}")).await.took);
        }
        shown(&narrowed[1..], times);
    }
    shown("total=exact", vec![get(&http, &format!("{base}&total=exact")).await.took]);
    stand.service.stop().await;
}
