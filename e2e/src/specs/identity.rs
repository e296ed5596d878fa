//! What makes two signals one problem.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::harness::context::Context;
use crate::harness::fingerprint::fingerprint;
use crate::harness::signals::Alert;
use crate::harness::spec::specs;
use crate::harness::wait::eventually;

specs!("identity":
    s06_the_fingerprint_is_the_sha256_of_the_target_alone,
    s07_two_pods_of_one_deployment_are_one_problem_of_two_are_two,
    s08_the_same_names_in_two_namespaces_are_two_problems,
);

/// For the controllers to make a Deployment's pods.
const PODS_DEADLINE: Duration = Duration::from_secs(30);

async fn s06_the_fingerprint_is_the_sha256_of_the_target_alone(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let expected = fingerprint(&namespace, "Pod", "checkout-1");
    let alert = Alert::about_pod(&namespace, "checkout-1").annotation("description", "one");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    ensure!(created.fingerprint == expected, "expected the fingerprint {expected}, found {created:?}");
    for (what, other) in [
        ("other annotations", alert.clone().annotation("description", "two").annotation("value", "97")),
        ("another alert's name", alert.clone().label("alertname", "HighCpuUsage")),
        ("another severity", alert.clone().severity("info")),
        ("labels of lesser targets", alert.clone().label("deployment", "checkout").label("service", "checkout")),
        ("another label", alert.clone().label("instance", "10.0.0.7:9090")),
        (
            "the namespace in exported_namespace",
            alert.without_label("namespace").label("exported_namespace", &namespace),
        ),
    ] {
        let answer = cx.gateway().alert(other).await?;
        answer.expect_duplicate_of(&created, &format!("the same target with {what}"))?;
    }
    // Each kind of target is another problem, though the names are alike.
    for (label, kind) in [("statefulset", "StatefulSet"), ("daemonset", "DaemonSet"), ("service", "Service")] {
        let alert = Alert::new("HighMemoryUsage").label("namespace", &namespace).label(label, "checkout-1");
        let answer = cx.gateway().alert(alert).await?;
        let created = answer.expect_created(&format!("an alert about a {kind}"))?;
        let expected = fingerprint(&namespace, kind, "checkout-1");
        ensure!(created.fingerprint == expected, "an alert about a {kind}: expected {expected}, but {answer}");
    }
    let alert = Alert::new("Watchdog").label("namespace", &namespace);
    let created = cx.gateway().alert(alert).await?.expect_created("an alert without any target label")?;
    let expected = fingerprint(&namespace, "Unknown", "Watchdog");
    ensure!(created.fingerprint == expected, "expected that of Unknown/Watchdog, {expected}, found {created:?}");
    cx.expect_requests(&namespace, 5).await?;
    Ok(())
}

async fn s07_two_pods_of_one_deployment_are_one_problem_of_two_are_two(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    for (name, replicas) in [("checkout", 2), ("payment", 1)] {
        make_deployment(&cx, &namespace, name, replicas).await?;
    }
    let checkout = pods_of_deployment(&cx, &namespace, "checkout", 2).await?;
    let payment = pods_of_deployment(&cx, &namespace, "payment", 1).await?;

    let answer = cx.gateway().alert(Alert::about_pod(&namespace, &checkout[0])).await?;
    let first = answer.expect_created("an alert about a Deployment's first pod")?;
    let expected = fingerprint(&namespace, "Deployment", "checkout");
    ensure!(first.fingerprint == expected, "expected that of Deployment checkout, {expected}, but {answer}");
    let second = cx.gateway().alert(Alert::about_pod(&namespace, &checkout[1])).await?;
    second.expect_duplicate_of(&first, "an alert about its second pod")?;
    let itself = Alert::new("ReplicasMissing").label("namespace", &namespace).label("deployment", "checkout");
    cx.gateway().alert(itself).await?.expect_duplicate_of(&first, "an alert about the Deployment itself")?;

    let other = cx.gateway().alert(Alert::about_pod(&namespace, &payment[0])).await?;
    let other = other.expect_created("an alert about a pod of another Deployment")?;
    ensure!(other.fingerprint == fingerprint(&namespace, "Deployment", "payment"), "expected payment's: {other:?}");
    cx.expect_requests(&namespace, 2).await?;
    // The fingerprint is the owner's, the target is what the signal was about.
    let target = cx.request(&namespace, &first.name).await?.spec.target_resource;
    ensure!(
        target.kind == "Pod" && target.name == checkout[0],
        "expected the target Pod {}, found {target:?}",
        checkout[0]
    );
    Ok(())
}

async fn s08_the_same_names_in_two_namespaces_are_two_problems(cx: Context) -> Result<()> {
    let (one, two) = (cx.namespace().await?, cx.namespace().await?);
    let mut fingerprints = Vec::new();
    for namespace in [&one, &two] {
        let answer = cx.gateway().alert(Alert::about_pod(namespace, "checkout-1")).await?;
        let created = answer.expect_created("an alert about a pod that has a namesake")?;
        ensure!(created.namespace == *namespace, "expected the request in {namespace}, but {answer}");
        fingerprints.push(created.fingerprint);
    }
    ensure!(fingerprints[0] != fingerprints[1], "both namespaces got the fingerprint {}", fingerprints[0]);
    cx.expect_requests(&one, 1).await?;
    cx.expect_requests(&two, 1).await?;
    Ok(())
}

/// Makes a Deployment whose pods come into being, with their owners, and never run.
async fn make_deployment(cx: &Context, namespace: &str, name: &str, replicas: i32) -> Result<()> {
    let deployment: Deployment = serde_json::from_value(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "schedulerName": "nobody",
                    "containers": [{"name": "app", "image": "registry.invalid/never-pulled"}],
                },
            },
        },
    }))
    .context("putting a Deployment together")?;
    let deployments: Api<Deployment> = Api::namespaced(cx.kubernetes(), namespace);
    let made = deployments.create(&PostParams::default(), &deployment).await;
    made.with_context(|| format!("making the Deployment {name} in {namespace}"))?;
    Ok(())
}

async fn pods_of_deployment(cx: &Context, namespace: &str, name: &str, count: usize) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(cx.kubernetes(), namespace);
    let selector = ListParams::default().labels(&format!("app={name}"));
    eventually(PODS_DEADLINE, &format!("the {count} pod(s) of Deployment {name} in {namespace}"), async || {
        let list = pods.list(&selector).await.context("listing pods")?;
        let names: Vec<String> = list.into_iter().filter_map(|pod| pod.metadata.name).collect();
        ensure!(names.len() == count, "there are {names:?}");
        Ok(names)
    })
    .await
}
