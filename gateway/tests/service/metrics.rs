//! Counters rise by exactly what happened.

use serde_json::json;

use crate::support::alerts::{EVENT, PROMETHEUS, about_deployment, alert, pod_event, webhook};
use crate::support::proxy::{Mode, Proxy};
use crate::support::test;

#[test]
fn every_counter_rises_by_what_happened() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut resolved = alert(&[("namespace", &world.namespace), ("deployment", "over")]);
        resolved["status"] = json!("resolved");
        let mut nameless = alert(&[]);
        nameless["labels"] = json!({});
        let info = alert(&[("namespace", &world.namespace), ("deployment", "info"), ("severity", "info")]);
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        for _ in 0..3 {
            gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(202);
        }
        gateway.prometheus(&webhook(&[info, resolved, nameless])).await.expect(207);
        gateway.event(&pod_event(&world.namespace, "web-0")).await.expect(201);
        gateway.event(&json!({"type": "Normal"})).await.expect(200);
        gateway.event(&json!({"type": "Warning"})).await.expect(400);
        gateway.event(&json!({"type": 7})).await.expect(400);
        gateway.post(PROMETHEUS, "{}").header("x-timestamp", "soon").send().await.unwrap();
        let text =
            gateway.http.post(gateway.url(PROMETHEUS)).bearer_auth(&gateway.token).header("content-type", "text/plain");
        text.send().await.unwrap();
        gateway.post(EVENT, " ".repeat(300_000)).send().await.unwrap();
        gateway.http.post(gateway.url(PROMETHEUS)).send().await.unwrap();
        gateway.http.get(gateway.url("/nothing/of/this/name")).send().await.unwrap();
        for (line, value) in [
            ("gateway_signals_received_total{source_type=\"prometheus-alert\",severity=\"critical\"}", 4.0),
            ("gateway_signals_received_total{source_type=\"prometheus-alert\",severity=\"info\"}", 1.0),
            ("gateway_signals_received_total{source_type=\"kubernetes-event\",severity=\"warning\"}", 1.0),
            ("gateway_signals_deduplicated_total{source_type=\"prometheus-alert\"}", 3.0),
            ("gateway_signals_deduplicated_total{source_type=\"kubernetes-event\"}", 0.0),
            ("gateway_crds_created_total{source_type=\"prometheus-alert\",status=\"created\"}", 2.0),
            ("gateway_crds_created_total{source_type=\"kubernetes-event\",status=\"created\"}", 1.0),
            ("gateway_signals_rejected_total{reason=\"invalid\"}", 2.0),
            ("gateway_signals_rejected_total{reason=\"malformed\"}", 1.0),
            ("gateway_signals_rejected_total{reason=\"timestamp\"}", 1.0),
            ("gateway_signals_rejected_total{reason=\"unsupported_media_type\"}", 1.0),
            ("gateway_signals_rejected_total{reason=\"too_large\"}", 1.0),
            ("gateway_signals_rejected_total{reason=\"unauthenticated\"}", 1.0),
            ("gateway_audit_events_dropped_total", 0.0),
            ("gateway_audit_buffer_events", 0.0),
        ] {
            assert_eq!(gateway.metric(line).await, value, "{line}");
        }
    });
}

#[test]
fn durations_are_counted_by_route_method_and_status() {
    test(async |world| {
        let gateway = world.gateway().await;
        for _ in 0..5 {
            gateway.prometheus(&about_deployment(&world.namespace, "web")).await;
        }
        gateway.http.get(gateway.url("/made/up")).send().await.unwrap();
        let labels = |status: &str| format!("endpoint=\"{PROMETHEUS}\",method=\"POST\",status=\"{status}\"");
        let name = "gateway_http_request_duration_seconds";
        assert_eq!(gateway.metric(&format!("{name}_count{{{}}}", labels("201"))).await, 1.0);
        assert_eq!(gateway.metric(&format!("{name}_count{{{}}}", labels("202"))).await, 4.0);
        let sum = gateway.metric(&format!("{name}_sum{{{}}}", labels("202"))).await;
        assert!(sum > 0.0 && sum < 60.0, "{sum} s");
        let mut last = 0.0;
        for bound in ["0.002", "0.025", "0.5", "15.0", "+Inf"] {
            let found = gateway.metric(&format!("{name}_bucket{{le=\"{bound}\",{}}}", labels("202"))).await;
            assert!(found >= last, "buckets add up: {bound} has {found} after {last}");
            last = found;
        }
        assert_eq!(last, 4.0, "everything is below infinity");
        let unmatched = format!("{name}_count{{endpoint=\"unmatched\",method=\"GET\",status=\"404\"}}");
        assert_eq!(gateway.metric(&unmatched).await, 1.0, "a path that a client made up is no label");
    });
}

#[test]
fn failures_are_counted() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let open = |config: &mut gateway::Config| config.auth.enabled = false;
        let gateway = world.gateway_at(proxy.client(&world.gateway_token), open).await;
        proxy.set(Mode::Cut);
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(503);
        assert_eq!(gateway.metric("gateway_signals_rejected_total{reason=\"unavailable\"}").await, 1.0);
    });
}

#[test]
fn a_refused_creation_is_counted() {
    test(async |world| {
        let quota: k8s_openapi::api::core::v1::ResourceQuota = serde_json::from_value(json!({
            "metadata": {"name": "none"}, "spec": {"hard": {"count/remediationrequests.kubernaut.ai": "0"}},
        }))
        .unwrap();
        let quotas =
            kube::Api::<k8s_openapi::api::core::v1::ResourceQuota>::namespaced(world.admin.clone(), &world.namespace);
        let mut quota = quotas.create(&Default::default(), &quota).await.unwrap();
        // The controller that would count what is there does not run here.
        quota.status = serde_json::from_value(json!({
            "hard": {"count/remediationrequests.kubernaut.ai": "0"}, "used": {"count/remediationrequests.kubernaut.ai": "0"},
        }))
        .unwrap();
        quotas.replace_status("none", &Default::default(), &quota).await.unwrap();
        let sink = crate::support::sink::Sink::start().await;
        let gateway = world.gateway_with(|config| config.audit.url = sink.url()).await;
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(503);
        assert_eq!(gateway.metric("gateway_crd_creation_errors_total{error_type=\"forbidden\"}").await, 1.0);
        let events = crate::support::wait_for("the failure's audit event", async || {
            let events = sink.events();
            (!events.is_empty()).then_some(events)
        })
        .await;
        assert_eq!(
            (&events[0]["event_type"], &events[0]["event_outcome"]),
            (&json!("gateway.crd.failed"), &json!("failure"))
        );
        assert!(events[0]["correlation_id"].as_str().unwrap().starts_with("rr-"));
    });
}

#[test]
fn metrics_come_in_the_form_that_is_asked_for() {
    test(async |world| {
        let gateway = world.gateway().await;
        let url = format!("http://{}/metrics", gateway.gateway.metrics_address());
        const PROMETHEUS_ASKS: &str =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, content_type, end) in [
            (Some(PROMETHEUS_ASKS), "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
            (Some("text/plain;version=0.0.4"), "text/plain; version=0.0.4; charset=utf-8", false),
            (Some("application/openmetrics-text;q=0"), "text/plain; version=0.0.4; charset=utf-8", false),
            (None, "text/plain; version=0.0.4; charset=utf-8", false),
        ] {
            let mut request = gateway.http.get(&url);
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], content_type, "{accept:?}");
            assert_eq!(answer.text().await.unwrap().ends_with("# EOF\n"), end, "{accept:?}");
        }
    });
}
