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
