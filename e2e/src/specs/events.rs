//! Kubernetes Events as signals.

use anyhow::{Context as _, Result, ensure};
use api::{Severity, SignalType};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::harness::context::Context;
use crate::harness::fingerprint::fingerprint;
use crate::harness::signals::event;
use crate::harness::spec::specs;

specs!("events":
    s09_a_warning_event_creates_a_request_for_its_involved_object,
    s10_a_normal_event_is_ignored,
    s11_an_event_without_reason_kind_or_name_is_refused,
    s12_an_event_of_an_oom_kill_is_critical,
);

async fn s09_a_warning_event_creates_a_request_for_its_involved_object(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    // What the API server makes of it is what any watcher of events would send.
    let events: Api<Event> = Api::namespaced(cx.kubernetes(), &namespace);
    let warning = serde_json::from_value(event(&namespace, "StatefulSet", "ledger", "FailedCreate"))
        .context("putting an Event together")?;
    let stored = events.create(&PostParams::default(), &warning).await.context("making an Event")?;
    let body = serde_json::to_value(&stored).context("writing an Event as JSON")?;

    let answer = cx.gateway().event(&body).await?;
    let created = answer.expect_created("a Warning event")?;
    ensure!(created.namespace == namespace, "expected the request in {namespace}, but {answer}");
    let expected = fingerprint(&namespace, "StatefulSet", "ledger");
    ensure!(created.fingerprint == expected, "expected that of StatefulSet ledger, {expected}, but {answer}");
    let spec = cx.only_request(&namespace).await?.spec;
    ensure!(spec.signal_type == SignalType::KubernetesEvent, "expected a kubernetes-event, found {spec:?}");
    ensure!(spec.signal_name == "FailedCreate", "expected the event's reason, found {}", spec.signal_name);
    ensure!(spec.severity == Severity::Warning, "expected severity warning, found {:?}", spec.severity);
    let target = &spec.target_resource;
    ensure!(
        (target.kind.as_str(), target.name.as_str(), target.namespace.as_deref())
            == ("StatefulSet", "ledger", Some(namespace.as_str())),
        "expected the target StatefulSet ledger in {namespace}, found {target:?}"
    );
    let last = stored.last_timestamp.context("the stored Event has no lastTimestamp")?.0;
    ensure!(spec.firing_time == last, "expected firingTime {last}, found {}", spec.firing_time);

    let repeat = cx.gateway().event(&body).await?;
    repeat.expect_duplicate_of(&created, "the same event again")?;
    Ok(())
}

async fn s10_a_normal_event_is_ignored(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let mut body = event(&namespace, "Pod", "checkout-1", "Scheduled");
    body["type"] = json!("Normal");
    let answer = cx.gateway().event(&body).await?;
    answer.expect(200, "an event of type Normal")?.expect_at("/status", "ignored")?;
    cx.expect_requests(&namespace, 0).await?;
    // It is its type alone.
    body["type"] = json!("Warning");
    cx.gateway().event(&body).await?.expect_created("the same event of type Warning")?;
    Ok(())
}

async fn s11_an_event_without_reason_kind_or_name_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let complete = event(&namespace, "Pod", "checkout-1", "BackOff");
    for pointer in ["/reason", "/involvedObject/kind", "/involvedObject/name", "/involvedObject"] {
        let (parent, member) = pointer.rsplit_once('/').context("a pointer begins with a slash")?;
        let mut lacking = complete.clone();
        let object = lacking.pointer_mut(parent).and_then(|parent| parent.as_object_mut());
        object.and_then(|object| object.remove(member)).context("the event lacks the member already")?;
        let answer = cx.gateway().event(&lacking).await?;
        answer.expect_problem(400, &format!("an event without {pointer}"))?;
        if pointer != "/involvedObject" {
            // What a Go client writes for a field that is not set.
            let mut empty = complete.clone();
            *empty.pointer_mut(pointer).context("the event lacks the member already")? = json!("");
            let answer = cx.gateway().event(&empty).await?;
            answer.expect_problem(400, &format!("an event with an empty {pointer}"))?;
        }
    }
    cx.expect_requests(&namespace, 0).await?;
    cx.gateway().event(&complete).await?.expect_created("the same event with everything in it")?;
    Ok(())
}

async fn s12_an_event_of_an_oom_kill_is_critical(cx: Context) -> Result<()> {
    let namespace = &cx.namespace().await?;
    let critical = ["OOMKilled", "NodeNotReady", "FailedScheduling", "Evicted", "FailedMount", "NetworkNotReady"];
    let mut cases: Vec<(&str, &str, Severity)> =
        critical.into_iter().map(|reason| ("Warning", reason, Severity::Critical)).collect();
    cases.push(("Error", "SomethingBroke", Severity::Critical));
    cases.push(("Warning", "BackOff", Severity::Warning));
    let cx = &cx;
    let sent = cases.iter().map(|(kind, reason, severity)| async move {
        let mut body = event(namespace, "Pod", &reason.to_lowercase(), reason);
        body["type"] = json!(kind);
        let what = format!("an event of type {kind} with the reason {reason}");
        let created = cx.gateway().event(&body).await?.expect_created(&what)?;
        let found = cx.request(namespace, &created.name).await?.spec.severity;
        ensure!(found == *severity, "{what}: expected severity {severity:?}, found {found:?}");
        Ok(())
    });
    try_join_all(sent).await?;
    Ok(())
}
