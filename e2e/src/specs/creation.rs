//! What a signal about a new problem leads to.

use anyhow::{Context as _, Result, ensure};
use api::{Severity, SignalType, TargetType, labels};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::context::Context;
use crate::harness::fingerprint::fingerprint;
use crate::harness::signals::Alert;
use crate::harness::spec::specs;

specs!("creation":
    s01_a_valid_alert_creates_one_remediation_request,
    s38_a_signal_whose_namespace_does_not_exist_goes_to_the_gateways_own,
    s39_the_api_server_refuses_a_change_of_the_spec,
);

async fn s01_a_valid_alert_creates_one_remediation_request(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let long_value = "ä".repeat(40);
    let firing = Timestamp::now() - SignedDuration::from_mins(30);
    let alert = Alert::about_pod(&namespace, "checkout-1")
        .label("team", &long_value)
        .annotation("runbook", "https://runbooks.example/high-memory")
        .starting_at(firing);
    let sent = Timestamp::now();
    let created = cx.gateway().alert(alert).await?.expect_created("a valid alert")?;
    ensure!(created.namespace == namespace, "expected a request in {namespace}, but the answer says {created:?}");

    let request = cx.only_request(&namespace).await?;
    let name = request.metadata.name.as_deref().unwrap_or_default();
    ensure!(name == created.name, "the answer named {}, but the request in {namespace} is {name}", created.name);
    let suffix = name.strip_prefix(&format!("rr-{}-", &created.fingerprint[..12]));
    ensure!(
        suffix.is_some_and(|suffix| !suffix.is_empty()),
        "expected a name rr-<first 12 of {}>-<suffix>, found {name}",
        created.fingerprint
    );

    let spec = &request.spec;
    ensure!(spec.signal_fingerprint == created.fingerprint, "the answer and the spec differ in the fingerprint");
    ensure!(spec.signal_name == "HighMemoryUsage", "expected the alert's name, found {}", spec.signal_name);
    ensure!(spec.severity == Severity::Critical, "expected severity critical, found {:?}", spec.severity);
    ensure!(spec.signal_type == SignalType::PrometheusAlert, "expected a prometheus-alert, found {spec:?}");
    ensure!(spec.target_type == TargetType::Kubernetes, "expected target type kubernetes, found {spec:?}");
    let target = &spec.target_resource;
    ensure!(
        (target.kind.as_str(), target.name.as_str(), target.namespace.as_deref())
            == ("Pod", "checkout-1", Some(namespace.as_str())),
        "expected the target Pod checkout-1 in {namespace}, found {target:?}"
    );
    let drift = spec.firing_time.duration_since(firing).abs();
    ensure!(drift < SignedDuration::from_secs(1), "expected firingTime {firing}, found {}", spec.firing_time);
    // Both clocks are this machine's.
    let delay = spec.received_time.duration_since(sent).abs();
    ensure!(delay < SignedDuration::from_secs(15), "sent at {sent}, but receivedTime is {}", spec.received_time);
    let team = spec.signal_labels.get("team").map(String::as_str);
    ensure!(team == Some(&long_value[..62]), "expected a label cut to 31 characters of 2 bytes, found {team:?}");
    let runbook = spec.signal_annotations.get("runbook").map(String::as_str);
    ensure!(runbook == Some("https://runbooks.example/high-memory"), "expected the annotation, found {runbook:?}");
    let payload = spec.original_payload.as_deref().context("expected an originalPayload, found none")?;
    ensure!(payload.contains(&long_value), "expected the alert as it was sent in originalPayload, found {payload}");

    let found = request.metadata.labels.clone().unwrap_or_default();
    for (key, value) in [
        (labels::MANAGED_BY, labels::MANAGED_BY_GATEWAY),
        (labels::SIGNAL_TYPE, "prometheus-alert"),
        (labels::SIGNAL_FINGERPRINT, &created.fingerprint[..63]),
        (labels::SEVERITY, "critical"),
        (labels::ENVIRONMENT, "unknown"),
        (labels::PRIORITY, "P3"),
        (labels::REMEDIATION_PATH, "manual"),
    ] {
        ensure!(found.get(key).is_some_and(|found| found == value), "expected the label {key}={value} among {found:?}");
    }

    let counted = cx.await_occurrences(&namespace, name, 1).await?;
    ensure!(counted.first_seen_at == counted.last_seen_at, "seen once, but first and last differ: {counted:?}");
    Ok(())
}

