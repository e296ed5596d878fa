//! When a workload counts as rolled out, and when it never will be. Pure: objects come in as JSON.
//!
//! Only pods of the current revision count, and nothing counts before the controller has seen the object as it is now:
//! on a kept cluster pods of the revision before may be broken, and that is what the new one mends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use e2e_support::clock::Instant;
use serde_json::Value;

use super::pods::{self, Owner, Pod};
use crate::plan::ObjectRef;

/// A pod that cannot be created is given this long: what it needs may be applied a moment later…
const UNCREATED: Duration = Duration::from_secs(5);
/// …and this long where something is on its way that it needs.
const HEALS: Duration = Duration::from_secs(60);
/// A workload without a pod for so long is asked about, where its controller runs already, and where it may be starting.
const QUIET_KEPT: Duration = Duration::from_secs(2);
const QUIET_NEW: Duration = Duration::from_secs(10);
/// Between two questions about the same.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Between two questions about revisions.
const ASK_REVISIONS: Duration = Duration::from_secs(1);
/// How far the clocks of the cluster and of this machine may be apart, and how much earlier something was applied.
const EARLIER: Duration = Duration::from_secs(5);

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
        "ReplicaSet" => ("apis/apps/v1", "replicasets"),
        "ReplicationController" => ("api/v1", "replicationcontrollers"),
        "Pod" => ("api/v1", "pods"),
        _ => bail!("{workload} is nothing that can be waited for"),
    };
    // Seconds; the API server ends the watch by itself then.
    let watch = "watch=true&timeoutSeconds=600";
    Ok(Paths {
        workload: format!("/{api}/namespaces/{namespace}/{plural}?{watch}&fieldSelector=metadata.name%3D{name}"),
        pods: format!("/api/v1/namespaces/{namespace}/pods?{watch}"),
    })
}

/// How far a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    UnderWay,
    Done,
    /// A job that had failed before anybody waited for it.
    FailedBefore,
}

/// Whether waiting on makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// It does not, and why.
    Hopeless(String),
    /// That depends on an answer of the API server.
    Ask(Question),
    /// It does, if this pod is deleted, so that its controller makes a new one.
    Restart {
        pod: String,
        uid: String,
        why: String,
    },
}

/// What the API server is to be asked, in the namespace of the workload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// All objects of this kind, which stand for the revisions of workloads.
    Revisions(&'static str),
    /// The warnings about the object with this UID.
    EventsOf(String),
}

/// The revisions of a workload, as the API server told them.
#[derive(Debug)]
struct Revisions {
    /// The state of the workload that they are of.
    of: String,
    /// UIDs of all ReplicaSets of the namespace, and whether they are of this workload.
    sets: BTreeMap<String, bool>,
    /// The current one: the ReplicaSet's UID, or the label of the pods of a DaemonSet.
    current: Option<String>,
}

/// A rollout that is waited for.
#[derive(Debug)]
pub(super) struct Rollout {
    workload: ObjectRef,
    /// Whether the cluster was there before this run.
    kept: bool,
    began: SystemTime,
    /// The workload as last heard of; null at first.
    object: Value,
    /// Whether its controller has seen it as it is now.
    observed: bool,
    state: String,
    pods: BTreeMap<String, Pod>,
    /// Pods that are being deleted: what they take up will be free.
    going: BTreeSet<String>,
    revisions: Option<Revisions>,
    asked_revisions: Option<Instant>,
    /// Why no pod can be created, and since when.
    uncreated: Option<(String, Instant)>,
    asked_events: Option<Instant>,
    short_since: Option<Instant>,
    /// When the progress deadline was told to have passed before anybody waited.
    exceeded_before: Value,
    /// UIDs of pods that were to be deleted.
    restarted: BTreeSet<String>,
}

