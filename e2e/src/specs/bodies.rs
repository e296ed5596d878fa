//! Requests that the gateway refuses for what they are: body, size, type, path, method.

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use crate::harness::context::Context;
use crate::harness::gateway::{KUBERNETES_EVENT, PROMETHEUS};
use crate::harness::signals::{Alert, event, webhook, webhook_with_common_labels};
use crate::harness::spec::specs;

specs!("bodies":
    s14_malformed_json_is_a_problem_with_every_member,
    s15_an_empty_body_and_a_webhook_without_alerts_are_refused,
    s16_an_alert_without_a_name_is_refused,
    s17_a_body_that_is_too_large_is_refused_and_a_large_group_is_not,
    s50_text_that_cannot_be_stored_is_refused,
    s18_a_body_that_is_not_json_by_its_type_is_refused,
    s19_an_unknown_path_is_not_found,
    s20_get_is_not_allowed_on_a_webhook,
);

/// The largest Event that is accepted, in bytes.
const EVENT_LIMIT: usize = 256 * 1024;
/// The largest webhook, in bytes and in alerts.
const WEBHOOK_LIMIT: usize = 4 * 1024 * 1024;
const ALERTS_LIMIT: usize = 5_000;
/// How often a group is sent at most.
const TRIES: usize = 3;

async fn s14_malformed_json_is_a_problem_with_every_member(cx: Context) -> Result<()> {
    for path in [PROMETHEUS, KUBERNETES_EVENT] {
        for body in ["{\"alerts\": [", "not JSON", "[]", "\"text\"", "{\"alerts\": 7, \"involvedObject\": 7}"] {
            let request = cx.gateway().post(path).header(CONTENT_TYPE, "application/json").body(body.to_owned());
            request.send().await?.expect_problem(400, &format!("the body `{body}`"))?;
        }
    }
    Ok(())
}

async fn s15_an_empty_body_and_a_webhook_without_alerts_are_refused(cx: Context) -> Result<()> {
    for path in [PROMETHEUS, KUBERNETES_EVENT] {
        let request = cx.gateway().post(path).header(CONTENT_TYPE, "application/json").body(String::new());
        request.send().await?.expect_problem(400, "an empty body")?;
    }
    cx.gateway().webhook(&webhook(&[])).await?.expect_problem(400, "a webhook with `alerts: []`")?;
    let mut without = webhook(&[]);
    without.as_object_mut().and_then(|body| body.remove("alerts")).context("the webhook has no alerts")?;
    cx.gateway().webhook(&without).await?.expect_problem(400, "a webhook without the member alerts")?;
    Ok(())
}

async fn s16_an_alert_without_a_name_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::nameless().label("namespace", &namespace).label("pod", "checkout-1");
    cx.gateway().alert(alert.clone()).await?.expect_problem(400, "an alert without a name")?;
    let empty = alert.clone().label("alertname", "");
    cx.gateway().alert(empty).await?.expect_problem(400, "an alert with an empty name")?;
    cx.expect_requests(&namespace, 0).await?;

    // Alertmanager puts what all alerts share into the common labels too; an alert's own label wins.
    let body = webhook_with_common_labels(&[alert], &[("alertname", "FromCommon"), ("pod", "from-common")]);
    let created = cx.gateway().webhook(&body).await?.expect_created("an alert whose name is a common label")?;
    let spec = cx.request(&namespace, &created.name).await?.spec;
    ensure!(spec.signal_name == "FromCommon", "expected the common label as the name, found {}", spec.signal_name);
    let target = spec.target_resource.name;
    ensure!(target == "checkout-1", "expected the alert's own label pod to win, found the target {target}");
    Ok(())
}

async fn s17_a_body_that_is_too_large_is_refused_and_a_large_group_is_not(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    for (path, limit) in [(PROMETHEUS, WEBHOOK_LIMIT), (KUBERNETES_EVENT, EVENT_LIMIT)] {
        let too_large = webhook_of_size(&namespace, limit + 1)?;
        let request = cx.gateway().post(path).header(CONTENT_TYPE, "application/json").body(too_large);
        request.send().await?.expect_problem(413, &format!("a body of {limit} bytes and one more"))?;
    }
    let nothing = vec![Alert::nameless(); ALERTS_LIMIT + 1];
    cx.gateway().webhook(&webhook(&nothing)).await?.expect_problem(413, "a webhook of one alert too many")?;
    cx.expect_requests(&namespace, 0).await?;

    let largest = webhook_of_size(&namespace, EVENT_LIMIT)?;
    let request = cx.gateway().post(PROMETHEUS).header(CONTENT_TYPE, "application/json").body(largest);
    request.send().await?.expect_created("an alert of nearly 256 KiB")?;
    // About one pod, so that this is about the body's size and not about 400 objects; and about another one than before:
    // each count rewrites the whole object, which holds 256 KiB there.
    let description = "x".repeat(600);
    let ordinary = Alert::about_pod(&namespace, "checkout-2").annotation("description", &description);
    let group = webhook(&vec![ordinary; 400]);
    let bytes = group.to_string().len();
    ensure!(bytes > EVENT_LIMIT, "a group of 400 must be larger than an Event may be, it has {bytes} bytes");
    // Work that takes longer than one try is gone on with in the next, as an Alertmanager makes it.
    for _ in 0..TRIES {
        let answer = cx.gateway().webhook(&group).await?;
        if answer.status != 503 {
            answer.expect(207, "a group of 400 ordinary alerts")?.expect_at("/summary/failed", 0)?;
            cx.expect_requests(&namespace, 2).await?;
            return Ok(());
        }
    }
    bail!("a group of 400 ordinary alerts was not delivered in {TRIES} tries")
}

