//! What stands in a request: spec, labels, place.

use std::collections::BTreeMap;

use api::{RemediationRequest, Severity, SignalType, TargetType};
use gateway::fingerprint::Fingerprint;
use serde_json::json;

use crate::support::alerts::{about_deployment, alert, at, pod_event, webhook};
use crate::support::{test, wait_for};

fn label<'a>(request: &'a RemediationRequest, key: &str) -> &'a str {
    request.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map_or("(none)", String::as_str)
}

#[test]
fn an_alert_becomes_a_request() {
    test(async |world| {
        let gateway = world.gateway().await;
        let long = "ä".repeat(60);
        let mut one =
            alert(&[("namespace", &world.namespace), ("statefulset", "db"), ("severity", "critical"), ("note", &long)]);
        one["annotations"] = json!({"summary": "s".repeat(500)});
        one["startsAt"] = json!("2026-03-01T11:58:03.123456789+01:00");
        gateway.prometheus(&webhook(std::slice::from_ref(&one))).await.expect(201);
        let request = world.request().await;
        let spec = &request.spec;
        let fingerprint = Fingerprint::of(&world.namespace, "StatefulSet", "db");
        assert_eq!(spec.signal_fingerprint, fingerprint.as_str());
        let name = request.metadata.name.as_deref().unwrap();
        assert!(name.starts_with(&format!("rr-{}-", &fingerprint.as_str()[..12])), "{name}");
        assert_eq!((spec.signal_name.as_str(), spec.severity), ("HighLoad", Severity::Critical));
        assert_eq!((spec.signal_type, spec.target_type), (SignalType::PrometheusAlert, TargetType::Kubernetes));
        assert_eq!(spec.signal_source.as_deref(), Some("alertmanager"));
        let target = &spec.target_resource;
        assert_eq!((target.kind.as_str(), target.name.as_str()), ("StatefulSet", "db"));
        assert_eq!(
            (target.namespace.as_deref(), target.api_version.as_deref()),
            (Some(world.namespace.as_str()), Some("apps/v1"))
        );
        assert_eq!(spec.firing_time, "2026-03-01T10:58:03.123456789Z".parse().unwrap());
        assert_eq!(spec.signal_labels["note"], "ä".repeat(31), "63 bytes would cut a character in two");
        assert_eq!(spec.signal_annotations["summary"].len(), 500);
        let payload: serde_json::Value = serde_json::from_str(spec.original_payload.as_deref().unwrap()).unwrap();
        assert_eq!(payload, one);
        for (key, value) in [
            ("app.kubernetes.io/managed-by", "gateway-service"),
            ("kubernaut.ai/signal-type", "prometheus-alert"),
            ("kubernaut.ai/signal-fingerprint", fingerprint.label()),
            ("kubernaut.ai/severity", "critical"),
            ("kubernaut.ai/environment", "production"),
            ("kubernaut.ai/priority", "P0"),
            ("kubernaut.ai/remediation-path", "aggressive"),
        ] {
            assert_eq!(label(&request, key), value, "{key}");
        }
        assert_eq!(label(&request, "kubernaut.ai/cluster-scoped"), "(none)");
    });
}

#[test]
fn an_event_becomes_a_request() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut event = pod_event(&world.namespace, "web-0");
        event["reason"] = json!("OOMKilled");
        gateway.event(&event).await.expect(201);
        let spec = world.request().await.spec;
        assert_eq!((spec.signal_name.as_str(), spec.severity), ("OOMKilled", Severity::Critical));
        assert_eq!((spec.signal_type, spec.signal_source.as_deref()), (SignalType::KubernetesEvent, Some("kubelet")));
        assert_eq!(spec.signal_annotations["message"], "Back-off restarting failed container");
        assert_eq!(spec.original_payload.as_deref(), Some(event.to_string().as_str()));
    });
}

