//! When a workload counts as rolled out, and when it never will be. Pure: objects come in as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e_support::clock::Instant;
use serde_json::Value;

use crate::plan::ObjectRef;

/// An unschedulable pod is given this long: a node that has just registered still has its taints.
const UNSCHEDULABLE: Duration = Duration::from_secs(30);
/// A registry that does not hand an image out is given this long, which is three tries of the kubelet: at once, and
/// twice with its pause, which begins at 10 s and doubles.
/// <https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff>
const UNPULLED: Duration = Duration::from_secs(35);
/// A pod whose containers are not made for so long is asked about…
const SLOW: Duration = Duration::from_secs(20);
/// …and is given up where the kubelet has told that often that it cannot make them. Its pause between two tries begins
/// at half a second and doubles, so that this is a quarter of a minute.
const REFUSALS: u64 = 5;
/// A container may restart this often while what it needs comes up.
const RESTARTS: u64 = 3;

/// The API server's paths that a rollout is watched by.
pub(super) struct Paths {
    pub(super) workload: String,
    pub(super) pods: String,
}

pub(super) fn paths(workload: &ObjectRef) -> Result<Paths> {
    let ObjectRef { kind, namespace, name } = workload;
    let (api, plural) = match kind.as_str() {
        "Deployment" => ("apis/apps/v1", "deployments"),
        "StatefulSet" => ("apis/apps/v1", "statefulsets"),
        "DaemonSet" => ("apis/apps/v1", "daemonsets"),
        "Job" => ("apis/batch/v1", "jobs"),
        _ => bail!("{workload} is nothing that can be waited for"),
    };
    // Seconds; the API server ends the watch by itself then.
    let watch = "watch=true&timeoutSeconds=600";
    Ok(Paths {
        workload: format!("/{api}/namespaces/{namespace}/{plural}?{watch}&fieldSelector=metadata.name%3D{name}"),
        pods: format!("/api/v1/namespaces/{namespace}/pods?{watch}"),
    })
}

/// Whether the rollout of `object` is done, and how far it is in words.
///
/// # Errors
/// When it has failed for good: a job that used up its tries.
pub(super) fn progress(kind: &str, object: &Value) -> Result<(bool, String)> {
    let status = &object["status"];
    let number = |key: &str| status[key].as_u64().unwrap_or(0);
    if kind == "Job" {
        let condition = |name: &str| {
            let list = status["conditions"].as_array().into_iter().flatten();
            list.clone().find(|condition| condition["type"] == name && condition["status"] == "True").cloned()
        };
        if let Some(failed) = condition("Failed") {
            bail!("the job failed: {}", failed["message"].as_str().unwrap_or("no message"));
        }
        let done = condition("Complete").is_some();
        return Ok((done, format!("{} succeeded, {} active", number("succeeded"), number("active"))));
    }
    let seen = number("observedGeneration") >= object["metadata"]["generation"].as_u64().unwrap_or(0);
    let (wanted, updated, ready) = match kind {
        "DaemonSet" => (number("desiredNumberScheduled"), number("updatedNumberScheduled"), number("numberAvailable")),
        "StatefulSet" => {
            let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
            // Without a rolling update under way there may be no count of updated pods.
            let same = status["currentRevision"] == status["updateRevision"];
            (wanted, if same { number("replicas") } else { number("updatedReplicas") }, number("readyReplicas"))
        }
        _ => {
            let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
            // Pods of the old version still count as available; they must be gone.
            let old = number("replicas").saturating_sub(number("updatedReplicas"));
            (wanted, number("updatedReplicas").saturating_sub(old), number("availableReplicas"))
        }
    };
    let done = seen && updated >= wanted && ready >= wanted && (kind != "DaemonSet" || wanted > 0);
    Ok((done, format!("{ready} of {wanted} ready, {updated} of {wanted} of this version")))
}

/// What is known of a workload's pods.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<String, Pod>);

#[derive(Debug)]
struct Pod {
    /// What it waits for, in words.
    waiting: Option<String>,
    hopeless: Option<String>,
    unschedulable_since: Option<Instant>,
    /// Since when an image of it cannot be pulled.
    unpulled_since: Option<Instant>,
    /// Since when its containers are being made.
    creating_since: Option<Instant>,
    uid: String,
}

/// Whether waiting on makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// It does not, and why.
    Hopeless(String),
}

impl Pods {
    /// Takes a watch event of a pod; pods of other workloads than `workload` do not count.
    pub(super) fn take(&mut self, workload: &str, event: &Value) {
        let pod = &event["object"];
        let Some(name) = pod["metadata"]["name"].as_str() else { return };
        if !belongs(pod, workload) {
            return;
        }
        if event["type"] == "DELETED" || pod["metadata"].get("deletionTimestamp").is_some() {
            self.0.remove(name);
            return;
        }
        let pod = Pod::read(pod, self.0.get(name));
        self.0.insert(name.to_owned(), pod);
    }

