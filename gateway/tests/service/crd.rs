//! What the API server makes of the CRD.

use api::RemediationRequest;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value, json};

use crate::support::alerts::about_deployment;
use crate::support::test;

#[test]
fn a_request_cannot_be_changed_but_for_its_status() {
    test(async |world| {
        let gateway = world.gateway().await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let name = answer.text("remediationRequestName");
        let requests: Api<RemediationRequest> = Api::namespaced(world.admin.clone(), &world.namespace);
        for (change, message) in [
            (json!({"severity": "info"}), "spec is immutable"),
            (json!({"signalFingerprint": "f".repeat(64)}), "signalFingerprint is immutable"),
            (json!({"signalSource": null}), "spec is immutable"),
            (json!({"signalLabels": {"more": "x"}}), "spec is immutable"),
            (json!({"targetResource": {"name": "other"}}), "spec is immutable"),
        ] {
            let patch = Patch::Merge(json!({"spec": change}));
            let error = requests.patch(name, &PatchParams::default(), &patch).await.unwrap_err().to_string();
            assert!(error.contains(message), "{change}: {error}");
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}}));
        requests.patch(name, &PatchParams::default(), &patch).await.unwrap();
    });
}

#[test]
fn what_breaks_the_rules_of_the_spec_is_refused() {
    test(async |world| {
        let gateway = world.gateway().await;
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        let mut good = serde_json::to_value(world.request().await).unwrap();
        good["metadata"] = json!({"generateName": "x-", "namespace": world.namespace});
        good.as_object_mut().unwrap().remove("status");
        let create = async |object: &Value| {
            let url = format!("/apis/kubernaut.ai/v1alpha1/namespaces/{}/remediationrequests", world.namespace);
            let request = Request::new(url).create(&Default::default(), object.to_string().into_bytes()).unwrap();
            world.admin.request::<Value>(request).await
        };
        create(&good).await.unwrap();
        for (key, bad) in [
            ("signalFingerprint", json!("F".repeat(64))),
            ("signalFingerprint", json!("f".repeat(63))),
            ("signalName", json!("")),
            ("signalName", json!("x".repeat(254))),
            ("severity", json!("page")),
            ("signalType", json!("smoke")),
            ("signalSource", json!("x".repeat(64))),
            ("targetType", json!("moon")),
            ("targetResource", json!({"kind": "Pod"})),
            ("firingTime", json!("yesterday")),
            ("receivedTime", json!(null)),
        ] {
            let mut object = good.clone();
            object["spec"][key] = bad.clone();
            let error = create(&object).await.expect_err(&format!("{key}: {bad}")).to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    });
}

#[test]
fn requests_are_found_by_fingerprint_and_shown_in_columns() {
    test(async |world| {
        let gateway = world.gateway().await;
        let answer = gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        gateway.prometheus(&about_deployment(&world.namespace, "api")).await.expect(201);
        let requests: Api<RemediationRequest> = Api::namespaced(world.admin.clone(), &world.namespace);
        let selector = format!("spec.signalFingerprint={}", answer.text("fingerprint"));
        let found = requests.list(&ListParams::default().fields(&selector)).await.unwrap().items;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].metadata.name.as_deref(), Some(answer.text("remediationRequestName")));
        world.set_phase(answer.text("remediationRequestName"), api::Phase::AwaitingApproval).await;

        let url = format!("/apis/kubernaut.ai/v1alpha1/namespaces/{}/remediationrequests", world.namespace);
        let mut request = Request::new(url).list(&ListParams::default().fields(&selector)).unwrap();
        request.headers_mut().insert("accept", "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
        let table: Value = world.admin.request(request).await.unwrap();
        let columns: Vec<&str> =
            table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(columns, ["Name", "Phase", "Severity", "Target", "Path", "Count", "Age"]);
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(
            cells[1..6],
            [json!("AwaitingApproval"), json!("critical"), json!("web"), json!("aggressive"), json!(1)]
        );
    });
}
