//! What makes two signals one problem.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::harness::context::Context;
use crate::harness::controllers::make;
use crate::harness::fingerprint::fingerprint;
use crate::harness::signals::Alert;
use crate::harness::spec::specs;
use crate::harness::wait::eventually;

specs!("identity":
    s06_the_fingerprint_is_the_sha256_of_the_target_alone,
    s07_two_pods_of_one_deployment_are_one_problem_of_two_are_two,
    s59_an_exporters_alert_is_about_what_it_tells_of,
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
        ("labels of lesser targets", alert.clone().label("node", "node-1").label("service", "checkout")),
        ("the exporter's own pod", alert.clone().label("pod", "exporter-1").label("exported_pod", "checkout-1")),
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
    let checkout = make_workload(&cx, &namespace, "Deployment", "checkout", 2).await?;
    let payment = make_workload(&cx, &namespace, "Deployment", "payment", 1).await?;
    let checkout = pods_of(&cx, &namespace, &checkout, 2..=2).await?;
    let payment = pods_of(&cx, &namespace, &payment, 1..=1).await?;

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
    // Not Deployments alone.
    for kind in ["StatefulSet", "DaemonSet", "CronJob"] {
        let name = kind.to_lowercase();
        let count = if kind == "DaemonSet" { 1 } else { 2 };
        let workload = make_workload(&cx, &namespace, kind, &name, count).await?;
        let expected = if kind == "DaemonSet" { 1..=usize::MAX } else { 2..=2 };
        let pods = pods_of(&cx, &namespace, &workload, expected).await?;
        let answer = cx.gateway().alert(Alert::about_pod(&namespace, &pods[0])).await?;
        let first = answer.expect_created(&format!("an alert about a {kind}'s first pod"))?;
        let expected = fingerprint(&namespace, kind, &name);
        ensure!(first.fingerprint == expected, "expected that of {kind} {name}, {expected}, but {answer}");
        for other in &pods[1..] {
            let second = cx.gateway().alert(Alert::about_pod(&namespace, other)).await?;
            second.expect_duplicate_of(&first, &format!("an alert about a {kind}'s second pod"))?;
        }
    }
    cx.expect_requests(&namespace, 5).await?;
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

async fn s59_an_exporters_alert_is_about_what_it_tells_of(cx: Context) -> Result<()> {
    let (namespace, monitoring) = (cx.namespace().await?, cx.namespace().await?);
    // As kube-state-metrics' service monitor makes them: these are its own.
    let told = |name: &str| {
        Alert::new(name)
            .severity("warning")
            .label("namespace", &monitoring)
            .label("pod", "kube-state-metrics-58474dc949-6ngch")
            .label("container", "kube-state-metrics")
            .label("service", "kube-state-metrics")
            .label("job", "kube-state-metrics")
            .label("instance", "10.42.2.101:8080")
    };
    for deployment in ["checkout", "payment"] {
        let alert = told("KubeDeploymentReplicasMismatch")
            .label("exported_namespace", &namespace)
            .label("deployment", deployment);
        let answer = cx.gateway().alert(alert).await?;
        let created = answer.expect_created("what kube-state-metrics tells of a Deployment")?;
        let expected = fingerprint(&namespace, "Deployment", deployment);
        ensure!(created.fingerprint == expected, "expected that of Deployment {deployment}, {expected}, but {answer}");
        ensure!(created.namespace == namespace, "expected the request in {namespace}, but {answer}");
        let target = cx.request(&namespace, &created.name).await?.spec.target_resource;
        ensure!(
            target.kind == "Deployment" && target.name == deployment,
            "expected the target Deployment {deployment}, found {target:?}"
        );
    }
    let pod = told("KubePodCrashLooping").label("exported_namespace", &namespace).label("exported_pod", "ledger-0");
    let answer = cx.gateway().alert(pod).await?;
    let created = answer.expect_created("what kube-state-metrics tells of a Pod")?;
    let expected = fingerprint(&namespace, "Pod", "ledger-0");
    ensure!(created.fingerprint == expected, "expected that of Pod ledger-0, {expected}, but {answer}");

    let node = cx.unique_name();
    let answer = cx.gateway().alert(told("KubeNodeNotReady").label("node", &node)).await?;
    let created = answer.expect_created("what kube-state-metrics tells of a Node")?;
    cx.adopt_request(&created.namespace, &created.name);
    let expected = fingerprint("", "Node", &node);
    ensure!(created.fingerprint == expected, "expected that of Node {node}, {expected}, but {answer}");
    cx.expect_requests(&namespace, 3).await?;
    cx.expect_requests(&monitoring, 0).await?;
    Ok(())
}

/// Makes a workload whose pods, when they are made, never run: `count` of them, of a DaemonSet one on each node. Returns
/// what controls the pods, or what controls that: of a CronJob it is a Job.
async fn make_workload(cx: &Context, namespace: &str, kind: &str, name: &str, count: usize) -> Result<DynamicObject> {
    let template = |restart: &str| {
        json!({
            "metadata": {"labels": {"app": name}},
            "spec": {
                "schedulerName": "nobody", "restartPolicy": restart,
                "containers": [{"name": "app", "image": "registry.invalid/never-pulled"}],
            },
        })
    };
    let object = |api_version: &str, kind: &str, name: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
    let client = &cx.kubernetes();
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template("Always")});
    match kind {
        "CronJob" => {
            let job = json!({"parallelism": count, "template": template("Never")});
            let spec = json!({"schedule": "0 0 31 2 *", "suspend": true, "jobTemplate": {"spec": job}});
            let cron_job = make(client, namespace, object("batch/v1", kind, name, spec), None).await?;
            let job = object("batch/v1", "Job", &format!("{name}-1"), job);
            return make(client, namespace, job, Some(&cron_job)).await;
        }
        "StatefulSet" => {
            spec["serviceName"] = json!(name);
            spec["podManagementPolicy"] = json!("Parallel");
            spec["replicas"] = json!(count);
        }
        "DaemonSet" => {}
        _ => spec["replicas"] = json!(count),
    }
    make(client, namespace, object("apps/v1", kind, name, spec), None).await
}

/// The names of a workload's pods, once there are as many as expected.
async fn pods_of(
    cx: &Context,
    namespace: &str,
    workload: &DynamicObject,
    expected: RangeInclusive<usize>,
) -> Result<Vec<String>> {
    cx.surroundings().make_pods(workload, *expected.start()).await?;
    let pods: Api<Pod> = Api::namespaced(cx.kubernetes(), namespace);
    let app = workload.data.pointer("/spec/template/metadata/labels/app").and_then(Value::as_str).unwrap_or_default();
    let selector = ListParams::default().labels(&format!("app={app}"));
    eventually(PODS_DEADLINE, &format!("the {} pod(s) of {app} in {namespace}", expected.start()), async || {
        let list = pods.list(&selector).await.context("listing pods")?;
        let names: Vec<String> = list.into_iter().filter_map(|pod| pod.metadata.name).collect();
        ensure!(expected.contains(&names.len()), "there are {names:?}");
        Ok(names)
    })
    .await
}