/// A valid webhook of that many bytes.
fn webhook_of_size(namespace: &str, bytes: usize) -> Result<String> {
    // A fixed time, so that the frame has the same length each time.
    let alert = Alert::about_pod(namespace, "checkout-1").starting_at(Timestamp::UNIX_EPOCH);
    let body = |padding: usize| webhook(&[alert.clone().annotation("padding", &"x".repeat(padding))]).to_string();
    let padding = bytes.checked_sub(body(0).len()).context("the frame alone is larger than that")?;
    Ok(body(padding))
}

async fn s50_text_that_cannot_be_stored_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    for (what, label) in [("the alert's name", "alertname"), ("the pod's name", "pod"), ("another label", "note")] {
        let alert = Alert::about_pod(&namespace, "checkout-1").label(label, "nul\0here");
        cx.gateway().alert(alert).await?.expect_problem(400, &format!("U+0000 in {what}"))?;
    }
    let lone = webhook(&[Alert::about_pod(&namespace, "checkout-1").label("note", "HALF")]).to_string();
    let lone = lone.replace("HALF", "\\ud800");
    let request = cx.gateway().post(PROMETHEUS).header(CONTENT_TYPE, "application/json").body(lone);
    request.send().await?.expect_problem(400, "half of a surrogate pair in a label")?;
    let mut warning = event(&namespace, "Pod", "checkout-2", "BackOff");
    warning["message"] = json!("nul\0here");
    cx.gateway().event(&warning).await?.expect_problem(400, "U+0000 in an event's message")?;
    cx.expect_requests(&namespace, 0).await?;
    // All other characters are taken, and audited.
    let fine = Alert::about_pod(&namespace, "checkout-3").label("note", "\u{1}\u{7f}ü😀");
    let created = cx.gateway().alert(fine).await?.expect_created("an alert with odd characters in a label")?;
    cx.datastorage().await_correlated(&created.name, 2).await?;
    Ok(())
}

async fn s18_a_body_that_is_not_json_by_its_type_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let body = webhook(&[Alert::about_pod(&namespace, "checkout-1")]).to_string();
    for path in [PROMETHEUS, KUBERNETES_EVENT] {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonlines"] {
            let request = cx.gateway().post(path).header(CONTENT_TYPE, content_type).body(body.clone());
            request.send().await?.expect_problem(415, &format!("a body of type {content_type}"))?;
        }
    }
    cx.expect_requests(&namespace, 0).await?;
    let untyped = cx.gateway().post(PROMETHEUS).body(body.clone()).send().await?;
    let created = untyped.expect_created("a body without a Content-Type")?;
    let request = cx.gateway().post(PROMETHEUS).header(CONTENT_TYPE, "application/json; charset=utf-8").body(body);
    request.send().await?.expect_duplicate_of(&created, "a Content-Type with a parameter")?;
    Ok(())
}

async fn s19_an_unknown_path_is_not_found(cx: Context) -> Result<()> {
    for path in ["/", "/api/v1/signals", "/api/v1/signals/datadog", "/api/v1/signals/prometheus/more", "/metrics"] {
        cx.gateway().post(path).json(&json!({})).send().await?.expect_problem(404, "an unknown path")?;
    }
    Ok(())
}

async fn s20_get_is_not_allowed_on_a_webhook(cx: Context) -> Result<()> {
    for path in [PROMETHEUS, KUBERNETES_EVENT] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = cx.gateway().request(method.clone(), path).send().await?;
            answer.expect_problem(405, &format!("{method} on a webhook"))?;
            let allowed = answer.header("allow").unwrap_or("none");
            ensure!(allowed.contains("POST"), "expected a header Allow with POST, found {allowed}: {answer}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_has_the_size_that_was_asked_for() {
        for bytes in [EVENT_LIMIT, WEBHOOK_LIMIT + 1] {
            assert_eq!(webhook_of_size("shop", bytes).unwrap().len(), bytes);
        }
        assert!(webhook_of_size("shop", 10).is_err());
    }
}
