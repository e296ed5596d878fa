//! What a failed run leaves to look at. The logs of instances are in the run's folder from the start.

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use e2e_support::clock::Instant;
use rayon::prelude::*;
use xshell::Shell;

use super::local::Local;
use crate::events::RunFolder;
use crate::evidence::{ask, keep};
use crate::target::session::Session;

/// What the API server is asked: the file for the answer, and kubectl's words.
const QUESTIONS: [(&str, &[&str]); 3] = [
    ("cluster/objects.txt", &["get", "all,configmaps,serviceaccounts,leases", "--all-namespaces", "--output", "wide"]),
    ("cluster/events.txt", &["get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"]),
    ("cluster/api.txt", &["get", "--raw", "/readyz?verbose"]),
];
/// What the servers log.
const LOGS: [&str; 2] = ["etcd.log", "kube-apiserver.log"];

/// Writes the logs of etcd and kube-apiserver, and what the API server tells of its objects, into the run's folder, with
/// the state of each instance.
pub(super) fn collect(local: &Local, session: &Session, folder: &RunFolder, end: Instant) {
    let to = |name: &str| folder.path().join(name);
    for log in LOGS {
        keep(&to("control-plane").join(log), read(&local.work.join("control-plane").join(log)));
    }
    let mut instances = String::new();
    for launch in local.supervisor.shared.launches() {
        for one in local.supervisor.shared.list(&launch.workload).unwrap_or_default() {
            let said = one.said.map(|said| format!(": {said}")).unwrap_or_default();
            instances.push_str(&format!("{} {:?}, restarts {}{said}\n", one.name, one.phase, one.restarts));
        }
    }
    keep(&to("cluster/instances.txt"), Ok(instances));
    let kubectl = session.kubectl();
    QUESTIONS.par_iter().for_each(|(file, words)| {
        let asked = Shell::new().map_err(Into::into).and_then(|shell| ask(kubectl.cmd(&shell).args(*words), end));
        keep(&to(file), asked);
    });
}

fn read(path: &Utf8Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