async fn s38_a_signal_whose_namespace_does_not_exist_goes_to_the_gateways_own(cx: Context) -> Result<()> {
    let own = cx.surroundings().gateway_namespace();
    let (missing, node) = (cx.unique_name(), cx.unique_name());

    let created = cx.gateway().alert(Alert::about_pod(&missing, "checkout-1")).await?;
    let created = created.expect_created("an alert whose namespace does not exist")?;
    cx.adopt_request(&created.namespace, &created.name);
    ensure!(created.namespace == own, "expected the request in {own}, but the answer says {created:?}");
    let expected = fingerprint(&missing, "Pod", "checkout-1");
    ensure!(created.fingerprint == expected, "the fallback must not change the fingerprint {expected}: {created:?}");
    let request = cx.request(own, &created.name).await?;
    let found = request.metadata.labels.unwrap_or_default();
    for (key, value) in [(labels::ORIGIN_NAMESPACE, missing.as_str()), (labels::CLUSTER_SCOPED, "true")] {
        ensure!(found.get(key).is_some_and(|found| found == value), "expected the label {key}={value} among {found:?}");
    }
    let repeat = cx.gateway().alert(Alert::about_pod(&missing, "checkout-1")).await?;
    repeat.expect_duplicate_of(&created, "a repeat of it")?;

    let alert = Alert::new("NodeNotReady").label("node", &node).label("namespace", "monitoring");
    let created = cx.gateway().alert(alert).await?.expect_created("an alert about a node")?;
    cx.adopt_request(&created.namespace, &created.name);
    ensure!(created.namespace == own, "a node has no namespace: expected {own}, but the answer says {created:?}");
    let expected = fingerprint("", "Node", &node);
    ensure!(created.fingerprint == expected, "a node's namespace is empty: expected {expected}, found {created:?}");
    let request = cx.request(own, &created.name).await?;
    let target = request.spec.target_resource;
    ensure!(
        (target.kind.as_str(), target.name.as_str(), target.namespace.as_deref().unwrap_or_default())
            == ("Node", node.as_str(), ""),
        "expected the target Node {node} without a namespace, found {target:?}"
    );
    let scoped = request.metadata.labels.unwrap_or_default().get(labels::CLUSTER_SCOPED).cloned();
    ensure!(scoped.as_deref() == Some("true"), "expected {}=true, found {scoped:?}", labels::CLUSTER_SCOPED);
    Ok(())
}

async fn s39_the_api_server_refuses_a_change_of_the_spec(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let created = cx.gateway().alert(Alert::about_pod(&namespace, "checkout-1")).await?;
    let created = created.expect_created("a valid alert")?;
    let before = cx.request(&namespace, &created.name).await?.spec;
    for change in [
        json!({"severity": "info"}),
        json!({"signalFingerprint": "0".repeat(64)}),
        json!({"targetResource": {"name": "another"}}),
        json!({"originalPayload": null}),
    ] {
        expect_refusal(&cx, &namespace, &created.name, &change).await?;
    }
    let after = cx.request(&namespace, &created.name).await?.spec;
    ensure!(before == after, "every change was refused, but the spec has changed from {before:?} to {after:?}");
    Ok(())
}

async fn expect_refusal(cx: &Context, namespace: &str, name: &str, change: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": change}));
    match cx.requests_in(namespace).patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) => ensure!(
            status.code == 422 && status.message.contains("immutable"),
            "expected the change {change} of {name} to be refused with 422 as immutable, found {}: {}",
            status.code,
            status.message
        ),
        Err(other) => Err(other).with_context(|| format!("changing {change} of {name} in {namespace}"))?,
        Ok(_) => anyhow::bail!("expected the change {change} of {name} in {namespace} to be refused, it was accepted"),
    }
    Ok(())
}
