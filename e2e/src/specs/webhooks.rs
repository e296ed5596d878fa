//! Webhooks of several alerts.

use anyhow::{Result, ensure};

use crate::harness::context::Context;
use crate::harness::signals::{Alert, webhook};
use crate::harness::spec::specs;

specs!("webhooks":
    s48_a_mixed_webhook_is_answered_alert_by_alert,
);

async fn s48_a_mixed_webhook_is_answered_alert_by_alert(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let known = Alert::about_pod(&namespace, "known");
    let existing = cx.gateway().alert(known.clone()).await?.expect_created("a valid alert")?;

    let body = webhook(&[
        Alert::about_pod(&namespace, "new-1"),
        known,
        Alert::about_pod(&namespace, "over").resolved(),
        Alert::nameless().label("namespace", &namespace).label("pod", "nameless"),
        Alert::about_pod(&namespace, "new-2"),
    ]);
    let answer = cx.gateway().webhook(&body).await?;
    answer.expect(207, "a webhook of five alerts: new, known, resolved, nameless, new")?;
    for (count, expected) in [("total", 5), ("created", 2), ("deduplicated", 1), ("ignored", 1), ("failed", 1)] {
        answer.expect_at(&format!("/summary/{count}"), expected)?;
    }
    let results = answer.body["results"].as_array().map(Vec::len);
    ensure!(results == Some(5), "expected five results, one for each alert: {answer}");
    for (index, status) in [(0, "created"), (1, "duplicate"), (2, "ignored"), (4, "created")] {
        answer.expect_at(&format!("/results/{index}/status"), status)?;
    }
    answer.expect_at("/results/1/remediationRequestName", existing.name.as_str())?;
    answer.expect_at("/results/3/status", "failed")?.expect_at("/results/3/retryable", false)?;
    let reason = answer.text_at("/results/3/error")?;
    ensure!(reason.contains("alertname"), "expected the failed result to name alertname: {answer}");
    for (index, pod) in [(0, "new-1"), (4, "new-2")] {
        let name = answer.text_at(&format!("/results/{index}/remediationRequestName"))?;
        let target = cx.request(&namespace, name).await?.spec.target_resource.name;
        ensure!(target == pod, "expected result {index} to be about {pod}, its request is about {target}: {answer}");
    }

    let mut targets: Vec<String> =
        cx.requests(&namespace).await?.into_iter().map(|request| request.spec.target_resource.name).collect();
    targets.sort_unstable();
    ensure!(targets == ["known", "new-1", "new-2"], "expected requests about three pods, found {targets:?}");

    // Alertmanager takes any 2xx as delivered, so the resolution of a lone alert must be one.
    let resolved = webhook(&[Alert::about_pod(&namespace, "over").resolved()]);
    let answer = cx.gateway().webhook(&resolved).await?;
    ensure!((200..300).contains(&answer.status), "expected a resolved alert to be accepted, but {answer}");
    answer.expect_at("/status", "ignored")?;
    cx.expect_requests(&namespace, 3).await?;
    Ok(())
}
