//! Hostile requests, each with the answer that it must get.
//!
//! The lists are in `hostile/`; `testbed::hostile` says how they are written.

use std::sync::{LazyLock, Mutex, PoisonError};

use sqlx::PgConnection;
use testbed::hostile::{List, Target};

use crate::stand::{BATCH, EVENTS, Stand, event, unique};

/// Nobody else writes to it, so that what is kept can be counted.
static STAND: LazyLock<Mutex<Stand>> = LazyLock::new(|| Mutex::new(Stand::start()));

/// How many events are kept.
async fn kept(sql: &mut PgConnection) -> usize {
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_events").fetch_one(sql).await.unwrap();
    usize::try_from(rows).unwrap()
}

/// Sends a list to the service, which must keep what the list says, nothing else, and be well afterwards.
fn send(list: &str) {
    let list = List::read(list).unwrap();
    let stand = STAND.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = ["Content-Type: application/json".to_owned()];
    let address = stand.service.api;
    let target = Target { address, usual: &usual, on_every_answer: &[], more_members: &["index"], value: &|_| None };
    let mut sql = stand.run(stand.servers.sql());
    let (mut faults, mut known) = (Vec::new(), stand.run(kept(&mut sql)));
    for case in &list.cases {
        if let Err(error) = list.send(case, &target) {
            faults.push(format!("{}: {error:#}", case.case));
        }
        let found = stand.run(kept(&mut sql));
        if found - known != case.makes {
            faults.push(format!("{}: kept {} events", case.case, found - known));
        }
        known = found;
    }
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), list.cases.len(), faults.join("\n"));
    stand.run(async {
        assert!(stand.client.alive().await);
        assert_eq!(stand.client.ready().await.status, 200);
        let name = unique("after-all");
        assert_eq!(stand.client.post(EVENTS, &event(&name)).await.status, 201);
        assert_eq!(stand.client.post(BATCH, &serde_json::json!([event(&name)])).await.status, 201);
        assert_eq!(stand.servers.rows(&name).await, 2);
    });
}

#[test]
fn what_is_on_the_wire() {
    send(include_str!("hostile/http.yaml"));
}

#[test]
fn audit_events() {
    send(include_str!("hostile/events.yaml"));
}

#[test]
fn batches() {
    send(include_str!("hostile/batches.yaml"));
}

#[test]
fn queries() {
    send(include_str!("hostile/queries.yaml"));
}