impl Rollout {
    /// Of `workload`, from `began` on; on a cluster that was `kept` from an earlier run things may be broken that this
    /// one mends.
    pub(super) fn new(workload: &ObjectRef, kept: bool, began: SystemTime) -> Rollout {
        Rollout {
            workload: workload.clone(),
            kept,
            began,
            object: Value::Null,
            observed: false,
            state: "nothing was heard of it".to_owned(),
            pods: BTreeMap::new(),
            going: BTreeSet::new(),
            revisions: None,
            asked_revisions: None,
            uncreated: None,
            asked_events: None,
            short_since: None,
            exceeded_before: Value::Null,
            restarted: BTreeSet::new(),
        }
    }

    /// How far it is, in words.
    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// Takes a watch event of the workload itself.
    ///
    /// # Errors
    /// When it has failed for good, was deleted, or nothing rolls it out.
    pub(super) fn workload(&mut self, event: &Value, now: Instant) -> Result<Progress> {
        if event["type"] == "DELETED" {
            bail!("it was deleted in the middle");
        }
        let first = self.object.is_null();
        self.object = event["object"].clone();
        if self.workload.kind == "Job" {
            self.observed = true;
            return self.job(first);
        }
        if self.workload.kind == "Pod" {
            self.observed = true;
            return self.bare_pod(first);
        }
        let generation = self.object["metadata"]["generation"].as_u64().unwrap_or(0);
        self.observed = self.object["status"]["observedGeneration"].as_u64().unwrap_or(0) >= generation;
        let exceeded = self.condition("Progressing", "False").map(|condition| condition["lastUpdateTime"].clone());
        if first && self.kept {
            self.exceeded_before = exceeded.unwrap_or_default();
        }
        let (wanted, updated, ready) = self.counts();
        let enough = updated >= wanted && ready >= wanted && (self.workload.kind != "DaemonSet" || wanted > 0);
        self.state = if self.observed {
            format!("{ready} of {wanted} ready, {updated} of {wanted} of this version")
        } else {
            "its controller has not seen it as it is now".to_owned()
        };
        if self.observed && enough {
            return Ok(Progress::Done);
        }
        if self.object["spec"]["paused"] == true {
            bail!("nothing rolls it out, its spec.paused is true; {}", self.state);
        }
        if self.workload.kind == "Deployment" {
            let failure = self.condition("ReplicaFailure", "True");
            let message = failure.and_then(|condition| condition["message"].as_str()).map(str::to_owned);
            // With all pods of this revision there, it is one before that cannot create its own.
            let created = self.object["status"]["updatedReplicas"].as_u64().unwrap_or(0) >= wanted;
            self.uncreated(message.filter(|_| self.observed && !created), now);
        }
        Ok(Progress::UnderWay)
    }

    fn job(&mut self, first: bool) -> Result<Progress> {
        let number = |key: &str| self.object["status"][key].as_u64().unwrap_or(0);
        let state = format!("{} succeeded, {} active", number("succeeded"), number("active"));
        if let Some(failed) = self.condition("Failed", "True") {
            if first && self.kept {
                return Ok(Progress::FailedBefore);
            }
            bail!("the job failed: {}", failed["message"].as_str().unwrap_or("no message"));
        }
        let done = self.condition("Complete", "True").is_some();
        self.state = state;
        Ok(if done { Progress::Done } else { Progress::UnderWay })
    }

    /// A pod that nothing controls: nothing makes a new one of it either.
    fn bare_pod(&mut self, first: bool) -> Result<Progress> {
        let status = &self.object["status"];
        let phase = status["phase"].as_str().unwrap_or("nothing of it is known yet").to_owned();
        if phase == "Failed" {
            if first && self.kept {
                return Ok(Progress::FailedBefore);
            }
            let why = status["message"].as_str().or(status["reason"].as_str());
            bail!("the pod failed: {}", why.unwrap_or("one of its containers ended with an error"));
        }
        let done = phase == "Succeeded" || self.condition("Ready", "True").is_some();
        self.state = phase;
        Ok(if done { Progress::Done } else { Progress::UnderWay })
    }

