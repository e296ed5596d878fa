//! Health, metrics and logs.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::harness::context::{Context, SOON};
use crate::harness::gateway::{KUBERNETES_EVENT, PROMETHEUS};
use crate::harness::half_sent::HalfSent;
use crate::harness::http::Request;
use crate::harness::metrics::Metrics;
use crate::harness::signals::{Alert, event, webhook};
use crate::harness::spec::specs;
use crate::harness::surroundings::Part;
use crate::harness::wait::eventually;

specs!("observability":
    #alone(Gateway; DataStorage) s28_the_gateway_is_healthy_and_ready_until_it_is_told_to_end,
    #alone(Gateway; DataStorage) s29_counters_rise_by_exactly_what_was_sent,
    #alone(Gateway; DataStorage) s30_the_latency_histogram_counts_every_request,
    s51_metrics_come_in_both_forms,
    #alone(Gateway; DataStorage) s47_logs_are_json_lines_with_request_ids_and_without_tokens,
);

const REQUESTS: &str = "gateway_http_request_duration_seconds_count";

async fn s28_the_gateway_is_healthy_and_ready_until_it_is_told_to_end(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let base = &cx.surroundings().addresses().gateway_health;
    for path in ["/healthz", "/readyz"] {
        let answer = Request::new(cx.http(), Method::GET, base, path).send().await?;
        answer.expect(200, "a gateway that runs")?;
    }
    let instances = cx.surroundings().gateways_health().await?;
    let going = instances.first().context("no instance of the gateway runs")?;
    // What is in flight keeps it from ending before it is looked at.
    let webhook = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    let surroundings = cx.surroundings();
    let half_sent = HalfSent::begin(&surroundings.addresses().gateway, surroundings.sender_token(), &webhook).await?;
    let look = async {
        let unready = eventually(SOON, "the instance that was told to end to be unready", async || {
            let answer = Request::new(cx.http(), Method::GET, going.url(), "/readyz").send().await?;
            answer.expect(503, "the readiness of an instance that was told to end")?;
            Ok(answer)
        });
        unready.await?.expect_at("/reason", "shutting down")?;
        let alive = Request::new(cx.http(), Method::GET, going.url(), "/healthz").send().await?;
        alive.expect(200, "the health of an instance that was told to end")?;
        let (status, body) = half_sent.finish().await?;
        ensure!(status == 201, "expected the request in flight to be answered 201, found {status}: {body}");
        Ok(())
    };
    tokio::try_join!(surroundings.restart(Part::Gateway), look)?;
    Request::new(cx.http(), Method::GET, base, "/readyz").send().await?.expect(200, "the next gateway")?;
    Ok(())
}

/// Waits until the metrics count `count` requests to the webhooks more than `before`.
async fn await_requests(cx: &Context, before: &Metrics, count: f64) -> Result<Metrics> {
    eventually(SOON, &format!("{REQUESTS} to rise by {count} for the webhooks"), async || {
        let now = cx.metrics().await?;
        let rise: f64 =
            [PROMETHEUS, KUBERNETES_EVENT].map(|path| now.rise(before, REQUESTS, &[("endpoint", path)])).iter().sum();
        ensure!(rise == count, "it rose by {rise}");
        Ok(now)
    })
    .await
}

