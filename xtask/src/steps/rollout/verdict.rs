//! Whether a rollout can still come to a good end.

use std::time::Duration;

use e2e_support::clock::Instant;

use super::super::pods::Pod;
use super::{Question, Rollout, Verdict};

/// A pod that cannot be created is given this long: what it needs may be applied a moment later…
pub(super) const UNCREATED: Duration = Duration::from_secs(5);
/// …and this long where something is on its way that it needs.
pub(super) const HEALS: Duration = Duration::from_secs(60);
/// Between two questions about the same.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Between two questions about revisions.
pub(super) const ASK_REVISIONS: Duration = Duration::from_secs(1);
/// A workload without a pod for so long is asked about, where its controller runs already, and where it may be starting.
pub(super) const QUIET_KEPT: Duration = Duration::from_secs(2);
pub(super) const QUIET_NEW: Duration = Duration::from_secs(10);

impl Rollout {
    /// Whether waiting on makes sense, and what has to be done for it. `brought` tells whether the suite's manifests bring
    /// a service account of this name to the namespace.
    pub(in crate::steps) fn verdict(&mut self, now: Instant, brought: impl Fn(&str) -> bool) -> Verdict {
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
    pub(in crate::steps) fn waiting(&self) -> String {
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

/// Whether it is time to ask again; notes it if so.
fn due(asked: &mut Option<Instant>, pause: Duration, now: Instant) -> bool {
    let due = asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pause);
    if due {
        *asked = Some(now);
    }
    due
}