    fn condition(&self, name: &str, status: &str) -> Option<&Value> {
        let mut list = self.object["status"]["conditions"].as_array().into_iter().flatten();
        list.find(|condition| condition["type"] == name && condition["status"] == status)
    }

    /// How many pods are wanted, how many of these are of the current revision, and how many can be used.
    fn counts(&self) -> (u64, u64, u64) {
        let status = &self.object["status"];
        let number = |key: &str| status[key].as_u64().unwrap_or(0);
        let replicas = self.object["spec"]["replicas"].as_u64().unwrap_or(1);
        match self.workload.kind.as_str() {
            "DaemonSet" => {
                (number("desiredNumberScheduled"), number("updatedNumberScheduled"), number("numberAvailable"))
            }
            "StatefulSet" => {
                // Without a rolling update under way there may be no count of updated pods.
                let same = status["currentRevision"] == status["updateRevision"];
                (replicas, if same { number("replicas") } else { number("updatedReplicas") }, number("readyReplicas"))
            }
            "Job" => (self.object["spec"]["parallelism"].as_u64().unwrap_or(1), 0, number("ready")),
            // They have no revisions.
            "ReplicaSet" | "ReplicationController" => (replicas, number("replicas"), number("availableReplicas")),
            _ => {
                // Pods of the old version still count as available; they must be gone.
                let old = number("replicas").saturating_sub(number("updatedReplicas"));
                (replicas, number("updatedReplicas").saturating_sub(old), number("availableReplicas"))
            }
        }
    }

    fn uncreated(&mut self, message: Option<String>, now: Instant) {
        let since = self.uncreated.as_ref().map_or(now, |(_, since)| *since);
        self.uncreated = message.map(|message| (message, since));
    }

    /// Takes a watch event of a pod of the namespace.
    pub(super) fn pod(&mut self, event: &Value, now: Instant) {
        let pod = &event["object"];
        let Some(name) = pod["metadata"]["name"].as_str() else { return };
        let deleted = event["type"] == "DELETED";
        if deleted || pod["metadata"].get("deletionTimestamp").is_some() {
            self.pods.remove(name);
            self.going.insert(name.to_owned());
            if deleted {
                self.going.remove(name);
            }
            return;
        }
        self.going.remove(name);
        let pod = Pod::read(pod, self.pods.get(name), now);
        self.pods.insert(name.to_owned(), pod);
    }

