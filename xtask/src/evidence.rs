//! What a failed run leaves to look at, collected before anything is deleted.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Job;
use e2e_support::clock::Instant;
use rayon::prelude::*;
use serde_json::Value;
use xshell::{Cmd, Shell};

use crate::events::RunFolder;
use crate::steps::Site;

/// How long all of the collecting may take, and each question.
const ALL: Duration = Duration::from_secs(30);
const ONE: Duration = Duration::from_secs(10);

/// What is asked of a node that runs: the file for the answer, and the command. All are asked at once.
const OF_NODE: [(&str, &[&str]); 7] = [
    ("journal.txt", &["journalctl", "--no-pager", "--lines", "5000"]),
    ("kubelet.txt", &["journalctl", "--no-pager", "--lines", "2000", "--unit", "kubelet"]),
    ("containerd.txt", &["journalctl", "--no-pager", "--lines", "2000", "--unit", "containerd"]),
    ("units.txt", &["systemctl", "--no-pager", "status", "kubelet", "containerd"]),
    ("images.txt", &["crictl", "images"]),
    ("pods.txt", &["crictl", "pods"]),
    ("containers.txt", &["crictl", "ps", "--all"]),
];
/// So many lines of a container are kept where the node is asked for them.
const LINES: &str = "2000";

/// Writes the logs of all pods, the events, the descriptions of the pods and the node's journal into the run's folder;
/// where no API server answers, the logs of the containers as the node has them, and of a node that has ended what it
/// wrote to its console. What cannot be had is noted in its place: nothing here fails a run.
pub fn collect(site: &Site, folder: &RunFolder) {
    let end = Instant::now() + ALL;
    let about_node = folder.path().join("node");
    let container = match site.engine.container(&site.node()) {
        Ok(Some(container)) => container,
        Ok(None) => return keep(&about_node.join("container.txt"), Ok("there is no node\n".to_owned())),
        Err(error) => return keep(&about_node.join("container.txt"), Err(error)),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| node(site, &about_node, container.state == "running", end));
        if !of_cluster(site, folder, end) && container.state == "running" {
            containers_of_node(site, &about_node.join("containers"), end);
        }
    });
}

/// A question to a program, as long as there is time.
fn ask(command: Cmd<'_>, end: Instant) -> Result<String> {
    Job::new(command).deadline(left(end)).read()
}

/// Writes all that a program prints to the file `to`, as long as there is time.
fn keep_output(to: &Utf8Path, command: Cmd<'_>, end: Instant) {
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

/// What the engine and the node itself tell of the node.
fn node(site: &Site, to: &Utf8Path, runs: bool, end: Instant) {
    let (name, engine) = (&site.node(), &site.engine);
    let of_engine: [(&str, &[&str]); 2] =
        [("container.txt", &["container", "inspect", name]), ("console.txt", &["logs", name])];
    std::thread::scope(|scope| {
        for (file, words) in of_engine {
            scope.spawn(move || {
                let Ok(sh) = Shell::new() else { return };
                keep_output(&to.join(file), engine.cmd(&sh).args(words), end);
            });
        }
        for (file, words) in OF_NODE.into_iter().filter(|_| runs) {
            scope.spawn(move || {
                let Ok(sh) = Shell::new() else { return };
                keep_output(&to.join(file), engine.exec(&sh, name, false, words), end);
            });
        }
    });
}

/// The logs of all containers of the node, also of those that have ended, as the node's runtime has them.
fn containers_of_node(site: &Site, to: &Utf8Path, end: Instant) {
    let (name, engine) = (site.node(), &site.engine);
    let list = || -> Result<String> {
        let sh = Shell::new()?;
        ask(engine.exec(&sh, &name, false, &["crictl", "ps", "--all", "--output", "json"]), end)
    };
    let list = match list() {
        Ok(list) => list,
        Err(error) => return keep(&to.join("list.txt"), Err(error)),
    };
    runtime_containers(&list).par_iter().for_each(|(file, id)| {
        let Ok(sh) = Shell::new() else { return };
        let words = ["crictl", "logs", "--timestamps", "--tail", LINES, id];
        keep_output(&to.join(file), engine.exec(&sh, &name, false, &words), end);
    });
}

/// File name and id of each container in a list of `crictl`.
fn runtime_containers(list: &str) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(list).unwrap_or_default();
    let containers = list["containers"].as_array().into_iter().flatten();
    containers
        .filter_map(|container| {
            let pod = container["labels"]["io.kubernetes.pod.name"].as_str().unwrap_or("no-pod");
            let name = container["metadata"]["name"].as_str()?;
            let attempt = container["metadata"]["attempt"].as_u64().unwrap_or(0);
            Some((format!("{pod}.{name}.{attempt}.log"), container["id"].as_str()?.to_owned()))
        })
        .collect()
}

/// What the API server tells; false where it does not answer.
fn of_cluster(site: &Site, folder: &RunFolder, end: Instant) -> bool {
    let kubectl = site.kubectl();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_container_of_the_runtime_has_a_file_of_its_own() {
        let list = r#"{"containers": [
            {"id": "a1", "metadata": {"name": "etcd", "attempt": 0}, "labels": {"io.kubernetes.pod.name": "etcd-n"}},
            {"id": "a2", "metadata": {"name": "etcd", "attempt": 1}, "labels": {"io.kubernetes.pod.name": "etcd-n"}}
        ]}"#;
        let files = runtime_containers(list);
        let pairs = [("etcd-n.etcd.0.log", "a1"), ("etcd-n.etcd.1.log", "a2")];
        assert_eq!(files, pairs.map(|(file, id)| (file.to_owned(), id.to_owned())));
        assert!(runtime_containers("no JSON").is_empty());
    }
}
