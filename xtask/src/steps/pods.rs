//! What the pods of a workload wait for, and which of it never ends. Pure: objects come in as JSON.

use std::time::Duration;

use e2e_support::clock::Instant;
use serde_json::Value;

/// What a kubelet says of pods until it has read the services for the first time.
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.3/pkg/kubelet/kubelet_pods.go>
const KUBELET_BEGINS: &str = "services have not yet been read at least once";
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
/// A pod of an old revision that is not ready for so long holds up a StatefulSet that waits for it.
const UNREADY: Duration = Duration::from_secs(10);

/// One pod, as its last event had it.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) uid: String,
    /// Kind, name and UID of what controls it.
    pub(super) owner: Owner,
    /// The revision that it is of, by its label; empty where it has none.
    pub(super) revision: String,
    /// What it waits for, in words.
    pub(super) waiting: Option<String>,
    /// What never ends by itself.
    hopeless: Option<String>,
    /// Whether something is wrong with it that a healthy pod does not show.
    broken: bool,
    /// Whether that was so when it was first heard of: before anybody waited for it.
    pub(super) was_broken: bool,
    unschedulable_since: Option<Instant>,
    /// Since when an image of it cannot be pulled.
    unpulled_since: Option<Instant>,
    /// Since when its containers are being made.
    creating_since: Option<Instant>,
    /// Since when it is not ready.
    unready_since: Option<Instant>,
    /// Why the kubelet does not make its containers, as far as it was asked.
    pub(super) refusal: Option<String>,
    /// When that was asked last.
    pub(super) asked: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Owner {
    /// What controls an object.
    pub(super) fn of(object: &Value) -> Owner {
        let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let controller = owners.into_iter().find(|owner| owner["controller"] == true);
        let text = |key: &str| controller.and_then(|owner| owner[key].as_str()).unwrap_or_default().to_owned();
        Owner { kind: text("kind"), name: text("name"), uid: text("uid") }
    }
}

impl Pod {
    /// `before` is what was known of it.
    pub(super) fn read(pod: &Value, before: Option<&Pod>, now: Instant) -> Pod {
        let status = &pod["status"];
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        // A pod of a StatefulSet has the name of the one before it.
        let before = before.filter(|before| before.uid == uid);
        let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
        let since = |begun: fn(&Pod) -> Option<Instant>| Some(before.and_then(begun).unwrap_or(now));
        let mut out = Pod {
            uid,
            owner: Owner::of(pod),
            revision: pod["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap_or_default().to_owned(),
            waiting: None,
            hopeless: None,
            broken: false,
            was_broken: before.is_some_and(|before| before.was_broken),
            unschedulable_since: None,
            unpulled_since: None,
            creating_since: None,
            unready_since: since(|pod| pod.unready_since),
            refusal: before.and_then(|before| before.refusal.clone()),
            asked: before.and_then(|before| before.asked),
        };
        for condition in list("conditions") {
            if condition["type"] == "PodScheduled" && condition["reason"] == "Unschedulable" {
                out.unschedulable_since = since(|pod| pod.unschedulable_since);
                out.waiting = condition["message"].as_str().map(str::to_owned);
                out.broken = true;
            }
            if condition["type"] == "Ready" && condition["status"] == "True" {
                out.unready_since = None;
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
            // It says so with the reason of what does not heal.
            let begins = message.contains(KUBELET_BEGINS);
            if (never.contains(&reason) && !begins) || (reason == "CrashLoopBackOff" && restarts >= RESTARTS) {
                out.hopeless = Some(text.clone());
            }
            if ["ErrImagePull", "ImagePullBackOff"].contains(&reason) {
                out.unpulled_since = since(|pod| pod.unpulled_since);
            }
            if ["ContainerCreating", "PodInitializing"].contains(&reason) {
                out.creating_since = since(|pod| pod.creating_since);
            } else if !begins {
                out.broken = true;
            }
            out.waiting = Some(text);
        }
        if out.creating_since.is_none() {
            out.refusal = None;
        }
        if before.is_none() {
            out.was_broken = out.broken;
        }
        out
    }

    /// Why waiting for it makes no sense; `None` where it does.
    pub(super) fn hopeless(&self, now: Instant) -> Option<String> {
        let waiting = |otherwise: &str| self.waiting.as_deref().unwrap_or(otherwise).to_owned();
        if let Some(why) = self.hopeless.as_ref().or(self.refusal.as_ref()) {
            return Some(why.clone());
        }
        if longer(self.unschedulable_since, UNSCHEDULABLE, now) {
            return Some(format!("unschedulable: {}", waiting("no node takes it")));
        }
        longer(self.unpulled_since, UNPULLED, now).then(|| waiting("an image cannot be pulled"))
    }

    /// Whether its containers are not made for long.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        longer(self.creating_since, SLOW, now)
    }

    /// Whether who waits until it is ready before replacing it waits in vain; with the reason.
    pub(super) fn holds_up(&self, now: Instant) -> Option<String> {
        let waiting = || self.waiting.clone().unwrap_or_else(|| "it is not ready".to_owned());
        (self.broken || longer(self.unready_since, UNREADY, now)).then(waiting)
    }
}

fn longer(since: Option<Instant>, limit: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn waiting(reason: &str, restarts: u64) -> Value {
        json!({"metadata": {"name": "p", "uid": "1"}, "status": {"containerStatuses": [{"name": "c",
            "restartCount": restarts, "state": {"waiting": {"reason": reason, "message": "why"}}}]}})
    }

    #[test]
    fn what_will_not_heal_is_said_at_once_and_what_will_is_not() {
        let now = Instant::now();
        for (reason, restarts, hopeless) in [
            ("ErrImageNeverPull", 0, true),
            ("CreateContainerConfigError", 0, true),
            ("CrashLoopBackOff", 3, true),
            ("CrashLoopBackOff", 2, false),
            ("ContainerCreating", 0, false),
            ("PodInitializing", 0, false),
        ] {
            let pod = Pod::read(&waiting(reason, restarts), None, now);
            assert_eq!(pod.hopeless(now).is_some(), hopeless, "{reason} after {restarts} restarts");
        }
    }

    #[test]
    fn a_kubelet_that_has_just_begun_knows_no_services_and_that_passes() {
        let now = Instant::now();
        let mut pod = waiting("CreateContainerConfigError", 0);
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] =
            "services have not yet been read at least once, cannot construct envvars".into();
        let pod = Pod::read(&pod, None, now);
        assert!(pod.hopeless(now).is_none() && !pod.was_broken, "{pod:?}");
        assert!(pod.waiting.is_some_and(|said| said.contains("services have not yet been read")), "it is still told");
    }