    fn uid(&self) -> &str {
        self.object["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// What stands for the state of the workload that revisions are asked for.
    fn revision_key(&self) -> String {
        let metadata = &self.object["metadata"];
        format!("{} {}", metadata["generation"], metadata["annotations"][REVISION])
    }

    /// Takes the list of all objects that stand for revisions.
    pub(super) fn revisions(&mut self, list: &Value) {
        let items = || list["items"].as_array().into_iter().flatten();
        let mine = |object: &&Value| Owner::of(object).uid == self.uid();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let current = if self.workload.kind == "Deployment" {
            let wanted = &self.object["metadata"]["annotations"][REVISION];
            let is_current = |set: &&Value| set["metadata"]["annotations"][REVISION] == *wanted && !wanted.is_null();
            items().filter(mine).find(is_current).map(|set| text(&set["metadata"]["uid"]))
        } else {
            let newest = items().filter(mine).max_by_key(|revision| revision["revision"].as_u64());
            newest.map(|revision| text(&revision["metadata"]["labels"]["controller-revision-hash"]))
        };
        let sets = items().map(|set| (text(&set["metadata"]["uid"]), mine(&set))).collect();
        self.revisions = Some(Revisions { of: self.revision_key(), sets, current });
    }

    /// Takes a list of the warnings about the object with this UID.
    pub(super) fn events(&mut self, uid: &str, list: &Value, now: Instant) {
        if uid == self.uid() {
            let mut events = list["items"].as_array().into_iter().flatten();
            let recent = events.rfind(|event| event["reason"] == "FailedCreate" && self.is_recent(event));
            let message = recent.and_then(|event| event["message"].as_str()).map(str::to_owned);
            self.uncreated(message, now);
        } else if let Some(pod) = self.pods.values_mut().find(|pod| pod.uid == uid) {
            pod.refusal = pods::refusal(list);
        }
    }

    /// On a kept cluster there may be events of what an earlier run did to the same object.
    fn is_recent(&self, event: &Value) -> bool {
        let last = event["lastTimestamp"].as_str().or(event["eventTime"].as_str());
        let last = last.and_then(|time| humantime::parse_rfc3339(time).ok());
        !self.kept || last.is_none_or(|last| last + EARLIER >= self.began)
    }

    /// Whether the pod is of this workload; `None` where that is not known yet.
    fn is_mine(&self, pod: &Pod) -> Option<bool> {
        if self.workload.kind == "Pod" {
            return Some(pod.uid == self.uid());
        }
        if self.workload.kind != "Deployment" {
            return Some(pod.owner.uid == self.uid());
        }
        if pod.owner.kind != "ReplicaSet" {
            return Some(false);
        }
        self.revisions.as_ref()?.sets.get(&pod.owner.uid).copied()
    }

    /// Whether a pod of this workload is of the current revision; `None` where that is not known yet.
    fn is_current(&self, pod: &Pod) -> Option<bool> {
        let known = || {
            let revisions = self.revisions.as_ref().filter(|revisions| revisions.of == self.revision_key());
            revisions?.current.as_deref()
        };
        match self.workload.kind.as_str() {
            "Deployment" => Some(known()? == pod.owner.uid),
            "DaemonSet" => Some(known()? == pod.revision),
            "StatefulSet" => Some(self.object["status"]["updateRevision"].as_str()? == pod.revision),
            _ => Some(true),
        }
    }

    /// Whether waiting on makes sense, and what has to be done for it. `brought` tells whether the suite's manifests bring
    /// a service account of this name to the namespace.
    pub(super) fn verdict(&mut self, now: Instant, brought: impl Fn(&str) -> bool) -> Verdict {
        if !self.observed {
            return Verdict::Open;
        }
        let set = self.workload.kind == "StatefulSet";
        let on_delete = self.object["spec"]["updateStrategy"]["type"] == "OnDelete";
        // Whether a pod that is deleted is made anew, and as it is wanted now.
        let renews = !matches!(self.workload.kind.as_str(), "Job" | "Pod");
        let mut unknown = false;
        for (name, pod) in &self.pods {
            let hopeless = pod.hopeless(now);
            let held_up = pod.holds_up(now).filter(|_| set);
            if hopeless.is_none() && held_up.is_none() && !pod.is_slow(now) && !on_delete {
                continue;
            }
            let current = match self.is_mine(pod) {
                Some(false) => continue,
                Some(true) => self.is_current(pod),
                None => None,
            };
            let restart = match (current, hopeless) {
                (None, _) => {
                    unknown = true;
                    continue;
                }
                (Some(true), Some(_)) if self.restarted.contains(&pod.uid) => continue,
                // It broke before this run, of which something else may have mended it.
                (Some(true), Some(why)) if self.kept && pod.was_broken && renews => {
                    format!("it was broken before: {why}")
                }
                (Some(true), Some(why)) => return Verdict::Hopeless(format!("pod {name}: {why}")),
                (Some(true), None) => continue,
                // Its controller leaves these to others, or waits until they are ready.
                (Some(false), _) if on_delete => {
                    "it is of an old revision, and the updateStrategy is OnDelete".to_owned()
                }
                (Some(false), _) => match held_up {
                    Some(why) => format!("it is of an old revision and holds up the new one: {why}"),
                    None => continue,
                },
            };
            if self.restarted.insert(pod.uid.clone()) {
                return Verdict::Restart { pod: name.clone(), uid: pod.uid.clone(), why: restart };
            }
        }
        let kind = if self.workload.kind == "Deployment" { "replicasets" } else { "controllerrevisions" };
        if unknown && due(&mut self.asked_revisions, ASK_REVISIONS, now) {
            return Verdict::Ask(Question::Revisions(kind));
        }
        self.of_creation(now, brought).or_else(|| self.about_slow_pod(now)).unwrap_or(Verdict::Open)
    }

    /// What there is to say of pods that are not there.
    fn of_creation(&mut self, now: Instant, brought: impl Fn(&str) -> bool) -> Option<Verdict> {
        let short = self.is_short();
        let deployment = self.workload.kind == "Deployment";
        if !deployment && !short {
            self.uncreated = None;
        }
        if let Some((message, since)) = &self.uncreated
            && now.saturating_duration_since(*since) >= self.grace(message, brought)
        {
            return Some(Verdict::Hopeless(format!("no pod can be created: {message}")));
        }
        let exceeded = self.condition("Progressing", "False").filter(|condition| {
            condition["reason"] == "ProgressDeadlineExceeded" && condition["lastUpdateTime"] != self.exceeded_before
        });
        if let Some(exceeded) = exceeded {
            let message = exceeded["message"].as_str().unwrap_or("no message");
            return Some(Verdict::Hopeless(format!("ProgressDeadlineExceeded: {message}{}", self.waiting())));
        }
        self.short_since = short.then(|| self.short_since.unwrap_or(now));
        let quiet = if self.kept { QUIET_KEPT } else { QUIET_NEW };
        let long = self.short_since.is_some_and(|since| now.saturating_duration_since(since) >= quiet);
        // A Deployment has conditions.
        (long && !deployment && due(&mut self.asked_events, ASK_AGAIN, now))
            .then(|| Verdict::Ask(Question::EventsOf(self.uid().to_owned())))
    }

    /// Whether fewer pods are there than are wanted.
    fn is_short(&self) -> bool {
        let mine = |pod: &&Pod| self.is_mine(pod) == Some(true) && self.is_current(pod) != Some(false);
        (self.pods.values().filter(mine).count() as u64) < self.counts().0
    }

    fn about_slow_pod(&mut self, now: Instant) -> Option<Verdict> {
        let mine: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, pod)| self.is_mine(pod) == Some(true) && pod.is_slow(now))
            .map(|(name, _)| name.clone())
            .collect();
        mine.iter().find_map(|name| {
            let pod = self.pods.get_mut(name)?;
            due(&mut pod.asked, ASK_AGAIN, now).then(|| Verdict::Ask(Question::EventsOf(pod.uid.clone())))
        })
    }

