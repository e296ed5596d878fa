//! What a failed run leaves to look at, collected before anything is deleted.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Job;
use e2e_support::clock::Instant;
use rayon::prelude::*;
use serde_json::Value;
use xshell::Shell;

use crate::events::RunFolder;
use crate::steps::Site;

/// How long all of the collecting may take, and each question.
const ALL: Duration = Duration::from_secs(30);
const ONE: Duration = Duration::from_secs(10);

/// Writes the logs of all pods, the events, the descriptions of the pods and the node's journal
/// into the run's folder. What cannot be had is noted in its place: nothing here fails a run.
pub fn collect(site: &Site, folder: &RunFolder) {
    let end = Instant::now() + ALL;
    let node = site.node();
    let Ok(Some(container)) = site.engine.container(&node) else { return };
    keep(&folder.path().join("node/container.txt"), Ok(format!("{container:?}\n")));
    let journal = ["journalctl", "--no-pager", "--lines", "5000"];
    for (file, words) in [
        ("journal.txt", &journal[..]),
        ("images.txt", &["crictl", "images"]),
        ("containers.txt", &["crictl", "ps", "--all"]),
    ] {
        let ask = || -> Result<String> {
            let sh = Shell::new()?;
            Job::new(site.engine.exec(&sh, &node, false, words)).deadline(ONE).read()
        };
        keep(&folder.path().join("node").join(file), ask());
    }
    let kubectl = site.kubectl();
    let ask = |words: &[&str]| -> Result<String> {
        let sh = Shell::new()?;
        let left = end.saturating_duration_since(Instant::now()).min(ONE);
        Job::new(kubectl.cmd(&sh).args(words)).deadline(left).read()
    };
    let Ok(pods) = ask(&["get", "pods", "--all-namespaces", "--output", "json"]) else { return };
    keep(
        &folder.path().join("cluster/objects.txt"),
        ask(&["get", "all,pvc,pv,nodes", "--all-namespaces", "--output", "wide"]),
    );
    keep(
        &folder.path().join("cluster/events.txt"),
        ask(&["get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"]),
    );
    keep(&folder.path().join("cluster/pods.txt"), ask(&["describe", "pods", "--all-namespaces"]));
    containers(&pods).par_iter().for_each(|(namespace, pod, container)| {
        let path = folder.pods().join(namespace).join(pod);
        let words = ["--namespace", namespace, "logs", pod, "--container", container, "--timestamps"];
        keep(&path.join(format!("{container}.log")), ask(&words));
        let before = ask(&[&words[..], &["--previous"]].concat());
        if before.is_ok() {
            keep(&path.join(format!("{container}.previous.log")), before);
        }
    });
}

/// Namespace, pod and container of every container in a list of pods.
fn containers(pods: &str) -> Vec<(String, String, String)> {
    let pods: Value = serde_json::from_str(pods).unwrap_or_default();
    let mut all = Vec::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lists =
            ["initContainers", "containers"].map(|key| pod["spec"][key].as_array().cloned().unwrap_or_default());
        for container in lists.iter().flatten() {
            all.push((text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]), text(&container["name"])));
        }
    }
    all
}

fn keep(path: &Utf8Path, text: Result<String>) {
    let text = text.unwrap_or_else(|error| format!("(not to be had: {error:#})"));
    let write = || -> Result<()> {
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        Ok(std::fs::write(path, text + "\n")?)
    };
    // A full disk is one of the failures that this is about.
    let _ = write();
}