#[test]
fn the_cells_of_the_policy_that_a_signal_can_reach() {
    test(async |world| {
        let gateway = world.gateway().await;
        let table = [
            ("production", [("P0", "aggressive"), ("P1", "conservative"), ("P2", "conservative")]),
            ("staging", [("P1", "moderate"), ("P2", "manual"), ("P3", "manual")]),
            ("development", [("P1", "aggressive"), ("P2", "manual"), ("P3", "manual")]),
            ("unknown", [("P3", "manual"), ("P3", "manual"), ("P3", "manual")]),
        ];
        for (environment, row) in table {
            let labels: &[(&str, &str)] =
                if environment == "unknown" { &[] } else { &[("kubernaut.ai/environment", environment)] };
            let namespace = world.another_namespace(environment, labels).await;
            for (severity, (priority, path)) in ["critical", "warning", "info"].into_iter().zip(row) {
                let one = alert(&[("namespace", &namespace), ("deployment", severity), ("severity", severity)]);
                gateway.prometheus(&webhook(&[one])).await.expect(201);
                let requests = world.requests_in(&namespace).await;
                let request = requests.iter().find(|request| request.spec.target_resource.name == severity).unwrap();
                let found = ["environment", "priority", "remediation-path"]
                    .map(|key| label(request, &format!("kubernaut.ai/{key}")));
                assert_eq!(found, [environment, priority, path], "{severity} in {environment}");
            }
        }
    });
}

#[test]
fn a_missing_namespace_falls_back_to_the_gateways_own() {
    test(async |world| {
        let gateway = world.gateway().await;
        let missing = format!("{}-missing", world.namespace);
        let answer = gateway.prometheus(&about_deployment(&missing, "web")).await.expect(201);
        assert_eq!(answer.text("remediationRequestNamespace"), world.home);
        let found = world.requests_in(&world.home).await;
        assert_eq!(found.len(), 1);
        assert_eq!(label(&found[0], "kubernaut.ai/origin-namespace"), missing);
        assert_eq!(label(&found[0], "kubernaut.ai/cluster-scoped"), "true");
        assert_eq!(label(&found[0], "kubernaut.ai/environment"), "unknown");
        assert_eq!(found[0].spec.target_resource.namespace.as_deref(), Some(missing.as_str()));
        world.another_namespace("missing", &[]).await;
        gateway.prometheus(&about_deployment(&missing, "web")).await.expect(202);
        let other = world.gateway().await;
        other.prometheus(&about_deployment(&missing, "web")).await.expect(202);
        assert_eq!(world.requests_in(&missing).await.len(), 0, "its namespace has come, the problem is the same");
    });
}

#[test]
fn a_namespace_that_is_going_away_takes_no_new_requests() {
    test(async |world| {
        let namespace = world.another_namespace("ending", &[]).await;
        let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(world.admin.clone());
        // No controller runs here that would finish the deletion.
        namespaces.delete(&namespace, &Default::default()).await.unwrap();
        let gateway = world.gateway().await;
        let answer = gateway.prometheus(&about_deployment(&namespace, "web")).await.expect(201);
        assert_eq!(answer.text("remediationRequestNamespace"), world.home);
    });
}

#[test]
fn what_lies_in_no_namespace_goes_to_the_gateways_own() {
    test(async |world| {
        let gateway = world.gateway().await;
        let node = format!("node-{}", world.namespace);
        let one = alert(&[("namespace", &world.namespace), ("node", &node), ("severity", "critical")]);
        gateway.prometheus(&webhook(&[one])).await.expect(201);
        let found = world.requests_in(&world.home).await;
        assert_eq!(found.len(), 1);
        let target = &found[0].spec.target_resource;
        assert_eq!((target.kind.as_str(), target.namespace.as_deref()), ("Node", None));
        assert_eq!(label(&found[0], "kubernaut.ai/cluster-scoped"), "true");
        assert_eq!(label(&found[0], "kubernaut.ai/origin-namespace"), "");
        assert_eq!(label(&found[0], "kubernaut.ai/priority"), "P3");
    });
}

#[test]
fn an_alert_without_a_target_is_about_itself() {
    test(async |world| {
        let gateway = world.gateway().await;
        gateway
            .prometheus(&webhook(&[alert(&[("namespace", &world.namespace), ("alertname", "Watchdog")])]))
            .await
            .expect(201);
        let spec = world.request().await.spec;
        assert_eq!((spec.target_resource.kind.as_str(), spec.target_resource.name.as_str()), ("Unknown", "Watchdog"));
        assert_eq!(spec.signal_fingerprint, Fingerprint::of(&world.namespace, "Unknown", "Watchdog").as_str());
    });
}

