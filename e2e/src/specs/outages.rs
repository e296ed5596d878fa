//! Parts of the system go and come back.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::harness::context::{Context, SOON};
use crate::harness::datastorage::{audit_event, types};
use crate::harness::half_sent::HalfSent;
use crate::harness::signals::{Alert, webhook};
use crate::harness::spec::specs;
use crate::harness::surroundings::Part;
use crate::harness::wait::eventually;

/// Requests that are in flight when the gateway is told to end.
const IN_FLIGHT: usize = 10;

specs!("outages":
    #alone(Gateway; DataStorage, PostgreSql) s34_deduplication_holds_when_the_gateway_is_replaced,
    #alone(Gateway; DataStorage, PostgreSql) s56_requests_in_flight_at_sigterm_are_answered_and_audited,
    #alone(DataStorage; Gateway, PostgreSql) s35_signals_are_accepted_while_datastorage_is_away_and_audited_when_it_is_back,
    #alone(PostgreSql; DataStorage) s41_audit_events_outlive_an_outage_of_postgresql,
);

async fn s34_deduplication_holds_when_the_gateway_is_replaced(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    // Counted and told after it was told to end, and gone soon after: what of it is on record was flushed.
    let surroundings = cx.surroundings();
    let late = webhook(std::slice::from_ref(&alert));
    let late = HalfSent::begin(&surroundings.addresses().gateway, surroundings.sender_token(), &late).await?;
    let (_, (status, body)) = tokio::try_join!(surroundings.restart_gateway(), finish_after_the_end_began(&cx, late))?;
    ensure!(status == 202, "expected the repeat in flight to be answered 202, found {status}: {body}");
    let duplicate = cx.gateway().alert(alert).await?.expect_duplicate_of(&created, "a repeat to another gateway")?;
    ensure!(duplicate.count == 3, "expected the count to go on at 3, found {duplicate:?}");
    cx.expect_requests(&namespace, 1).await?;
    let deduplicated = "gateway.signal.deduplicated";
    let expected = ["gateway.signal.received", "gateway.crd.created", deduplicated, deduplicated];
    cx.datastorage().await_types(&created.name, &expected).await?;
    Ok(())
}

async fn s56_requests_in_flight_at_sigterm_are_answered_and_audited(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let surroundings = cx.surroundings();
    let begun = (0..IN_FLIGHT).map(|number| {
        let body = webhook(&[Alert::about_pod(&namespace, &format!("checkout-{number}"))]);
        async move { HalfSent::begin(&surroundings.addresses().gateway, surroundings.sender_token(), &body).await }
    });
    let begun = try_join_all(begun).await?;
    let finished = try_join_all(begun.into_iter().map(|one| finish_after_the_end_began(&cx, one)));
    let (_, answers) = tokio::try_join!(surroundings.restart_gateway(), finished)?;
    for (status, body) in &answers {
        ensure!(*status == 201, "expected every request in flight to be answered 201, found {status}: {body}");
    }
    cx.expect_requests(&namespace, IN_FLIGHT).await?;
    for (_, body) in &answers {
        let name = body["remediationRequestName"].as_str().unwrap_or("none");
        cx.datastorage().await_types(name, &["gateway.signal.received", "gateway.crd.created"]).await?;
    }
    Ok(())
}

/// Sends the rest of a webhook once the gateway that holds it takes no more connections.
async fn finish_after_the_end_began(cx: &Context, half_sent: HalfSent) -> Result<(u16, Value)> {
    eventually(SOON, "the gateway to log that its end began", async || {
        let logs = cx.surroundings().logs(Part::Gateway, cx.started()).await?;
        ensure!(logs.iter().any(|log| log.text.contains("shutting down")), "no instance has logged it");
        Ok(())
    })
    .await?;
    half_sent.finish().await
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
