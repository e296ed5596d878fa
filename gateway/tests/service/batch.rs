//! Deliveries of several alerts.

use serde_json::{Value, json};

use crate::support::alerts::{about_deployment, alert, webhook};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Running, World, test};

fn mixed(world: &World) -> Vec<Value> {
    let new = alert(&[("namespace", &world.namespace), ("deployment", "new")]);
    let known = alert(&[("namespace", &world.namespace), ("deployment", "known")]);
    let mut resolved = alert(&[("namespace", &world.namespace), ("deployment", "over")]);
    resolved["status"] = json!("resolved");
    let mut nameless = alert(&[]);
    nameless["labels"] = json!({"severity": "critical"});
    let other = alert(&[("namespace", &world.namespace), ("deployment", "other")]);
    vec![new, known, resolved, nameless, other]
}

async fn with_known(world: &World) -> Running {
    let gateway = world.gateway().await;
    gateway.prometheus(&about_deployment(&world.namespace, "known")).await.expect(201);
    gateway
}

#[test]
fn each_alert_has_its_result_in_its_place() {
    test(async |world| {
        let gateway = with_known(&world).await;
        let answer = gateway.prometheus(&webhook(&mixed(&world))).await.expect(207);
        assert_eq!(answer.header("content-type"), "application/json");
        let summary = json!({"total": 5, "created": 2, "deduplicated": 1, "ignored": 1, "failed": 1});
        assert_eq!(answer.body["summary"], summary);
        let results = answer.body["results"].as_array().unwrap();
        let statuses: Vec<&str> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["created", "duplicate", "ignored", "failed", "created"]);
        assert_eq!(results[1]["metadata"]["count"], 2);
        assert_eq!(results[3]["retryable"], false);
        assert!(results[3]["error"].as_str().unwrap().contains("alertname"), "{answer:?}");
        assert_eq!(world.requests().await.len(), 3);
    });
}

#[test]
fn one_alert_is_answered_as_one() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut alerts = mixed(&world);
        let answer = gateway.prometheus(&webhook(&alerts[2..3])).await.expect(200);
        assert_eq!((answer.text("status"), &answer.body["duplicate"]), ("ignored", &json!(false)));
        let answer = gateway.prometheus(&webhook(&alerts[3..4])).await.expect(400);
        assert!(answer.text("detail").contains("alertname"), "{answer:?}");
        alerts[0]["status"] = json!("resolved");
        gateway.prometheus(&webhook(&alerts[..1])).await.expect(200);
        assert_eq!(world.requests().await.len(), 0);
    });
}

#[test]
fn a_failure_that_may_heal_makes_the_whole_delivery_come_again() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let open = |config: &mut gateway::Config| config.auth.enabled = false;
        let gateway = world.gateway_at(proxy.client(&world.gateway_token), open).await;
        gateway.prometheus(&about_deployment(&world.namespace, "known")).await.expect(201);
        proxy.set(Mode::Cut);
        let answer = gateway.prometheus(&webhook(&mixed(&world))).await.expect(503);
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        assert_eq!(answer.header("content-type"), "application/json");
        let summary = json!({"total": 5, "created": 0, "deduplicated": 0, "ignored": 1, "failed": 4});
        assert_eq!(answer.body["summary"], summary);
        assert_eq!(answer.body["results"][0]["retryable"], true);
        assert_eq!(answer.body["results"][3]["retryable"], false);
        proxy.set(Mode::Pass);
        let answer = gateway.prometheus(&webhook(&mixed(&world))).await.expect(207);
        let summary = json!({"total": 5, "created": 2, "deduplicated": 1, "ignored": 1, "failed": 1});
        assert_eq!(answer.body["summary"], summary);
    });
}

#[test]
fn what_an_admission_policy_denies_fails_alone_and_for_good() {
    test(async |world| {
        let policy = json!({
            "metadata": {"name": world.namespace},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["kubernaut.ai"], "apiVersions": ["*"], "operations": ["CREATE"],
                    "resources": ["remediationrequests"],
                }]},
                "validations": [{"expression": "object.spec.signalName != 'Denied'", "reason": "Forbidden"}],
            },
        });
        let binding = json!({
            "metadata": {"name": world.namespace},
            "spec": {
                "policyName": world.namespace, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}},
            },
        });
        use k8s_openapi::api::admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        };
        let policies = kube::Api::<ValidatingAdmissionPolicy>::all(world.admin.clone());
        policies.create(&Default::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
        let bindings = kube::Api::<ValidatingAdmissionPolicyBinding>::all(world.admin.clone());
        bindings.create(&Default::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let gateway = world.gateway().await;
        let about = |deployment: &str, name: &str| {
            alert(&[("namespace", world.namespace.as_str()), ("deployment", deployment), ("alertname", name)])
        };
        // The policy is in force a moment after it is made.
        let mut number = 0;
        crate::support::wait_for("the policy to be in force", async || {
            number += 1;
            let answer = gateway.prometheus(&webhook(&[about(&format!("probe-{number}"), "Denied")])).await;
            (answer.status == 400).then_some(())
        })
        .await;
        let answer =
            gateway.prometheus(&webhook(&[about("a", "Fine"), about("b", "Denied"), about("c", "Fine")])).await;
        let answer = answer.expect(207);
        let summary = json!({"total": 3, "created": 2, "deduplicated": 0, "ignored": 0, "failed": 1});
        assert_eq!(answer.body["summary"], summary);
        assert_eq!(answer.body["results"][1]["retryable"], false);
        assert!(gateway.metric("gateway_crd_creation_errors_total{error_type=\"denied\"}").await >= 2.0);
    });
}

#[test]
fn what_the_sender_left_out_is_told() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut one = about_deployment(&world.namespace, "web");
        assert_eq!(gateway.prometheus(&one).await.expect(201).body.get("truncatedAlerts"), None);
        one["truncatedAlerts"] = json!(7);
        assert_eq!(gateway.prometheus(&one).await.expect(202).body["truncatedAlerts"], 7);
        let mut many = webhook(&mixed(&world));
        many["truncatedAlerts"] = json!(3);
        assert_eq!(gateway.prometheus(&many).await.expect(207).body["truncatedAlerts"], 3);
        assert_eq!(gateway.metric("gateway_alerts_truncated_total").await, 10.0);
    });
}
