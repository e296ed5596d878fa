//! Hostile requests, each with the answer that it must get.
//!
//! The lists are in `hostile/`; `testbed::hostile` says how they are written.

use testbed::hostile::{List, Target};

use crate::http::SECURITY;
use crate::support::alerts::about_deployment;
use crate::support::test;

/// Sends a list to a gateway, which must make what the list says, nothing else, and be well afterwards.
fn send(list: &str) {
    let list = List::read(list).unwrap();
    test(async |world| {
        let gateway = world.gateway().await;
        let usual = [format!("Authorization: Bearer {}", world.token), "Content-Type: application/json".to_owned()];
        let value = |name: &str| match name {
            "auth" => Some(usual[0].clone()),
            "token" => Some(world.token.clone()),
            "gateway-token" => Some(world.gateway_token.clone()),
            "namespace" => Some(world.namespace.clone()),
            _ => None,
        };
        let address = gateway.gateway.api_address();
        let target = Target { address, usual: &usual, on_every_answer: &SECURITY, more_members: &[], value: &value };
        let made = async || world.requests().await.len() + world.requests_in(&world.home).await.len();
        let (mut faults, mut known) = (Vec::new(), 0);
        for case in &list.cases {
            if let Err(error) = list.send(case, &target) {
                faults.push(format!("{}: {error:#}", case.case));
            }
            let found = made().await;
            if found - known != case.makes {
                faults.push(format!("{}: made {} requests", case.case, found - known));
            }
            known = found;
        }
        assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), list.cases.len(), faults.join("\n"));
        gateway.health("/healthz").await.expect(200);
        gateway.health("/readyz").await.expect(200);
        gateway.prometheus(&about_deployment(&world.namespace, "after-all")).await.expect(201);
    });
}

#[test]
fn what_is_on_the_wire() {
    send(include_str!("hostile/http.yaml"));
}

#[test]
fn paths_and_methods() {
    send(include_str!("hostile/paths.yaml"));
}

#[test]
fn headers() {
    send(include_str!("hostile/headers.yaml"));
}

#[test]
fn bodies_that_are_no_webhook() {
    send(include_str!("hostile/json.yaml"));
}

#[test]
fn webhooks() {
    send(include_str!("hostile/webhooks.yaml"));
}

#[test]
fn events() {
    send(include_str!("hostile/events.yaml"));
}
