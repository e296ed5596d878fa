//! Parts of the system go and come back.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::harness::context::Context;
use crate::harness::datastorage::{audit_event, types};
use crate::harness::signals::Alert;
use crate::harness::spec::specs;
use crate::harness::surroundings::Part;

specs!("outages":
    #alone(Gateway; DataStorage, PostgreSql) s34_deduplication_holds_when_the_gateway_is_replaced,
    #alone(DataStorage; Gateway, PostgreSql) s35_signals_are_accepted_while_datastorage_is_away_and_audited_when_it_is_back,
    #alone(PostgreSql; DataStorage) s41_audit_events_outlive_an_outage_of_postgresql,
);

async fn s34_deduplication_holds_when_the_gateway_is_replaced(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    cx.surroundings().restart_gateway().await?;
    let duplicate = cx.gateway().alert(alert).await?.expect_duplicate_of(&created, "a repeat to another gateway")?;
    ensure!(duplicate.count == 2, "expected the count to go on at 2, found {duplicate:?}");
    cx.expect_requests(&namespace, 1).await?;
    // What the old one had not handed in yet it handed in on its way out.
    let expected = ["gateway.signal.received", "gateway.crd.created", "gateway.signal.deduplicated"];
    cx.datastorage().await_types(&created.name, &expected).await?;
    Ok(())
}

async fn s35_signals_are_accepted_while_datastorage_is_away_and_audited_when_it_is_back(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    cx.surroundings().take_away(Part::DataStorage).await?;
    let answer = cx.gateway().alert(Alert::about_pod(&namespace, "checkout-1")).await?;
    let created = answer.expect_created("a valid alert without a datastorage")?;
    cx.surroundings().bring_back(Part::DataStorage).await?;
    let events = cx.datastorage().await_correlated(&created.name, 2).await?;
    let expected = ["gateway.crd.created", "gateway.signal.received"];
    ensure!(types(&events) == expected, "expected the audit events {expected:?}, found {:?}", types(&events));
    Ok(())
}

async fn s41_audit_events_outlive_an_outage_of_postgresql(cx: Context) -> Result<()> {
    let correlation = cx.unique_name();
    let datastorage = cx.datastorage();
    let before = audit_event(&correlation);
    datastorage.store(&before, "an event while PostgreSQL is there").await?;

    cx.surroundings().take_away(Part::PostgreSql).await?;
    let (single, first, second) = (audit_event(&correlation), audit_event(&correlation), audit_event(&correlation));
    // The second time stands for a client that lost the answer: it must not become a second row.
    for time in ["first", "second"] {
        let answer = datastorage.write(&single).await?;
        answer.expect(202, &format!("an event while PostgreSQL is away, sent the {time} time"))?;
        answer.expect_at("/status", "accepted")?;
    }
    let batch = datastorage.write_batch(&json!([first, second])).await?;
    batch.expect(202, "a batch while PostgreSQL is away")?;

    cx.surroundings().bring_back(Part::PostgreSql).await?;
    datastorage.await_correlated(&correlation, 4).await?;
    let after = audit_event(&cx.unique_name());
    datastorage.store(&after, "an event after PostgreSQL is back").await?;
    let repeats = [&before, &single, &first, &second].map(|event| datastorage.write(event));
    for answer in try_join_all(repeats).await? {
        // Queued is accepted, too: a write that takes its time is not waited for.
        ensure!((200..=202).contains(&answer.status), "expected a repeat of an event to be accepted, but {answer}");
    }
    let rows = datastorage.correlated(&correlation).await?;
    let mut found: Vec<&str> = rows.iter().map(id).collect();
    let mut expected: Vec<&str> = [&before, &single, &first, &second].map(id).to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    ensure!(found == expected, "expected each of the events {expected:?} once, found {found:?}");
    Ok(())
}

fn id(event: &Value) -> &str {
    event["event_id"].as_str().unwrap_or("none")
}
