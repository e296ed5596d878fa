//! Applying manifests, and waiting for what they start.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use e2e_support::{Cancel, Job};
use serde::Deserialize;
use serde_json::Value;
use xshell::Shell;

use super::Running;
use super::rollout::{self, Pods, Verdict};
use crate::plan::ObjectRef;
use crate::plan::object::list;

/// The annotation with the ids of the images that were built here.
const IMAGES: &str = "gateway-e2e/images";
/// Between two tries of an apply that a young cluster refused.
const PAUSE: Duration = Duration::from_millis(250);

impl Running<'_> {
    /// Applies the files of a group. What only a cluster that is still starting answers is tried
    /// again until the step's time is over.
    pub(super) fn apply(&self, group: &str) -> Result<()> {
        let site = self.site;
        let manifests = site.suite.group(group).with_context(|| format!("the suite has no manifests {group}"))?;
        let mut yaml = String::new();
        for file in &manifests.files {
            let text =
                std::fs::read_to_string(site.paths.root.join(file)).with_context(|| format!("reading {file}"))?;
            for document in serde_yaml::Deserializer::from_str(&text) {
                let mut object = serde_yaml::Value::deserialize(document).with_context(|| format!("reading {file}"))?;
                self.mark_images(&mut object)?;
                yaml.push_str("---\n");
                yaml.push_str(&serde_yaml::to_string(&object).with_context(|| format!("writing {file}"))?);
            }
        }
        let kubectl = site.kubectl();
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
            self.progress("the API server is not ready for it yet");
        }
    }

    /// Notes on the pods of an object which content the images that are built here have. Their
    /// references stay the same from run to run, and only a changed pod makes a workload start anew.
    fn mark_images(&self, object: &mut serde_yaml::Value) -> Result<()> {
        let Some(template) = object.get_mut("spec").and_then(|spec| spec.get_mut("template")) else { return Ok(()) };
        let Some(pod) = template.get("spec") else { return Ok(()) };
        let containers = ["containers", "initContainers"].into_iter().flat_map(|key| list(pod, &[key]));
        let mut ids = Vec::new();
        for reference in containers.filter_map(|container| container.get("image")?.as_str()) {
            if self.site.suite.images.iter().any(|image| image.reference == reference) {
                let id = self.site.engine.image_id(reference)?;
                ids.push(id.with_context(|| format!("{reference} was not built"))?);
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let metadata = entry(template, "metadata").context("a pod template that is no mapping")?;
        let annotations = entry(metadata, "annotations").context("annotations that are no mapping")?;
        *entry(annotations, IMAGES).context("annotations that are no mapping")? = ids.join(" ").into();
        Ok(())
    }

    /// Waits until a workload is rolled out, and fails as soon as it is plain that it never will be.
    pub(super) fn ready(&self, workload: &ObjectRef) -> Result<()> {
        let paths = rollout::paths(workload)?;
        let stop = self.cancel.child();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for (source, path) in [(Source::Workload, paths.workload), (Source::Pods, paths.pods)] {
                let (sender, stop) = (sender.clone(), stop.clone());
                scope.spawn(move || self.watch(source, &path, &sender, &stop));
            }
            drop(sender);
            let result = self.judge(workload, &receiver);
            stop.cancel("the rollout is decided");
            result
        })
        .with_context(|| format!("waiting for {workload}"))
    }

    /// Follows the API server's watch of one object or list, again and again, until told to stop.
    fn watch(&self, source: Source, path: &str, sender: &mpsc::Sender<(Source, Value)>, stop: &Cancel) {
        let kubectl = self.site.kubectl();
        while !stop.is_cancelled() && !self.left().is_zero() {
            let Ok(sh) = Shell::new() else { return };
            let watch = kubectl.cmd(&sh).args(["get", "--raw", path]);
            // How a watch ends says nothing: it is taken up again, and the judge has the deadline.
            let _ = Job::new(watch).deadline(self.left()).log(self.log).cancel(stop).lines(|line| {
                match serde_json::from_str(line).map(|event| sender.send((source, event))) {
                    Ok(Err(_)) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            stop.sleep(PAUSE);
        }
    }

    fn judge(&self, workload: &ObjectRef, events: &mpsc::Receiver<(Source, Value)>) -> Result<()> {
        let mut pods = Pods::default();
        let mut last = String::from("nothing was heard of it");
        loop {
            match events.recv_timeout(Duration::from_millis(100)) {
                Ok((Source::Workload, event)) => {
                    let (done, state) = rollout::progress(&workload.kind, &event["object"])?;
                    if done {
                        return Ok(());
                    }
                    last = state;
                    self.progress(last.clone());
                }
                Ok((Source::Pods, event)) => pods.take(&workload.name, &event),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the watch ended; {last}"),
            }
            if let Verdict::Hopeless(why) = pods.verdict() {
                return Err(anyhow!("{why}; {last}"));
            }
            if let Some(reason) = self.cancel.reason() {
                bail!("stopped ({reason}); {last}{}", pods.waiting());
            }
            if self.left().is_zero() {
                bail!("not ready after {:.0} s; {last}{}", self.step.deadline_s, pods.waiting());
            }
        }
    }
}

/// The value of a key, which becomes an empty mapping where there is none.
fn entry<'v>(value: &'v mut serde_yaml::Value, key: &str) -> Option<&'v mut serde_yaml::Value> {
    let empty = serde_yaml::Value::Mapping(serde_yaml::Mapping::new());
    Some(value.as_mapping_mut()?.entry(key.into()).or_insert(empty))
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Workload,
    Pods,
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