    #[test]
    fn a_registry_is_given_time_for_an_image_and_no_more() {
        let begin = Instant::now();
        let mut pod = None;
        for (reason, after_s, hopeless) in
            [("ErrImagePull", 0, false), ("ImagePullBackOff", 20, false), ("ErrImagePull", 40, true)]
        {
            let now = begin + Duration::from_secs(after_s);
            pod = Some(Pod::read(&waiting(reason, 0), pod.as_ref(), now));
            assert_eq!(pod.as_ref().is_some_and(|pod| pod.hopeless(now).is_some()), hopeless, "{reason}");
        }
        let now = begin + Duration::from_secs(60);
        assert_eq!(Pod::read(&waiting("ContainerCreating", 0), pod.as_ref(), now).hopeless(now), None);
    }

    #[test]
    fn a_pod_whose_volumes_cannot_be_had_is_asked_about() {
        let begin = Instant::now();
        let pod = Pod::read(&waiting("ContainerCreating", 0), None, begin);
        assert!(!pod.is_slow(begin));
        let pod = Pod::read(&waiting("ContainerCreating", 0), Some(&pod), begin + SLOW);
        assert!(pod.is_slow(begin + SLOW));

        let told = |reason: &str, count: u64| {
            refusal(&json!({"items": [{"reason": reason, "message": "secret \"s\" not found", "count": count}]}))
        };
        assert_eq!(told("FailedMount", 5).as_deref(), Some("FailedMount secret \"s\" not found"));
        assert_eq!(told("FailedMount", 4), None, "it may still come");
        assert_eq!(told("Unhealthy", 9), None);
    }

    #[test]
    fn a_young_node_is_given_time_to_take_a_pod() {
        let begin = Instant::now();
        let pod = json!({"metadata": {"name": "p"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}});
        let pod = Pod::read(&pod, None, begin);
        assert_eq!(pod.hopeless(begin), None);
        assert!(pod.hopeless(begin + UNSCHEDULABLE).is_some_and(|why| why.contains("0/1 nodes")));
    }

    #[test]
    fn another_pod_of_the_same_name_begins_anew() {
        let begin = Instant::now();
        let first = Pod::read(&waiting("ErrImagePull", 0), None, begin);
        assert!(first.was_broken);
        let mut next = waiting("ErrImagePull", 0);
        next["metadata"]["uid"] = "2".into();
        let fresh = json!({"metadata": {"name": "p", "uid": "2"}, "status": {}});
        let fresh = Pod::read(&fresh, Some(&first), begin);
        let later = begin + UNPULLED;
        let next = Pod::read(&next, Some(&fresh), later);
        assert!(!next.was_broken && next.hopeless(later).is_none());
    }
}
