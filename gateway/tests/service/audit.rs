//! What datastorage is told, and what happens when it does not listen.

use std::collections::HashSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::alerts::{EVENT, PROMETHEUS, about_deployment, alert, pod_event, webhook};
use crate::support::proxy::{Mode, Proxy};
use crate::support::sink::Sink;
use crate::support::{Answer, Running, World, test, wait_for};

async fn audited(world: &World, sink: &Sink, change: impl FnOnce(&mut gateway::config::Audit)) -> Running {
    world
        .gateway_with(|config| {
            config.audit.url = sink.url();
            config.audit.linger_ms = 20;
            config.audit.max_backoff_ms = 200;
            change(&mut config.audit);
        })
        .await
}

async fn buffered(gateway: &Running) -> f64 {
    gateway.metric("gateway_audit_buffer_events").await
}

async fn wait_until_empty(gateway: &Running) {
    wait_for("the audit's buffer to be empty", async || (buffered(gateway).await == 0.0).then_some(())).await;
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_type"].as_str().unwrap()).collect()
}

#[test]
fn a_new_problem_is_two_events_and_a_repeat_one_more() {
    test(async |world| {
        let sink = Sink::start().await;
        let gateway = audited(&world, &sink, |_| {}).await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let name = answer.text("remediationRequestName");
        let events = sink.wait_for(name, 2).await;
        wait_until_empty(&gateway).await;
        assert_eq!(types(&sink.events()), ["gateway.signal.received", "gateway.crd.created"]);
        for event in &events {
            assert!(uuid::Uuid::parse_str(event["event_id"].as_str().unwrap()).is_ok());
            assert_eq!((&event["version"], &event["event_category"]), (&json!("1.0"), &json!("gateway")));
            assert_eq!((&event["event_outcome"], &event["correlation_id"]), (&json!("success"), &json!(name)));
            assert!(event["event_timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
            assert!(!event["event_action"].as_str().unwrap().is_empty());
            assert_eq!(event["event_data"]["fingerprint"], answer.text("fingerprint"));
        }
        assert_eq!(events[1]["event_data"]["remediation_path"], "aggressive");
        let kept = events[0]["event_data"]["original_payload"].as_str().unwrap();
        let kept: Value = serde_json::from_str(kept).unwrap();
        assert_eq!(kept["labels"]["deployment"], "web", "the alert is on record as it came");
        for count in 2..=3 {
            gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(202);
            let events = sink.wait_for(name, count + 1).await;
            let last = events.last().unwrap();
            assert_eq!(
                (&last["event_type"], &last["event_data"]["occurrence_count"]),
                (&json!("gateway.signal.deduplicated"), &json!(count))
            );
        }
    });
}

#[test]
fn nothing_is_lost_while_datastorage_is_away() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));
        let gateway = audited(&world, &sink, |audit| audit.batch_events = 7).await;
        let alerts: Vec<_> =
            (0..20).map(|n| alert(&[("namespace", &world.namespace), ("deployment", &format!("web-{n}"))])).collect();
        let answer = gateway.prometheus(&webhook(&alerts)).await.expect(207);
        assert_eq!(answer.body["summary"]["created"], 20, "datastorage is nothing that a signal waits for");
        wait_for("a few tries", async || (sink.attempts() >= 3).then_some(())).await;
        assert_eq!(buffered(&gateway).await, 40.0);
        sink.fail_with(None);
        wait_until_empty(&gateway).await;
        let ids: HashSet<String> = sink.events().iter().map(|event| event["event_id"].to_string()).collect();
        assert_eq!((sink.events().len(), ids.len()), (40, 40));
        assert!(sink.batches().iter().all(|size| *size <= 7) && sink.batches().contains(&7), "{:?}", sink.batches());
        assert_eq!(gateway.metric("gateway_audit_events_dropped_total").await, 0.0);
    });
}

#[test]
fn an_answer_that_was_lost_doubles_nothing() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.forget_answers(3);
        let gateway = audited(&world, &sink, |_| {}).await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        sink.wait_for(answer.text("remediationRequestName"), 2).await;
        wait_until_empty(&gateway).await;
        assert!(sink.attempts() >= 4, "the same batch was sent again");
        assert_eq!(sink.events().len(), 2, "under the same ids");
    });
}

#[test]
fn what_does_not_fit_the_buffer_is_dropped_and_counted() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.fail_with(Some(StatusCode::INTERNAL_SERVER_ERROR));
        let gateway = audited(&world, &sink, |audit| {
            audit.buffer_events = 4;
            audit.batch_events = 2;
        })
        .await;
        for name in 0..10 {
            gateway.prometheus(&about_deployment(&world.namespace, &format!("web-{name}"))).await.expect(201);
        }
        let dropped = gateway.metric("gateway_audit_events_dropped_total").await;
        assert!(
            (14.0..=16.0).contains(&dropped),
            "20 events, 4 in the buffer, up to 2 on their way: {dropped} dropped"
        );
        assert_eq!(buffered(&gateway).await, 20.0 - dropped);
        sink.fail_with(None);
        wait_until_empty(&gateway).await;
        assert_eq!(sink.events().len() as f64, 20.0 - dropped);
    });
}

