//! Parts of the system go and come back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::context::{Context, SOON};
use crate::harness::datastorage::{audit_event, types};
use crate::harness::half_sent::HalfSent;
use crate::harness::http::Request;
use crate::harness::signals::{Alert, webhook};
use crate::harness::spec::specs;
use crate::harness::surroundings::Part;
use crate::harness::wait::eventually;

/// Requests that are in flight when the gateway is told to end.
const IN_FLIGHT: usize = 10;
/// For a pod to be made, started and refused.
const ROLLOUT: Duration = Duration::from_secs(60);

specs!("outages":
    #alone(Gateway; DataStorage, PostgreSql) s34_deduplication_holds_when_the_gateway_is_replaced,
    #alone(Gateway; DataStorage, PostgreSql) s56_requests_in_flight_at_sigterm_are_answered_and_audited,
    #alone(DataStorage; Gateway, PostgreSql) s35_signals_are_accepted_while_datastorage_is_away_and_audited_when_it_is_back,
    #alone(DataStorage; Gateway, PostgreSql, Redis) s52_what_is_queued_outlives_restarts_of_redis_and_datastorage,
    #alone(DataStorage; Gateway, PostgreSql, Redis) s53_audit_outlives_the_absence_of_both_stores,
    #alone(Gateway; DataStorage) s55_a_broken_policy_does_not_replace_the_gateway,
    #alone(PostgreSql; DataStorage, Redis) s41_audit_events_outlive_an_outage_of_postgresql,
);

async fn s34_deduplication_holds_when_the_gateway_is_replaced(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    // Counted and told after it was told to end, and gone soon after: what of it is on record was flushed.
    let surroundings = cx.surroundings();
    let late = webhook(std::slice::from_ref(&alert));
    let late = HalfSent::begin(&surroundings.addresses().gateway, surroundings.sender_token(), &late).await?;
    let (_, (status, body)) =
        tokio::try_join!(surroundings.restart(Part::Gateway), finish_after_the_end_began(&cx, late))?;
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
    let (_, answers) = tokio::try_join!(surroundings.restart(Part::Gateway), finished)?;
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
    // As many as fill more than one delivery, told over more than one try.
    let alert = |pod: usize| Alert::about_pod(&namespace, &format!("checkout-{pod}"));
    let created = try_join_all((0..60).map(|pod| {
        let (gateway, alert) = (cx.gateway(), alert(pod));
        async move { gateway.alert(alert).await?.expect_created("a valid alert without a datastorage") }
    }))
    .await?;
    let repeat = cx.gateway().alert(alert(0)).await?;
    repeat.expect_duplicate_of(&created[0], "a repeat without a datastorage")?;
    cx.surroundings().bring_back(Part::DataStorage).await?;
    let (new, repeated) = (["gateway.crd.created", "gateway.signal.received"], "gateway.signal.deduplicated");
    for (pod, created) in created.iter().enumerate() {
        let mut expected = new.to_vec();
        if pod == 0 {
            expected.insert(1, repeated);
        }
        let events = cx.datastorage().await_correlated(&created.name, expected.len()).await?;
        ensure!(types(&events) == expected, "expected the audit events {expected:?}, found {:?}", types(&events));
    }
    Ok(())
}

async fn s52_what_is_queued_outlives_restarts_of_redis_and_datastorage(cx: Context) -> Result<()> {
    let correlation = cx.unique_name();
    let (datastorage, surroundings) = (cx.datastorage(), cx.surroundings());
    surroundings.take_away(Part::PostgreSql).await?;
    let mut sent = Vec::new();
    for restarted in [None, Some(Part::Redis), Some(Part::DataStorage)] {
        if let Some(part) = restarted {
            surroundings.restart(part).await?;
        }
        let batch: Vec<Value> = (0..20).map(|_| audit_event(&correlation)).collect();
        let answer = datastorage.write_batch(&json!(batch)).await?;
        answer.expect(202, "a batch while PostgreSQL is away")?;
        sent.extend(batch);
    }
    surroundings.bring_back(Part::PostgreSql).await?;
    datastorage.await_correlated(&correlation, sent.len()).await?;
    // Once the queue is empty no second row of any of them can follow.
    let last = audit_event(&cx.unique_name());
    datastorage.store(&last, "an event after PostgreSQL is back").await?;
    expect_each_once(&datastorage.correlated(&correlation).await?, &sent)
}

async fn s53_audit_outlives_the_absence_of_both_stores(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let (datastorage, surroundings) = (cx.datastorage(), cx.surroundings());
    tokio::try_join!(surroundings.take_away(Part::PostgreSql), surroundings.take_away(Part::Redis))?;
    // Nobody is sent to an instance that cannot take anything: it is asked by itself.
    let instances = surroundings.datastorages().await?;
    let instance = instances.first().context("no instance of datastorage runs")?;
    let refused = audit_event(&cx.unique_name());
    let answer = cx.datastorage_at(instance.url()).write_once(&refused).await?;
    answer.expect_problem(503, "an event while PostgreSQL and Redis are away")?;
    ensure!(answer.header("retry-after").is_some(), "expected a Retry-After: {answer}");
    let created = cx.gateway().alert(Alert::about_pod(&namespace, "checkout-1")).await?;
    let created = created.expect_created("a valid alert while PostgreSQL and Redis are away")?;
    tokio::try_join!(surroundings.bring_back(Part::Redis), surroundings.bring_back(Part::PostgreSql))?;
    let events = datastorage.await_correlated(&created.name, 2).await?;
    let expected = ["gateway.crd.created", "gateway.signal.received"];
    ensure!(types(&events) == expected, "expected the audit events {expected:?}, found {:?}", types(&events));
    Ok(())
}

async fn s55_a_broken_policy_does_not_replace_the_gateway(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let surroundings = cx.surroundings();
    surroundings.try_policy("package kubernaut.gateway.remediation\n\npath := ]\n").await?;
    eventually(ROLLOUT, "a gateway to log file and line of the broken policy", async || {
        let logs = surroundings.logs(Part::Gateway, cx.started()).await?;
        ensure!(logs.iter().any(|log| log.text.contains("remediation_path.rego:3")), "no instance has logged it");
        Ok(())
    })
    .await?;
    let instances = surroundings.gateways_health().await?;
    ensure!(instances.len() == 2, "expected the old gateway beside the new one, found {}", instances.len());
    let mut ready = 0;
    for instance in &instances {
        let answer = Request::new(cx.http(), Method::GET, instance.url(), "/readyz").send().await;
        ready += usize::from(answer.is_ok_and(|answer| answer.status == 200));
    }
    ensure!(ready == 1, "expected the old gateway alone to be ready, found {ready}");
    for pod in ["checkout-1", "checkout-2", "checkout-3"] {
        cx.gateway().alert(Alert::about_pod(&namespace, pod)).await?.expect_created("a valid alert")?;
    }
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
    expect_each_once(&rows, &[before, single, first, second])
}

fn expect_each_once(rows: &[Value], events: &[Value]) -> Result<()> {
    let mut found: Vec<&str> = rows.iter().map(id).collect();
    let mut expected: Vec<&str> = events.iter().map(id).collect();
    found.sort_unstable();
    expected.sort_unstable();
    ensure!(found == expected, "expected each of the events {expected:?} once, found {found:?}");
    Ok(())
}

fn id(event: &Value) -> &str {
    event["event_id"].as_str().unwrap_or("none")
}
