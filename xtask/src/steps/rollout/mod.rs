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
}

/// The annotation with the revision of a Deployment, and of its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";

#[cfg(test)]
mod tests;
mod verdict;
