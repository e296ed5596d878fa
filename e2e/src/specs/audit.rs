//! What the gateway puts on record.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::context::Context;
use crate::harness::datastorage::types;
use crate::harness::signals::Alert;
use crate::harness::spec::specs;

specs!("audit":
    s36_a_new_signal_leaves_exactly_two_audit_events,
    s37_a_duplicate_leaves_an_audit_event_with_its_occurrence_count,
);

async fn s36_a_new_signal_leaves_exactly_two_audit_events(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let created = cx.gateway().alert(Alert::about_pod(&namespace, "checkout-1")).await?;
    let created = created.expect_created("a valid alert")?;
    let datastorage = cx.datastorage();
    datastorage.await_correlated(&created.name, 2).await?;

    // When a later signal's are on record, a third of the first would be too.
    let later = cx.gateway().alert(Alert::about_pod(&namespace, "checkout-2")).await?;
    let later = later.expect_created("a second valid alert")?;
    datastorage.await_correlated(&later.name, 2).await?;
    let events = datastorage.correlated(&created.name).await?;
    let expected = ["gateway.crd.created", "gateway.signal.received"];
    ensure!(types(&events) == expected, "expected exactly the audit events {expected:?}, found {:?}", types(&events));
    for event in &events {
        for (member, expected) in
            [("event_category", "gateway"), ("event_outcome", "success"), ("correlation_id", created.name.as_str())]
        {
            ensure!(event[member] == expected, "expected {member} {expected} in every event, found {event}");
        }
        let data = &event["event_data"];
        ensure!(data["fingerprint"] == created.fingerprint, "expected the fingerprint in event_data, found {event}");
        let request = format!("{namespace}/{}", created.name);
        ensure!(data["remediation_request"] == request, "expected {request} in event_data, found {event}");
        ensure!(data["target"]["name"] == "checkout-1", "expected the target checkout-1 in event_data, found {event}");
    }
    let of_type = |kind: &str| events.iter().find(|event| event["event_type"] == kind);
    let received = of_type("gateway.signal.received").context("there is no gateway.signal.received")?;
    let payload = received["event_data"]["original_payload"].as_str().unwrap_or_default();
    let payload: Value = serde_json::from_str(payload)
        .with_context(|| format!("expected the alert as it came in event_data.original_payload, found {received}"))?;
    ensure!(
        payload["labels"]["pod"] == "checkout-1" && payload["annotations"]["summary"] == "made by a spec",
        "expected the alert as it came, found {payload}"
    );
    let made = of_type("gateway.crd.created").context("there is no gateway.crd.created")?;
    for (member, expected) in [("environment", "unknown"), ("priority", "P3"), ("remediation_path", "manual")] {
        ensure!(made["event_data"][member] == expected, "expected {member} {expected} in event_data, found {made}");
    }
    Ok(())
}

async fn s37_a_duplicate_leaves_an_audit_event_with_its_occurrence_count(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    for repeat in ["its first repeat", "its second repeat"] {
        cx.gateway().alert(alert.clone()).await?.expect_duplicate_of(&created, repeat)?;
    }
    let expected = ["gateway.signal.deduplicated"; 2];
    let events = cx.datastorage().await_types(&created.name, &expected).await?;
    let counts: Vec<i64> = events
        .iter()
        .filter(|event| event["event_type"] == "gateway.signal.deduplicated")
        .map(|event| event["event_data"]["occurrence_count"].as_i64())
        .map(|count| count.context("a deduplicated event has no event_data.occurrence_count"))
        .collect::<Result<_>>()?;
    ensure!(
        counts.contains(&2) && counts.contains(&3) && counts.len() == 2,
        "expected gateway.signal.deduplicated with the occurrence counts 2 and 3, found {counts:?} in {:?}",
        types(&events)
    );
    Ok(())
}
