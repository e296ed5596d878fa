//! What a failed run leaves to look at, collected before anything is removed.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Job;
use e2e_support::clock::Instant;
use rayon::prelude::*;
use serde_json::Value;
use xshell::{Cmd, Shell};

use crate::events::RunFolder;
use crate::target::session::Session;

/// How long all of the collecting may take, and each question.
const ALL: Duration = Duration::from_secs(30);
const ONE: Duration = Duration::from_secs(10);

/// Writes what the target tells of the failure into the run's folder. Nothing here fails a run.
pub fn collect(session: &Session, folder: &RunFolder) {
    session.target.collect_evidence(session, folder, Instant::now() + ALL);
}

/// A question to a program, as long as there is time.
pub(crate) fn ask(command: Cmd<'_>, end: Instant) -> Result<String> {
    Job::new(command).deadline(left(end)).read()
}

/// Writes all that a program prints to the file `to`, as long as there is time.
pub(crate) fn keep_output(to: &Utf8Path, command: Cmd<'_>, end: Instant) {
    let told = Job::new(command).deadline(left(end)).log(to).run();
    // The exit code of `systemctl status` says how the units are, not whether it could tell.
    if let Err(error) = told
        && to.metadata().map_or(true, |file| file.len() == 0)
    {
        keep(to, Err(error));
    }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now()).min(ONE)
}

/// Writes what the API server tells: logs of all pods, events, descriptions; false where it does not answer.
pub(crate) fn of_api_server(session: &Session, folder: &RunFolder, end: Instant) -> bool {
    let kubectl = session.kubectl();
    let ask = |words: &[&str]| -> Result<String> {
        let sh = Shell::new()?;
        ask(kubectl.cmd(&sh).args(words), end)
    };
    let Ok(pods) = ask(&["get", "pods", "--all-namespaces", "--output", "json"]) else { return false };
    let questions: [(&str, &[&str]); 3] = [
        ("cluster/objects.txt", &["get", "all,pvc,pv,nodes", "--all-namespaces", "--output", "wide"]),
        ("cluster/events.txt", &["get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"]),
        ("cluster/pods.txt", &["describe", "pods", "--all-namespaces"]),
    ];
    questions.par_iter().for_each(|(file, words)| keep(&folder.path().join(file), ask(words)));
    containers(&pods).par_iter().for_each(|(namespace, pod, container)| {
        let path = folder.pods().join(namespace).join(pod);
        let words = ["--namespace", namespace, "logs", pod, "--container", container, "--timestamps"];
        keep(&path.join(format!("{container}.log")), ask(&words));
        let before = ask(&[&words[..], &["--previous"]].concat());
        if before.is_ok() {
            keep(&path.join(format!("{container}.previous.log")), before);
        }
    });
    true
}

/// Namespace, pod and container of every container in a list of pods.
pub(crate) fn containers(pods: &str) -> Vec<(String, String, String)> {
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

/// Writes a file, or why it cannot be had.
pub(crate) fn keep(path: &Utf8Path, text: Result<String>) {
    let text = text.unwrap_or_else(|error| format!("(not to be had: {error:#})"));
    let write = || -> Result<()> {
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        Ok(std::fs::write(path, text + "\n")?)
    };
    // A full disk is one of the failures that this is about.
    let _ = write();
}