async fn s29_counters_rise_by_exactly_what_was_sent(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let gateway = cx.gateway();
    let before = cx.metrics().await?;

    let alert = Alert::about_pod(&namespace, "checkout-1");
    gateway.alert(alert.clone()).await?.expect_created("a critical alert")?;
    gateway.alert(alert).await?.expect_duplicate("its repeat")?;
    let warning = event(&namespace, "Pod", "checkout-2", "BackOff");
    gateway.event(&warning).await?.expect_created("a Warning event")?;
    let broken = gateway.post(PROMETHEUS).header(CONTENT_TYPE, "application/json").body("{".to_owned());
    broken.send().await?.expect_problem(400, "malformed JSON")?;
    let after = await_requests(&cx, &before, 4.0).await?;

    let (alerts, events) = (("source_type", "prometheus-alert"), ("source_type", "kubernetes-event"));
    for (name, labels, expected) in [
        ("gateway_signals_received_total", &[][..], 3.0),
        ("gateway_signals_received_total", &[alerts, ("severity", "critical")], 2.0),
        ("gateway_signals_received_total", &[events, ("severity", "warning")], 1.0),
        ("gateway_signals_deduplicated_total", &[], 1.0),
        ("gateway_signals_deduplicated_total", &[alerts], 1.0),
        ("gateway_crds_created_total", &[], 2.0),
        ("gateway_crds_created_total", &[alerts], 1.0),
        ("gateway_crds_created_total", &[events], 1.0),
        ("gateway_crd_creation_errors_total", &[], 0.0),
        ("gateway_signals_rejected_total", &[], 1.0),
        ("gateway_audit_events_dropped_total", &[], 0.0),
    ] {
        let rise = after.rise(&before, name, labels);
        ensure!(rise == expected, "expected {name} with {labels:?} to rise by {expected}, it rose by {rise}");
    }
    let created = after.series("gateway_crds_created_total", &[]).all(|series| series.labels.contains_key("status"));
    ensure!(created, "expected a label status on every series of gateway_crds_created_total");
    let rejected = after.series("gateway_signals_rejected_total", &[]).all(|one| one.labels.contains_key("reason"));
    ensure!(rejected, "expected a label reason on every series of gateway_signals_rejected_total");

    let build = after.series("gateway_build_info", &[]).next().context("expected gateway_build_info, found none")?;
    let told = ["version", "revision"].iter().all(|key| build.labels.get(*key).is_some_and(|value| !value.is_empty()));
    ensure!(build.value == 1.0 && told, "expected gateway_build_info with version and revision at 1, found {build:?}");
    for name in ["gateway_audit_buffer_events", "process_cpu_seconds_total", "process_resident_memory_bytes"] {
        ensure!(after.has(name), "expected the metric {name}, found none");
    }
    Ok(())
}

