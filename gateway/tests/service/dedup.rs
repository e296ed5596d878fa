//! One problem, one request: created once, counted afterwards, made anew when it is over.

use api::Phase;
use serde_json::Value;

use crate::support::alerts::{about_deployment, alert, pod_event, webhook};
use crate::support::test;

#[test]
fn a_new_signal_makes_one_request() {
    test(async |world| {
        let gateway = world.gateway().await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let request = world.request().await;
        assert_eq!(answer.text("status"), "created");
        assert_eq!(answer.body["duplicate"], false);
        assert_eq!(answer.text("fingerprint"), request.spec.signal_fingerprint);
        assert_eq!(Some(answer.text("remediationRequestName")), request.metadata.name.as_deref());
        assert_eq!(answer.text("remediationRequestNamespace"), world.namespace);
        assert_eq!(answer.body.get("metadata"), None, "a new problem has no history");
        let counted = request.status.and_then(|status| status.deduplication).expect("the first occurrence is counted");
        assert_eq!(counted.occurrence_count, 1);
        assert_eq!(
            (counted.first_seen_at, counted.last_seen_at),
            (request.spec.received_time, request.spec.received_time)
        );
    });
}

#[test]
fn a_repeat_is_counted_on_the_same_request() {
    test(async |world| {
        let gateway = world.gateway().await;
        let first = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let mut last = world.request().await.status.unwrap().deduplication.unwrap();
        for count in 2..=4 {
            let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(202);
            assert_eq!((answer.text("status"), &answer.body["duplicate"]), ("duplicate", &Value::Bool(true)));
            assert_eq!(answer.text("remediationRequestName"), first.text("remediationRequestName"));
            assert_eq!(answer.text("fingerprint"), first.text("fingerprint"));
            let counted = world.request().await.status.unwrap().deduplication.unwrap();
            assert_eq!(counted.occurrence_count, count);
            assert_eq!(counted.first_seen_at, last.first_seen_at);
            assert!(counted.last_seen_at > last.last_seen_at);
            let metadata = &answer.body["metadata"];
            assert_eq!(metadata["count"], count);
            assert_eq!(metadata["firstOccurrence"], counted.first_seen_at.to_string());
            assert_eq!(metadata["lastOccurrence"], counted.last_seen_at.to_string());
            let name = first.text("remediationRequestName");
            assert_eq!(metadata["remediationRequestRef"], format!("{}/{name}", world.namespace));
            last = counted;
        }
    });
}

#[test]
fn every_active_phase_takes_the_repeat_and_every_terminal_one_does_not() {
    test(async |world| {
        // One that remembers what it made, and one that has to look it up.
        let (gateway, forgetful) = (world.gateway().await, world.gateway().await);
        let mut expected = 1;
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let mut name = world.request().await.metadata.name.unwrap();
        for phase in Phase::ALL {
            world.set_phase(&name, phase).await;
            let (first, second) = if expected % 2 == 0 { (&forgetful, &gateway) } else { (&gateway, &forgetful) };
            let answer = first.prometheus(&about_deployment(&world.namespace, "web")).await;
            if phase.is_terminal() {
                assert_eq!(answer.status, 201, "{phase:?} is over: {:#}", answer.body);
                assert_ne!(answer.text("remediationRequestName"), name, "a new problem is a new request");
                name = answer.text("remediationRequestName").to_owned();
                expected += 1;
            } else {
                assert_eq!(answer.status, 202, "{phase:?} is active: {:#}", answer.body);
                assert_eq!(answer.text("remediationRequestName"), name);
            }
            second.prometheus(&about_deployment(&world.namespace, "web")).await.expect(202);
            assert_eq!(world.requests().await.len(), expected, "after {phase:?}");
        }
    });
}

#[test]
fn a_request_that_was_deleted_is_made_again_under_another_name() {
    test(async |world| {
        let requests = kube::Api::<api::RemediationRequest>::namespaced(world.admin.clone(), &world.namespace);
        let mut names = std::collections::BTreeSet::new();
        // The second gateway has never heard of what the first one made.
        for gateway in [world.gateway().await, world.gateway().await] {
            for _ in 0..3 {
                let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
                let name = answer.text("remediationRequestName").to_owned();
                requests.delete(&name, &Default::default()).await.unwrap();
                assert!(names.insert(name), "no name is used again: {names:?}");
            }
        }
        let leases =
            kube::Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(world.admin.clone(), &world.home);
        assert_eq!(leases.list(&Default::default()).await.unwrap().items.len(), 0, "no claim stays");
    });
}

#[test]
fn a_claim_that_was_left_behind_is_taken_part_in_and_goes() {
    test(async |world| {
        let gateway = world.gateway().await;
        let leases =
            kube::Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(world.admin.clone(), &world.home);
        let fingerprint = gateway::fingerprint::Fingerprint::of(&world.namespace, "Deployment", "web");
        let left = serde_json::json!({"metadata": {"name": format!("rr-{}", &fingerprint.as_str()[..48])}});
        let left: k8s_openapi::api::coordination::v1::Lease = serde_json::from_value(left).unwrap();
        leases.create(&Default::default(), &left).await.unwrap();
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        assert_eq!(leases.list(&Default::default()).await.unwrap().items.len(), 0);
    });
}

#[test]
fn dedup_outlives_the_gateway() {
    test(async |world| {
        let gateway = world.gateway().await;
        let first = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        gateway.gateway.shutdown().await;
        let successor = world.gateway().await;
        let answer = successor.prometheus(&about_deployment(&world.namespace, "web")).await.expect(202);
        assert_eq!(answer.text("remediationRequestName"), first.text("remediationRequestName"));
        assert_eq!(answer.body["metadata"]["count"], 2);
    });
}

#[test]
fn an_alert_and_an_event_about_one_thing_are_one_problem() {
    test(async |world| {
        let gateway = world.gateway().await;
        let labels = [("namespace", world.namespace.as_str()), ("pod", "lonely"), ("severity", "info")];
        gateway.prometheus(&webhook(&[alert(&labels)])).await.expect(201);
        gateway.event(&pod_event(&world.namespace, "lonely")).await.expect(202);
        world.request().await;
    });
}

#[test]
fn the_same_names_in_two_namespaces_are_two_problems() {
    test(async |world| {
        let gateway = world.gateway().await;
        let other = world.another_namespace("b", &[]).await;
        let a = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let b = gateway.prometheus(&about_deployment(&other, "web")).await.expect(201);
        assert_ne!(a.text("fingerprint"), b.text("fingerprint"));
        assert_eq!((world.requests().await.len(), world.requests_in(&other).await.len()), (1, 1));
    });
}
