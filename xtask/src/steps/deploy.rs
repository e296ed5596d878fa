//! Applying manifests, and waiting for what they start.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use e2e_support::clock::Instant;
use e2e_support::{Cancel, Job, Meter};
use serde_json::Value;
use xshell::Shell;

use super::Running;
use super::rollout::{self, Pods, Verdict};
use crate::plan::ObjectRef;
use crate::plan::object::{self, list, pod_spec_at};
use crate::suite::yaml::{Problems, Segment, Source, locate};

/// The annotation with the ids of the images that were built here.
const IMAGES: &str = "gateway-e2e/images";
/// Between two tries of an apply that a young cluster refused.
const PAUSE: Duration = Duration::from_millis(250);

/// Between two questions about a pod whose containers are not made.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl Running<'_> {
    /// Applies the files of a group. What only a cluster that is still starting answers is tried
    /// again until the step's time is over.
    pub(super) fn apply(&self, group: &str) -> Result<()> {
        let site = self.site;
        let manifests = site.suite.group(group).with_context(|| format!("the suite has no manifests {group}"))?;
        let mut yaml = String::new();
        for file in &manifests.files {
            let source = Source::read(&site.paths.root, file).map_err(Problems::from)?;
            yaml.push_str("---\n");
            yaml.push_str(&self.with_image_ids(&source)?);
            yaml.push('\n');
        }
        let kubectl = site.kubectl();
        self.context.asks_for("an apply that a young cluster refused", PAUSE);
        loop {
            let error = match kubectl.apply(&yaml, self.left(), self.log, self.cancel) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let heals = is_of_a_young_cluster(&format!("{error:#}"));
            if !heals || self.left().is_zero() || self.cancel.sleep(PAUSE) {
                let files: Vec<&str> = manifests.files.iter().map(|file| file.as_str()).collect();
                return Err(error.context(format!("applying {}", files.join(", "))));
            }
            self.node_must_run()?;
            self.progress("the API server is not ready for it yet");
        }
    }

    /// The text with a note on all pods of which content their images are, where these are built
    /// here. References stay the same from run to run, and only a changed pod makes a workload start
    /// anew. All else stays as written.
    fn with_image_ids(&self, source: &Source) -> Result<String> {
        let objects = object::parse(source).map_err(Problems::from)?;
        let mut text = source.text.clone();
        // From the last to the first, so that places found in the text stay right.
        for object in objects.iter().rev() {
            let Some((path, pod)) = pod_spec_at(object) else { continue };
            let containers = ["containers", "initContainers"].into_iter().flat_map(|key| list(pod, &[key]));
            let mut ids = Vec::new();
            for reference in containers.filter_map(|container| container.get("image")?.as_str()) {
                if let Some(image) = self.site.suite.images.iter().find(|image| image.reference == reference) {
                    let id = self.site.engine.image_id(&self.site.image_reference(image))?;
                    ids.push(id.with_context(|| format!("{reference} was not built"))?);
                }
            }
            // A pod that nothing renews keeps its image.
            if let ([template @ .., _], false) = (path, ids.is_empty() || path.len() < 2) {
                annotate(&mut text, object.document, template, IMAGES, &ids.join(" "))
                    .with_context(|| format!("noting the images on {} in {}", object.reference, source.file))?;
            }
        }
        Ok(text)
    }

    /// Waits until a workload is rolled out, and fails as soon as it is plain that it never will be.
    pub(super) fn ready(&self, workload: &ObjectRef) -> Result<()> {
        let paths = rollout::paths(workload)?;
        self.context.asks_for("a watch that has ended", PAUSE);
        let stop = self.cancel.child();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for (source, path) in [(Watched::Workload, paths.workload), (Watched::Pods, paths.pods)] {
                let (sender, stop, meter) = (sender.clone(), stop.clone(), Meter::here());
                scope.spawn(move || meter.run(|| self.watch(source, &path, &sender, &stop)));
            }
            drop(sender);
            let result = self.judge(workload, &receiver);
            stop.cancel("the rollout is decided");
            result
        })
        .with_context(|| format!("waiting for {workload}"))
    }

    /// Follows the API server's watch of one object or list, again and again, until told to stop.
    fn watch(&self, source: Watched, path: &str, sender: &mpsc::Sender<(Watched, Value)>, stop: &Cancel) {
        let kubectl = self.site.kubectl();
        loop {
            let Ok(sh) = Shell::new() else { return };
            let watch = kubectl.cmd(&sh).args(["get", "--raw", path]);
            // How a watch ends says nothing: it is taken up again, and the judge has the deadline.
            let _ = Job::new(watch).deadline(self.left()).log(self.log).cancel(stop).lines(|line| {
                match serde_json::from_str(line).map(|event| sender.send((source, event))) {
                    Ok(Err(_)) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            let heard = sender.send((Watched::Nothing, Value::Null));
            if heard.is_err() || stop.sleep(PAUSE) || self.left().is_zero() {
                return;
            }
        }
    }

    fn judge(&self, workload: &ObjectRef, events: &mpsc::Receiver<(Watched, Value)>) -> Result<()> {
        let mut pods = Pods::default();
        let mut asked = Instant::now();
        let mut last = String::from("nothing was heard of it");
        loop {
            match events.recv_timeout(Duration::from_millis(100)) {
                Ok((Watched::Workload, event)) => {
                    let (done, state) = rollout::progress(&workload.kind, &event["object"])?;
                    if done {
                        return Ok(());
                    }
                    last = state;
                    self.progress(last.clone());
                }
                Ok((Watched::Pods, event)) => pods.take(&workload.name, &event),
                Ok((Watched::Nothing, _)) => self.node_must_run()?,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the watch ended; {last}"),
            }
            if let Verdict::Hopeless(why) = pods.verdict() {
                return Err(anyhow!("{why}; {last}"));
            }
            if let Some((pod, uid)) = pods.slow().filter(|_| asked.elapsed() >= ASK_AGAIN) {
                asked = Instant::now();
                if let Some(why) = self.refusal(&workload.namespace, uid) {
                    bail!("pod {pod}: {why}; {last}");
                }
            }
            if let Some(reason) = self.cancel.reason() {
                bail!("stopped ({reason}); {last}{}", pods.waiting());
            }
            if self.left().is_zero() {
                bail!("not ready after {:.0} s; {last}{}", self.step.deadline_s, pods.waiting());
            }
        }
    }

    /// Why the kubelet does not make the containers of a pod, where it has told so again and again. That is in no pod's
    /// status, but in the pod's events.
    fn refusal(&self, namespace: &str, uid: &str) -> Option<String> {
        let of_pod = format!("type=Warning,involvedObject.uid={uid}");
        let words = ["--namespace", namespace, "get", "events", "--field-selector", &of_pod, "--output", "json"];
        let events = self.site.kubectl().read(&words).ok()?;
        rollout::refusal(&serde_json::from_str(&events).ok()?)
    }
}

/// Adds an annotation to the pod template at `template` of a document, in its text: what YAML says
/// of the rest (0440 is a number to kubectl, and to others not) is none of our business.
fn annotate(text: &mut String, document: usize, template: &[&str], key: &str, value: &str) -> Result<()> {
    let entry = format!("{key}: {value:?}");
    let place = |below: &[&str]| {
        let path: Vec<Segment> = template.iter().chain(below).map(|key| Segment::from(*key)).collect();
        locate(text, document, &path)
    };
    let (place, entry) = place(&["metadata", "annotations"])
        .map(|place| (place, entry.clone()))
        .or_else(|| Some((place(&["metadata"])?, format!("annotations: {{{entry}}}"))))
        .or_else(|| Some((place(&[])?, format!("metadata: {{annotations: {{{entry}}}}}"))))
        .context("its pod template is not in the text")?;
    let at = place.index();
    if text[at..].starts_with('{') {
        text.insert_str(at + 1, &format!("{entry}, "));
    } else {
        text.insert_str(at, &format!("{entry}\n{}", " ".repeat(place.column().saturating_sub(1))));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Watched {
    Workload,
    Pods,
    /// A watch has ended.
    Nothing,
}

/// Whether an error of `kubectl apply` is one that only a cluster which is starting gives.
fn is_of_a_young_cluster(error: &str) -> bool {
    [
        "connection refused",
        "connection reset",
        "no matches for kind",
        "the server is currently unable to handle the request",
        "etcdserver: leader changed",
        "failed to download openapi",
        "ServiceUnavailable",
        "TLS handshake timeout",
        "not yet ready to handle request",
    ]
    .iter()
    .any(|text| error.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_added_and_the_rest_of_the_text_stays() {
        let text = "\
# first
kind: A
---
spec:
  template:
    metadata:
      labels: {a: b}
    spec:
      mode: 0440 # octal
---
spec:
  template:
    metadata:
      annotations:
        old: x
---
spec: {template: {metadata: {annotations: {}}}}
---
spec:
  template:
    spec: {}
";
        let mut new = text.to_owned();
        for document in [4, 3, 2, 1] {
            annotate(&mut new, document, &["spec", "template"], "k/i", "v").unwrap();
        }
        assert!(new.contains("mode: 0440 # octal"), "{new}");
        let found = serde_yaml::Deserializer::from_str(&new).skip(1).map(|document| {
            let value: serde_yaml::Value = serde::Deserialize::deserialize(document).unwrap();
            value["spec"]["template"]["metadata"]["annotations"]["k/i"].as_str().map(str::to_owned)
        });
        assert_eq!(found.collect::<Vec<_>>(), vec![Some("v".to_owned()); 4], "{new}");
        for line in text.lines().filter(|line| !line.starts_with("spec: {")) {
            assert!(new.contains(line.trim()), "{line} is gone from {new}");
        }
    }

    #[test]
    fn only_what_a_young_cluster_says_is_tried_again() {
        assert!(is_of_a_young_cluster("The connection to the server 127.0.0.1:1 was refused: connection refused"));
        assert!(!is_of_a_young_cluster("error: unknown field \"spec.replica\""));
    }
}
