//! What a failed run leaves to look at of a cluster and its node.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::engine::Engine;
use rayon::prelude::*;
use serde_json::Value;
use xshell::Shell;

use super::Cluster;
use crate::events::RunFolder;
use crate::evidence::{ask, keep, keep_output, of_api_server};
use crate::target::session::Session;

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

/// Writes what the API server tells, and the journal of each node; where no API server answers, the logs of the containers
/// as the nodes have them, and of a node that has ended what it wrote to its console.
pub(super) fn collect(cluster: &Cluster, session: &Session, folder: &RunFolder, end: Instant) {
    let Cluster { engine, nodes, .. } = cluster;
    let asked: Vec<(&String, Utf8PathBuf, Option<bool>)> = nodes
        .iter()
        .map(|node| {
            let to = if nodes.len() == 1 { folder.path().join("node") } else { folder.path().join("nodes").join(node) };
            let there = container(engine, node, &to);
            (node, to, there)
        })
        .collect();
    std::thread::scope(|scope| {
        for (node, to, runs) in &asked {
            let Some(runs) = runs else { continue };
            scope.spawn(move || of_node(engine, node, to, *runs, end));
        }
        if asked.iter().any(|(.., runs)| runs.is_some()) && !of_api_server(session, folder, end) {
            for (node, to, _) in asked.iter().filter(|(.., runs)| *runs == Some(true)) {
                scope.spawn(move || containers_of_node(engine, node, &to.join("containers"), end));
            }
        }
    });
}

/// Whether the node runs; none, and noted why, where there is no such node.
fn container(engine: &Engine, node: &str, to: &Utf8Path) -> Option<bool> {
    let absent = match engine.container(node) {
        Ok(Some(container)) => return Some(container.state == "running"),
        Ok(None) => Ok(format!("there is no node {node}\n")),
        Err(error) => Err(error),
    };
    keep(&to.join("container.txt"), absent);
    None
}

/// What the engine and the node itself tell of the node.
fn of_node(engine: &Engine, name: &str, to: &Utf8Path, runs: bool, end: Instant) {
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
fn containers_of_node(engine: &Engine, name: &str, to: &Utf8Path, end: Instant) {
    let list = || -> Result<String> {
        let sh = Shell::new()?;
        ask(engine.exec(&sh, name, false, &["crictl", "ps", "--all", "--output", "json"]), end)
    };
    let list = match list() {
        Ok(list) => list,
        Err(error) => return keep(&to.join("list.txt"), Err(error)),
    };
    runtime_containers(&list).par_iter().for_each(|(file, id)| {
        let Ok(sh) = Shell::new() else { return };
        let words = ["crictl", "logs", "--timestamps", "--tail", LINES, id];
        keep_output(&to.join(file), engine.exec(&sh, name, false, &words), end);
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