    /// How long that no pod can be created may still heal.
    fn grace(&self, message: &str, brought: impl Fn(&str) -> bool) -> Duration {
        let account = message.split_once("serviceaccount \"").and_then(|(_, rest)| rest.split('"').next());
        // A controller makes each namespace's own.
        let on_its_way = account.is_some_and(|name| name == "default" || brought(name))
            || message.contains("failed calling webhook")
            || (message.contains("exceeded quota") && !self.going.is_empty());
        if on_its_way { HEALS } else { UNCREATED }
    }

    /// What it waits for, for the end of a sentence.
    pub(super) fn waiting(&self) -> String {
        let uncreated = self.uncreated.iter().map(|(message, _)| format!("; no pod can be created: {message}"));
        let shown = |pod: &Pod| {
            let named = || pod.owner.name.rsplit_once('-').is_some_and(|(name, _)| name == self.workload.name);
            self.is_mine(pod).unwrap_or_else(named) && self.is_current(pod) != Some(false)
        };
        let pods = self.pods.iter().filter(|(_, pod)| shown(pod));
        let pods = pods.filter_map(|(name, pod)| Some(format!("; pod {name}: {}", pod.waiting.as_ref()?)));
        uncreated.chain(pods).collect()
    }
}

/// The annotation with the revision of a Deployment, and of its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Whether it is time to ask again; notes it if so.
fn due(asked: &mut Option<Instant>, pause: Duration, now: Instant) -> bool {
    let due = asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pause);
    if due {
        *asked = Some(now);
    }
    due
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