    pub(super) fn verdict(&self) -> Verdict {
        for (name, pod) in &self.0 {
            if let Some(why) = &pod.hopeless {
                return Verdict::Hopeless(format!("pod {name}: {why}"));
            }
            let too_long = |since: Option<Instant>, limit| since.is_some_and(|since| since.elapsed() >= limit);
            if too_long(pod.unschedulable_since, UNSCHEDULABLE) {
                let why = pod.waiting.as_deref().unwrap_or("no node takes it");
                return Verdict::Hopeless(format!("pod {name} is unschedulable: {why}"));
            }
            if too_long(pod.unpulled_since, UNPULLED) {
                let why = pod.waiting.as_deref().unwrap_or("an image cannot be pulled");
                return Verdict::Hopeless(format!("pod {name}: {why}"));
            }
        }
        Verdict::Open
    }

    /// Name and UID of a pod whose containers are not made for long.
    pub(super) fn slow(&self) -> Option<(&str, &str)> {
        let slow = |pod: &Pod| pod.creating_since.is_some_and(|since| since.elapsed() >= SLOW);
        self.0.iter().find(|(_, pod)| slow(pod)).map(|(name, pod)| (name.as_str(), pod.uid.as_str()))
    }

    /// What the pods wait for, for the end of a sentence.
    pub(super) fn waiting(&self) -> String {
        let list = self.0.iter().filter_map(|(name, pod)| Some(format!("; pod {name}: {}", pod.waiting.as_ref()?)));
        list.collect()
    }
}

/// Why the kubelet does not make the containers of a pod, by a list of the pod's events: a volume of a Secret that there
/// is not, for example.
pub(super) fn refusal(events: &Value) -> Option<String> {
    let refuses = ["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"];
    let events = events["items"].as_array().into_iter().flatten();
    let mut often = events.filter(|event| {
        let reason = event["reason"].as_str().unwrap_or_default();
        refuses.contains(&reason) && event["count"].as_u64().unwrap_or(1) >= REFUSALS
    });
    let event = often.next()?;
    Some(format!("{} {}", event["reason"].as_str()?, event["message"].as_str()?))
}

/// By the pod's owner: a ReplicaSet is called after its Deployment, with a hash behind it.
fn belongs(pod: &Value, workload: &str) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.filter_map(|owner| Some((owner["kind"].as_str()?, owner["name"].as_str()?))).any(|(kind, name)| match kind {
        "ReplicaSet" => name.rsplit_once('-').is_some_and(|(deployment, _)| deployment == workload),
        _ => name == workload,
    })
}