#[test]
fn one_refused_event_takes_no_other_along() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.refuse_signal("Poison");
        let gateway = audited(&world, &sink, |audit| audit.linger_ms = 300).await;
        let alerts: Vec<_> = ["A", "Poison", "B"]
            .into_iter()
            .map(|name| alert(&[("namespace", &world.namespace), ("deployment", name), ("alertname", name)]))
            .collect();
        gateway.prometheus(&webhook(&alerts)).await.expect(207);
        wait_until_empty(&gateway).await;
        assert_eq!(sink.events().len(), 4, "{:#?}", sink.events());
        assert_eq!(gateway.metric("gateway_audit_events_dropped_total").await, 2.0);
    });
}

#[test]
fn a_shutdown_hands_in_what_is_buffered() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));
        let gateway = audited(&world, &sink, |_| {}).await;
        for name in 0..5 {
            gateway.prometheus(&about_deployment(&world.namespace, &format!("web-{name}"))).await.expect(201);
        }
        let back = sink.clone();
        let metrics = gateway.gateway.metrics_address();
        let http = gateway.http.clone();
        let (_, ()) = tokio::join!(gateway.gateway.shutdown(), async {
            wait_for("the flush to be tried", async || (back.attempts() >= 2).then_some(())).await;
            back.fail_with(None);
        });
        assert_eq!(sink.events().len(), 10);
        assert!(http.get(format!("http://{metrics}/metrics")).send().await.is_err(), "everything is closed");
    });
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));
        let gateway = audited(&world, &sink, |audit| audit.flush_deadline_ms = 300).await;
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let started = std::time::Instant::now();
        gateway.gateway.shutdown().await;
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "it took {:?}", started.elapsed());
        assert_eq!(sink.events().len(), 0);
    });
}

#[test]
fn what_was_begun_is_audited_though_its_sender_has_gone() {
    test(async |world| {
        let (sink, proxy) = (Sink::start().await, Proxy::start().await);
        let gateway = world
            .gateway_at(proxy.client(&world.gateway_token), |config| {
                config.audit.url = sink.url();
                config.audit.linger_ms = 20;
                config.auth.enabled = false;
            })
            .await;
        proxy.set(Mode::Stall);
        let body = about_deployment(&world.namespace, "web").to_string();
        let sending = tokio::spawn(gateway.post(PROMETHEUS, body).send());
        wait_for("the signal to be in flight", async || {
            let line = "gateway_signals_received_total{source_type=\"prometheus-alert\",severity=\"critical\"}";
            (gateway.metric(line).await == 1.0).then_some(())
        })
        .await;
        sending.abort();
        assert!(sending.await.unwrap_err().is_cancelled());
        proxy.set(Mode::Pass);
        let request = wait_for("the request", async || world.requests().await.pop()).await;
        let events = sink.wait_for(request.metadata.name.as_deref().unwrap(), 2).await;
        assert_eq!(types(&events), ["gateway.signal.received", "gateway.crd.created"]);
    });
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.fail_with(Some(StatusCode::INTERNAL_SERVER_ERROR));
        let gateway = audited(&world, &sink, |audit| audit.buffer_bytes = 1024 * 1024).await;
        for number in 0..6 {
            let mut large = about_deployment(&world.namespace, &format!("web-{number}"));
            large["alerts"][0]["annotations"]["filling"] = json!("x".repeat(200_000));
            gateway.prometheus(&large).await.expect(201);
        }
        let dropped = gateway.metric("gateway_audit_events_dropped_total").await;
        assert_eq!(dropped, 4.0, "two of six large ones fit, and the small ones beside them");
        sink.fail_with(None);
        wait_until_empty(&gateway).await;
        assert_eq!(sink.events().len(), 8);
    });
}

#[test]
fn what_datastorage_could_not_store_is_refused_before_anything_is_made() {
    test(async |world| {
        let gateway = world.gateway().await;
        for (label, value) in
            [("alertname", "nul\\u0000"), ("pod", "\\u0000"), ("note", "\\ud800"), ("note", "\\udc00x")]
        {
            let body = about_deployment(&world.namespace, "web").to_string();
            let body = body.replace("\"labels\":{", &format!("\"labels\":{{\"{label}\":\"{value}\","));
            let answer = Answer::read(gateway.post(PROMETHEUS, body).send().await.unwrap()).await.expect(400);
            assert!(answer.text("detail").contains("U+0000"), "{answer:?}");
        }
        let event = pod_event(&world.namespace, "web").to_string().replace("Back-off", "Back\\u0000off");
        Answer::read(gateway.post(EVENT, event).send().await.unwrap()).await.expect(400);
        assert_eq!(world.requests().await.len(), 0);
    });
}

#[test]
fn a_token_that_is_not_good_any_more_is_read_again() {
    test(async |world| {
        let sink = Sink::start().await;
        sink.ask_for("first");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first\n").unwrap();
        let gateway = audited(&world, &sink, |audit| audit.token_file = Some(file.path().to_owned())).await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        sink.wait_for(answer.text("remediationRequestName"), 2).await;
        sink.ask_for("second");
        let before = sink.attempts();
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "api")).await.expect(201);
        wait_for("a try with the old token", async || (sink.attempts() > before).then_some(())).await;
        std::fs::write(file.path(), "second\n").unwrap();
        sink.wait_for(answer.text("remediationRequestName"), 2).await;
        assert_eq!(gateway.metric("gateway_audit_events_dropped_total").await, 0.0);
    });
}
