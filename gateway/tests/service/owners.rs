//! The top owner decides what is one problem.

use gateway::fingerprint::Fingerprint;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::core::GroupVersionKind;
use serde_json::json;

use crate::support::alerts::{alert, pod_event, webhook};
use crate::support::objects::{controller, create, create_custom, deployment};
use crate::support::{Running, World, server, test, wait_for};

async fn fingerprint(gateway: &Running, world: &World, label: &str, name: &str) -> String {
    let answer = gateway.prometheus(&webhook(&[alert(&[("namespace", &world.namespace), (label, name)])])).await;
    assert!(answer.status == 201 || answer.status == 202, "{:#}", answer.body);
    answer.text("fingerprint").to_owned()
}

fn expected(world: &World, kind: &str, name: &str) -> String {
    Fingerprint::of(&world.namespace, kind, name).to_string()
}

#[test]
fn all_pods_of_a_deployment_are_one_problem() {
    test(async |world| {
        deployment(&world.admin, &world.namespace, "web", &["web-5d9f-a", "web-5d9f-b"]).await;
        deployment(&world.admin, &world.namespace, "api", &["api-77-a"]).await;
        let gateway = world.gateway().await;
        let web = expected(&world, "Deployment", "web");
        assert_eq!(fingerprint(&gateway, &world, "pod", "web-5d9f-a").await, web);
        assert_eq!(fingerprint(&gateway, &world, "pod", "web-5d9f-b").await, web);
        assert_eq!(fingerprint(&gateway, &world, "deployment", "web").await, web);
        let request = world.request().await;
        assert_eq!(request.status.unwrap().deduplication.unwrap().occurrence_count, 3);
        let target = request.spec.target_resource;
        assert_eq!(
            (target.kind.as_str(), target.name.as_str()),
            ("Pod", "web-5d9f-a"),
            "the target stays what was signalled"
        );
        assert_eq!(fingerprint(&gateway, &world, "pod", "api-77-a").await, expected(&world, "Deployment", "api"));
        assert_eq!(world.requests().await.len(), 2, "another Deployment is another problem");
    });
}

#[test]
fn an_event_about_a_pod_is_about_its_top_owner_too() {
    test(async |world| {
        let cron_job = create(&world.admin, &world.namespace, "CronJob", "nightly", None).await;
        let job = create(&world.admin, &world.namespace, "Job", "nightly-1", Some(&cron_job)).await;
        create(&world.admin, &world.namespace, "Pod", "nightly-1-x", Some(&job)).await;
        let gateway = world.gateway().await;
        let answer = gateway.event(&pod_event(&world.namespace, "nightly-1-x")).await.expect(201);
        assert_eq!(answer.text("fingerprint"), expected(&world, "CronJob", "nightly"));
    });
}

#[test]
fn what_does_not_exist_is_its_own_top() {
    test(async |world| {
        let gateway = world.gateway().await;
        assert_eq!(fingerprint(&gateway, &world, "pod", "gone").await, expected(&world, "Pod", "gone"));
        // A Pod that outlives its ReplicaSet: as far as the chain is known.
        let gone = controller("apps/v1", "ReplicaSet", "web-gone", "0f0f0f0f-0000-4000-8000-000000000000");
        create(&world.admin, &world.namespace, "Pod", "orphan", Some(&gone)).await;
        assert_eq!(fingerprint(&gateway, &world, "pod", "orphan").await, expected(&world, "ReplicaSet", "web-gone"));
    });
}

#[test]
fn an_owner_that_does_not_control_is_not_followed() {
    test(async |world| {
        let mut owner = create(&world.admin, &world.namespace, "StatefulSet", "db", None).await;
        owner["controller"] = json!(false);
        create(&world.admin, &world.namespace, "Pod", "db-0", Some(&owner)).await;
        let gateway = world.gateway().await;
        assert_eq!(fingerprint(&gateway, &world, "pod", "db-0").await, expected(&world, "Pod", "db-0"));
    });
}

#[test]
fn at_most_five_owners_are_followed() {
    test(async |world| {
        let mut owner = create(&world.admin, &world.namespace, "ReplicaSet", "level-7", None).await;
        for level in (1..7).rev() {
            owner = create(&world.admin, &world.namespace, "ReplicaSet", &format!("level-{level}"), Some(&owner)).await;
        }
        create(&world.admin, &world.namespace, "Pod", "deep", Some(&owner)).await;
        let gateway = world.gateway().await;
        assert_eq!(fingerprint(&gateway, &world, "pod", "deep").await, expected(&world, "ReplicaSet", "level-5"));
    });
}

