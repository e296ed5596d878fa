//! Exactly one request, whoever comes at once, and no occurrence lost.

use futures::future::join_all;

use crate::support::alerts::{about_deployment, alert, webhook};
use crate::support::{Running, server, test};

fn count_status(statuses: &[u16], wanted: u16) -> usize {
    statuses.iter().filter(|status| **status == wanted).count()
}

async fn send_all(gateways: &[&Running], times: usize, webhook: &serde_json::Value) -> Vec<u16> {
    let sends = (0..times).map(|number| gateways[number % gateways.len()].prometheus(webhook));
    join_all(sends).await.into_iter().map(|answer| answer.status).collect()
}

#[test]
fn twenty_identical_signals_at_once_are_one_request() {
    test(async |world| {
        let gateway = world.gateway().await;
        let statuses = send_all(&[&gateway], 20, &about_deployment(&world.namespace, "web")).await;
        assert_eq!((count_status(&statuses, 201), count_status(&statuses, 202)), (1, 19), "{statuses:?}");
        assert_eq!(world.request().await.status.unwrap().deduplication.unwrap().occurrence_count, 20);
    });
}

#[test]
fn three_gateways_make_one_request_and_lose_no_count() {
    test(async |world| {
        let gateways = [world.gateway().await, world.gateway().await, world.gateway().await];
        let gateways: Vec<&Running> = gateways.iter().collect();
        for round in 0..5 {
            let name = format!("web-{round}");
            let statuses = send_all(&gateways, 30, &about_deployment(&world.namespace, &name)).await;
            assert_eq!(
                (count_status(&statuses, 201), count_status(&statuses, 202)),
                (1, 29),
                "round {round}: {statuses:?}"
            );
        }
        let requests = world.requests().await;
        assert_eq!(requests.len(), 5);
        for request in requests {
            assert_eq!(request.status.unwrap().deduplication.unwrap().occurrence_count, 30);
        }
    });
}

#[test]
fn several_gateways_make_one_successor() {
    test(async |world| {
        let gateways = [world.gateway().await, world.gateway().await];
        let gateways: Vec<&Running> = gateways.iter().collect();
        let webhook = about_deployment(&world.namespace, "web");
        for round in 1..=4 {
            let statuses = send_all(&gateways, 16, &webhook).await;
            assert_eq!(
                (count_status(&statuses, 201), count_status(&statuses, 202)),
                (1, 15),
                "round {round}: {statuses:?}"
            );
            let requests = world.requests().await;
            assert_eq!(requests.len(), round);
            let active =
                requests.iter().find(|request| request.status.as_ref().unwrap().overall_phase.is_none()).unwrap();
            assert_eq!(active.status.as_ref().unwrap().deduplication.as_ref().unwrap().occurrence_count, 16);
            world.set_phase(active.metadata.name.as_deref().unwrap(), api::Phase::Completed).await;
        }
    });
}

#[test]
fn distinct_signals_at_once_are_distinct_requests() {
    test(async |world| {
        let gateway = world.gateway().await;
        let webhooks: Vec<_> =
            (0..50).map(|number| about_deployment(&world.namespace, &format!("web-{number}"))).collect();
        let answers = join_all(webhooks.iter().map(|webhook| gateway.prometheus(webhook))).await;
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        assert_eq!(world.requests().await.len(), 50);
    });
}

#[test]
fn two_fingerprints_that_share_twelve_digits_are_two_requests() {
    test(async |world| {
        // Found by trying: `shop:Deployment:app-…` of both begins with 8cf665f992a4.
        server().create_namespace("shop", &[]).await.unwrap();
        let gateway = world.gateway().await;
        let mut names = Vec::new();
        for name in ["app-31302", "app-3202681"] {
            let answer = gateway.prometheus(&about_deployment("shop", name)).await.expect(201);
            assert!(answer.text("fingerprint").starts_with("8cf665f992a4"), "{:#}", answer.body);
            names.push(answer.text("remediationRequestName").to_owned());
        }
        assert_ne!(names[0], names[1]);
        for name in ["app-31302", "app-3202681"] {
            gateway.prometheus(&about_deployment("shop", name)).await.expect(202);
        }
    });
}

#[test]
fn a_stranger_that_has_the_name_is_stepped_around() {
    test(async |world| {
        let gateway = world.gateway().await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let mut stranger = world.request().await;
        let requests = kube::Api::<api::RemediationRequest>::namespaced(world.admin.clone(), &world.namespace);
        requests.delete(answer.text("remediationRequestName"), &Default::default()).await.unwrap();
        stranger.metadata.resource_version = None;
        stranger.metadata.uid = None;
        stranger.spec.signal_fingerprint = "0".repeat(64);
        requests.create(&Default::default(), &stranger).await.unwrap();
        let other = world.gateway().await;
        let statuses = send_all(&[&gateway, &other], 10, &about_deployment(&world.namespace, "web")).await;
        assert_eq!((count_status(&statuses, 201), count_status(&statuses, 202)), (1, 9), "{statuses:?}");
        let found = world.requests().await;
        assert_eq!(found.len(), 2, "the stranger and one of ours");
    });
}

#[test]
fn one_delivery_with_one_problem_many_times_is_one_request() {
    test(async |world| {
        let gateway = world.gateway().await;
        let one = alert(&[("namespace", &world.namespace), ("statefulset", "db")]);
        let answer = gateway.prometheus(&webhook(&vec![one; 12])).await.expect(207);
        assert_eq!(
            (&answer.body["summary"]["created"], &answer.body["summary"]["deduplicated"]),
            (&1.into(), &11.into())
        );
        assert_eq!(world.request().await.status.unwrap().deduplication.unwrap().occurrence_count, 12);
    });
}