async fn s30_the_latency_histogram_counts_every_request(cx: Context) -> Result<()> {
    const BUCKETS: &str = "gateway_http_request_duration_seconds_bucket";
    const SUM: &str = "gateway_http_request_duration_seconds_sum";
    let namespace = cx.namespace().await?;
    let gateway = cx.gateway();
    let before = cx.metrics().await?;
    let mut seconds_at_most = 0.0;
    let mut last = None;
    for pod in ["checkout-1", "checkout-2", "checkout-3"] {
        let answer = gateway.alert(Alert::about_pod(&namespace, pod)).await?;
        answer.expect_created("a valid alert")?;
        seconds_at_most += answer.took.as_secs_f64();
        last = Some(pod);
    }
    let repeated = gateway.alert(Alert::about_pod(&namespace, last.unwrap_or_default())).await?;
    repeated.expect_duplicate("a repeat")?;
    let after = await_requests(&cx, &before, 4.0).await?;

    let created = [("endpoint", PROMETHEUS), ("method", "POST"), ("status", "201")];
    let repeat = [("endpoint", PROMETHEUS), ("method", "POST"), ("status", "202")];
    for (labels, expected) in [(created, 3.0), (repeat, 1.0)] {
        let rise = after.rise(&before, REQUESTS, &labels);
        ensure!(rise == expected, "expected {REQUESTS} with {labels:?} to rise by {expected}, it rose by {rise}");
    }
    let sum = after.rise(&before, SUM, &created);
    ensure!(
        sum > 0.0 && sum <= seconds_at_most,
        "expected {SUM} to rise by more than 0 and at most by the {seconds_at_most} s that the client saw, not by {sum}"
    );

    let mut buckets = Vec::new();
    for series in after.series(BUCKETS, &created) {
        let bound = series.labels.get("le").with_context(|| format!("a bucket without a bound: {series:?}"))?;
        let seconds =
            if bound == "+Inf" { f64::INFINITY } else { bound.parse().context("reading a bucket's bound")? };
        let labels: Vec<(&str, &str)> = created.into_iter().chain([("le", bound.as_str())]).collect();
        buckets.push((seconds, after.rise(&before, BUCKETS, &labels)));
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    ensure!(buckets.len() > 2, "expected several buckets, found {buckets:?}");
    ensure!(buckets.is_sorted_by_key(|bucket| bucket.1), "expected counts that never fall with the bound: {buckets:?}");
    let (bound, count) = buckets.last().copied().context("there are no buckets")?;
    ensure!(
        bound.is_infinite() && count == 3.0,
        "expected the last bucket to be +Inf and to have counted all 3 requests: {buckets:?}"
    );
    Ok(())
}

async fn s51_metrics_come_in_both_forms(cx: Context) -> Result<()> {
    let base = &cx.surroundings().addresses().gateway_metrics;
    let ask = async |accept: &str| {
        let request = Request::new(cx.http(), Method::GET, base, "/metrics").header(ACCEPT, accept);
        let answer = request.send().await?;
        answer.expect(200, &format!("the metrics, asked for as {accept}"))?;
        Ok::<_, anyhow::Error>(answer)
    };
    let open = ask("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2").await?;
    let kind = open.header("content-type").unwrap_or("none");
    ensure!(kind.starts_with("application/openmetrics-text"), "expected OpenMetrics, found the type {kind}");
    ensure!(open.text.ends_with("# EOF\n"), "expected OpenMetrics to end with # EOF");
    for accept in ["text/plain;version=0.0.4", "*/*"] {
        let plain = ask(accept).await?;
        let kind = plain.header("content-type").unwrap_or("none");
        let is_plain = kind.starts_with("text/plain") && kind.contains("version=0.0.4");
        ensure!(is_plain, "asked for as {accept}: expected text/plain; version=0.0.4, found {kind}");
        for line in ["# TYPE gateway_audit_events_dropped_total counter", "# TYPE gateway_build_info gauge"] {
            ensure!(plain.text.lines().any(|found| found == line), "expected the line {line}: {plain}");
        }
        let kinds = ["counter", "gauge", "histogram", "summary", "untyped"];
        let unknown = plain
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .find(|line| !kinds.iter().any(|kind| line.ends_with(&format!(" {kind}"))));
        ensure!(unknown.is_none(), "expected types that version 0.0.4 knows, found {unknown:?}");
        ensure!(!plain.text.contains("# EOF"), "expected no # EOF in version 0.0.4");
        Metrics::parse(&plain.text)?;
    }
    Ok(())
}

async fn s47_logs_are_json_lines_with_request_ids_and_without_tokens(cx: Context) -> Result<()> {
    // What is logged least often is looked at least.
    cx.surroundings().run_gateway_with_log_level("debug").await?;
    let namespace = cx.namespace().await?;
    let good = cx.surroundings().sender_token();
    // A token that is refused is as secret: it may only be mistyped.
    let bad = format!("{good}x");
    let body = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    let accepted = cx.gateway().webhook(&body).await?;
    accepted.expect_created("a valid alert")?;
    let refused = cx.gateway().with_token(&bad).webhook(&body).await?;
    refused.expect_problem(401, "a token that was tampered with")?;
    let invalid = cx.gateway().webhook(&json!({"alerts": []})).await?;
    invalid.expect_problem(400, "a webhook without alerts")?;
    let mut ids = Vec::new();
    for answer in [&accepted, &refused, &invalid] {
        ids.push(answer.header("x-request-id").with_context(|| format!("expected an X-Request-ID: {answer}"))?);
    }

    let text = eventually(SOON, "the gateway's log to tell of three requests by their ids", async || {
        let logs = cx.surroundings().logs(Part::Gateway, cx.started()).await?;
        let text: String = logs.into_iter().map(|log| log.text).collect();
        let logged: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for id in &ids {
            ensure!(logged.iter().any(|line| has_request_id(line, id)), "no line has the request_id {id}");
        }
        Ok(text)
    })
    .await?;
    for line in text.lines() {
        let is_object = serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
        ensure!(is_object, "expected every line of the log to be a JSON object, found: {line}");
    }
    ensure!(text.contains("\"DEBUG\""), "expected a gateway at the level debug to log lines of it");
    let signature = good.rsplit('.').next().unwrap_or(good);
    for secret in [good, signature] {
        // The message must not repeat it either.
        ensure!(!text.contains(secret), "expected no token in the gateway's log, but one of this spec's is there");
    }
    Ok(())
}

/// Whether a log line has that request_id, at any depth.
fn has_request_id(line: &Value, id: &str) -> bool {
    match line {
        Value::Object(members) => {
            members.iter().any(|(key, value)| (key == "request_id" && value == id) || has_request_id(value, id))
        }
        Value::Array(items) => items.iter().any(|item| has_request_id(item, id)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_found_at_any_depth_and_under_its_name_alone() {
        assert!(has_request_id(&json!({"request_id": "7"}), "7"));
        assert!(has_request_id(&json!({"spans": [{"name": "request", "request_id": "7"}]}), "7"));
        assert!(!has_request_id(&json!({"message": "7", "request_id": "8"}), "7"));
    }
}