#[test]
fn the_fingerprint_is_of_the_object_alone() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut one = alert(&[("namespace", &world.namespace), ("deployment", "web"), ("severity", "info")]);
        gateway.prometheus(&webhook(&[one.clone()])).await.expect(201);
        one["annotations"] = json!({"summary": "another"});
        one["labels"]["alertname"] = json!("Another");
        one["labels"]["severity"] = json!("critical");
        one["startsAt"] = json!(at(-1));
        gateway.prometheus(&webhook(&[one])).await.expect(202);
    });
}

#[test]
fn whatever_a_signal_says_fits_the_object() {
    test(async |world| {
        let gateway = world.gateway().await;
        let long = "x".repeat(70_000);
        let labels: BTreeMap<String, String> =
            (0..50).map(|n| (format!("{n}{}", "k".repeat(500)), "\u{1}\u{7f}ü".repeat(40))).collect();
        let mut one =
            alert(&[("namespace", &world.namespace), ("alertname", &long), ("pod", &long), ("severity", "weird")]);
        one["labels"].as_object_mut().unwrap().extend(labels.into_iter().map(|(k, v)| (k, json!(v))));
        one["startsAt"] = json!("1969-01-01T00:00:00Z");
        let send = gateway.post(crate::support::alerts::PROMETHEUS, webhook(&[one]).to_string());
        let sent = send.header("x-timestamp", jiff::Timestamp::now().as_second()).send().await.unwrap();
        crate::support::Answer::read(sent).await.expect(201);
        let spec = world.request().await.spec;
        assert_eq!((spec.signal_name.len(), spec.target_resource.name.len()), (253, 253));
        assert_eq!(spec.severity, Severity::Warning);
        assert_eq!(spec.firing_time, spec.received_time, "a time before 1970 is none");
        let mut event = pod_event(&world.namespace, "web");
        event["involvedObject"]["kind"] = json!("K".repeat(400));
        event["reportingComponent"] = json!("ü".repeat(100));
        gateway.event(&event).await.expect(201);
        wait_for("both requests", async || (world.requests().await.len() == 2).then_some(())).await;
    });
}

#[test]
fn namespaces_that_are_not_looked_after_are_ignored_with_the_reason() {
    test(async |world| {
        let taken_on = world.another_namespace("taken-on", &[("team", "shop")]).await;
        let selector = json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop", "pay"]}]});
        let gateway = world
            .gateway_with(|config| {
                config.kubernetes.namespace_selector = Some(serde_json::from_value(selector).unwrap());
            })
            .await;
        let out = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(200);
        assert_eq!((out.text("status"), &out.body["duplicate"]), ("ignored", &json!(false)));
        assert!(out.text("reason").contains(&world.namespace), "{out:?}");
        let nowhere = alert(&[("alertname", "NodeDown"), ("node", "node-1")]);
        let out = gateway.prometheus(&webhook(&[nowhere])).await.expect(200);
        assert!(out.text("reason").contains("no namespace"), "{out:?}");
        gateway.prometheus(&about_deployment(&taken_on, "web")).await.expect(201);
        gateway.prometheus(&about_deployment(&taken_on, "web")).await.expect(202);
        let pair = |namespace: &str, name: &str| alert(&[("namespace", namespace), ("deployment", name)]);
        let mixed = webhook(&[pair(&world.namespace, "web"), pair(&taken_on, "api")]);
        let answer = gateway.prometheus(&mixed).await.expect(207);
        let summary = &answer.body["summary"];
        assert_eq!((&summary["ignored"], &summary["created"]), (&json!(1), &json!(1)), "{answer:?}");
        assert_eq!(world.requests().await.len(), 0);
        assert_eq!(gateway.metric("gateway_signals_rejected_total{reason=\"out_of_scope\"}").await, 3.0);
    });
}