#[test]
fn a_static_pod_belongs_to_its_node() {
    test(async |world| {
        let name = format!("node-of-{}", world.namespace);
        let node = controller("v1", "Node", &name, "0f0f0f0f-0000-4000-8000-000000000001");
        create(&world.admin, &world.namespace, "Pod", "static", Some(&node)).await;
        let gateway = world.gateway().await;
        let of_node = Fingerprint::of("", "Node", &name).to_string();
        assert_eq!(fingerprint(&gateway, &world, "pod", "static").await, of_node);
        let answer = gateway.prometheus(&webhook(&[alert(&[("node", &name)])])).await.expect(202);
        assert_eq!(answer.text("fingerprint"), of_node);
        let request = world.request().await;
        let labels = request.metadata.labels.unwrap();
        assert_eq!(labels["kubernaut.ai/environment"], "production", "it lies where the signal's pod lies");
        assert!(!labels.contains_key("kubernaut.ai/cluster-scoped"), "{labels:?}");
        assert_eq!(world.requests_in(&world.home).await.len(), 0);
    });
}

#[test]
fn two_full_disks_that_node_exporters_tell_of_are_two_nodes() {
    test(async |world| {
        let nodes = ["a", "b"].map(|node| format!("{node}-of-{}", world.namespace));
        let daemon_set = create(&world.admin, &world.namespace, "DaemonSet", "node-exporter", None).await;
        let gateway = world.gateway().await;
        for node in &nodes {
            let pod = format!("node-exporter-{}", &node[..1]);
            create(&world.admin, &world.namespace, "Pod", &pod, Some(&daemon_set)).await;
            let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.admin.clone(), &world.namespace);
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            });
            pods.create_subresource::<_, serde_json::Value>("binding", &pod, &Default::default(), &binding)
                .await
                .unwrap();
            let labels =
                [("namespace", world.namespace.as_str()), ("pod", pod.as_str()), ("instance", "10.0.0.1:9100")];
            let answer = gateway.prometheus(&webhook(&[alert(&labels)])).await.expect(201);
            assert_eq!(answer.text("fingerprint"), Fingerprint::of("", "Node", node).as_str());
        }
        let found = world.requests_in(&world.home).await;
        assert!(found.iter().all(|request| request.spec.target_resource.kind == "Node"), "{found:#?}");
        assert_eq!(
            fingerprint(&gateway, &world, "pod", "node-exporter-gone").await,
            expected(&world, "Pod", "node-exporter-gone")
        );
    });
}

async fn define(world: &World, group: &str) {
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": format!("rollouts.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    }))
    .unwrap();
    let kind = GroupVersionKind::gvk(group, "v1alpha1", "Rollout");
    Api::all(world.admin.clone()).create(&Default::default(), &definition).await.unwrap();
    wait_for("the API server to serve Rollouts", async || kube::discovery::pinned_kind(&world.admin, &kind).await.ok())
        .await;
}

#[test]
fn owners_of_other_groups_are_followed_as_far_as_the_gateway_may_read() {
    test(async |world| {
        let group = format!("{}.example.com", world.namespace);
        define(&world, &group).await;
        let kind = GroupVersionKind::gvk(&group, "v1alpha1", "Rollout");
        let above = create_custom(&world.admin, &world.namespace, &kind, "above", None).await;
        let rollout = create_custom(&world.admin, &world.namespace, &kind, "rollout", Some(&above)).await;
        let replica_set = create(&world.admin, &world.namespace, "ReplicaSet", "rollout-1", Some(&rollout)).await;
        create(&world.admin, &world.namespace, "Pod", "rollout-1-a", Some(&replica_set)).await;
        let gateway = world.gateway().await;
        let found = fingerprint(&gateway, &world, "pod", "rollout-1-a").await;
        assert_eq!(found, expected(&world, "Rollout", "rollout"), "the gateway's role does not let it read Rollouts");
        let allowed = world.gateway_at(server().client().unwrap(), |_| {}).await;
        let found = fingerprint(&allowed, &world, "pod", "rollout-1-a").await;
        assert_eq!(found, expected(&world, "Rollout", "above"));
    });
}

#[test]
fn names_that_no_object_can_have_are_never_asked_for() {
    test(async |world| {
        let gateway = world.gateway().await;
        for name in ["../../../../api/v1/namespaces/default", "a/b", "a?watch=true", "Web", "päd", "a%2fb", ".."] {
            assert_eq!(fingerprint(&gateway, &world, "pod", name).await, expected(&world, "Pod", name));
        }
        for namespace in ["..", "a/b", "a?b", "Shop"] {
            let answer =
                gateway.prometheus(&webhook(&[alert(&[("namespace", namespace), ("pod", "p")])])).await.expect(201);
            assert_eq!(answer.text("remediationRequestNamespace"), world.home);
        }
    });
}