impl Pod {
    /// `before` is what was known of it.
    fn read(pod: &Value, before: Option<&Pod>) -> Pod {
        let status = &pod["status"];
        let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
        let since = |begun: fn(&Pod) -> Option<Instant>| Some(before.and_then(begun).unwrap_or_else(Instant::now));
        let mut out = Pod {
            waiting: None,
            hopeless: None,
            unschedulable_since: None,
            unpulled_since: None,
            creating_since: None,
            uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        };
        for condition in list("conditions") {
            if condition["type"] == "PodScheduled" && condition["reason"] == "Unschedulable" {
                out.unschedulable_since = since(|pod| pod.unschedulable_since);
                out.waiting = condition["message"].as_str().map(str::to_owned);
            }
        }
        for container in list("initContainerStatuses").iter().chain(&list("containerStatuses")) {
            let name = container["name"].as_str().unwrap_or_default();
            let waiting = &container["state"]["waiting"];
            let Some(reason) = waiting["reason"].as_str() else { continue };
            let message = waiting["message"].as_str().unwrap_or_default();
            let restarts = container["restartCount"].as_u64().unwrap_or(0);
            let ended = &container["lastState"]["terminated"];
            let ended = match ended["exitCode"].as_i64() {
                Some(code) => format!(", last ended with exit code {code}"),
                None => String::new(),
            };
            let text = format!("container {name}: {reason} {message}{ended}").trim_end().to_owned();
            let never = ["ErrImageNeverPull", "CreateContainerConfigError", "InvalidImageName", "RunContainerError"];
            if never.contains(&reason) || (reason == "CrashLoopBackOff" && restarts >= RESTARTS) {
                out.hopeless = Some(text.clone());
            }
            if ["ErrImagePull", "ImagePullBackOff"].contains(&reason) {
                out.unpulled_since = since(|pod| pod.unpulled_since);
            }
            if ["ContainerCreating", "PodInitializing"].contains(&reason) {
                out.creating_since = since(|pod| pod.creating_since);
            }
            out.waiting = Some(text);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn done(kind: &str, object: Value) -> bool {
        progress(kind, &object).unwrap().0
    }

    #[test]
    fn a_deployment_is_done_when_the_new_pods_are_available_and_the_old_are_gone() {
        let object = |generation: u64, replicas: u64, updated: u64, available: u64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": {
                "observedGeneration": generation, "replicas": replicas,
                "updatedReplicas": updated, "availableReplicas": available}})
        };
        assert!(done("Deployment", object(2, 1, 1, 1)));
        for (what, generation, replicas, updated, available) in [
            ("the controller has not seen the change", 1, 1, 1, 1),
            ("an old pod is still there", 2, 2, 1, 2),
            ("the new pod is not available", 2, 1, 1, 0),
            ("there is no new pod", 2, 1, 0, 1),
        ] {
            assert!(!done("Deployment", object(generation, replicas, updated, available)), "{what}");
        }
    }

    #[test]
    fn stateful_sets_daemon_sets_and_jobs() {
        let set = json!({"metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": {
            "observedGeneration": 1, "replicas": 1, "readyReplicas": 1,
            "currentRevision": "a", "updateRevision": "a"}});
        assert!(done("StatefulSet", set));
        assert!(!done("DaemonSet", json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}})));
        let job = |condition: &str| json!({"status": {"conditions": [{"type": condition, "status": "True", "message": "m"}]}});
        assert!(done("Job", job("Complete")));
        assert!(progress("Job", &job("Failed")).unwrap_err().to_string().contains("m"));
    }

    fn event(status: Value) -> Value {
        json!({"type": "ADDED", "object": {"metadata": {"name": "web-5d8-x",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d8"}]}, "status": status}})
    }

    fn waiting(reason: &str, restarts: u64) -> Value {
        event(json!({"containerStatuses": [{"name": "c", "restartCount": restarts,
            "state": {"waiting": {"reason": reason, "message": "why"}}}]}))
    }

    #[test]
    fn what_will_not_heal_is_said_at_once_and_what_will_is_not() {
        for (reason, restarts, hopeless) in [
            ("ErrImageNeverPull", 0, true),
            ("CreateContainerConfigError", 0, true),
            ("CrashLoopBackOff", 3, true),
            ("CrashLoopBackOff", 2, false),
            ("ContainerCreating", 0, false),
            ("PodInitializing", 0, false),
        ] {
            let mut pods = Pods::default();
            pods.take("web", &waiting(reason, restarts));
            assert_eq!(pods.verdict() != Verdict::Open, hopeless, "{reason} after {restarts} restarts");
        }
    }

    #[test]
    fn pods_of_others_and_deleted_ones_do_not_count() {
        let mut pods = Pods::default();
        pods.take("web-5d8", &waiting("ErrImageNeverPull", 0));
        assert_eq!(pods.verdict(), Verdict::Open);
        pods.take("web", &waiting("ErrImageNeverPull", 0));
        let mut gone = waiting("ErrImageNeverPull", 0);
        gone["type"] = "DELETED".into();
        pods.take("web", &gone);
        assert_eq!(pods.verdict(), Verdict::Open);
    }

    #[test]
    fn a_registry_is_given_time_for_an_image_and_no_more() {
        let mut pods = Pods::default();
        for (reason, ago, hopeless) in
            [("ErrImagePull", 0, false), ("ImagePullBackOff", 20, false), ("ErrImagePull", 20, true)]
        {
            if let Some(since) = pods.0.get_mut("web-5d8-x").and_then(|pod| pod.unpulled_since.as_mut()) {
                *since = since.checked_sub(Duration::from_secs(ago)).unwrap();
            }
            pods.take("web", &waiting(reason, 0));
            assert_eq!(pods.verdict() != Verdict::Open, hopeless, "{reason}");
        }
        pods.take("web", &waiting("ContainerCreating", 0));
        assert_eq!(pods.verdict(), Verdict::Open);
    }

    #[test]
    fn a_pod_whose_volumes_cannot_be_had_is_not_waited_for() {
        let mut pods = Pods::default();
        pods.take("web", &waiting("ContainerCreating", 0));
        assert_eq!(pods.slow(), None);
        let since = pods.0.get_mut("web-5d8-x").and_then(|pod| pod.creating_since.as_mut()).unwrap();
        *since = since.checked_sub(SLOW).unwrap();
        pods.take("web", &waiting("ContainerCreating", 0));
        assert_eq!(pods.slow(), Some(("web-5d8-x", "")));

        let told = |reason: &str, count: u64| {
            refusal(&json!({"items": [{"reason": reason, "message": "secret \"s\" not found", "count": count}]}))
        };
        assert_eq!(told("FailedMount", 5).as_deref(), Some("FailedMount secret \"s\" not found"));
        assert_eq!(told("FailedMount", 4), None, "it may still come");
        assert_eq!(told("Unhealthy", 9), None);
    }

    #[test]
    fn a_young_node_is_given_time_to_take_a_pod() {
        let mut pods = Pods::default();
        pods.take(
            "web",
            &event(json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]})),
        );
        assert_eq!(pods.verdict(), Verdict::Open);
        assert!(pods.waiting().contains("0/1 nodes"));
    }
}
