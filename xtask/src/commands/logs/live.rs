//! The logs of pods that are there now, asked of the suite's own cluster.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use e2e_support::{Cancel, Job, kubectl::Kubectl};
use serde_json::Value;
use xshell::Shell;

use crate::instance::Files;
use crate::output;
use crate::paths::Paths;
use crate::setup::kubectl;

/// How long the API server may take to say which pods there are.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a log is followed at most.
const FOLLOW: Duration = Duration::from_secs(24 * 3600);

/// Pods of a cluster that answers.
pub(super) struct Pods {
    kubectl: Kubectl,
    /// Namespace and name, sorted.
    found: Vec<(String, String)>,
}

impl Pods {
    /// The pods of the cluster that `suite` has now; none where it has no cluster, or one that does not answer.
    pub(super) fn of(paths: &Paths, suite: &str) -> Option<Self> {
        let files = Files::new(&paths.runs(), suite);
        let cluster = files.read().or_else(|| files.on_cluster_that_is_there().read())?;
        let program = kubectl::find(&paths.root, &paths.cache).ok()??;
        let kubectl = Kubectl::new(program, cluster.kubeconfig, cluster.context);
        let sh = Shell::new().ok()?;
        // Others' pods are none of ours where a cluster is theirs, too.
        let of = match cluster.labels.is_empty() {
            true => vec!["--all-namespaces"],
            false => vec!["--namespace", &cluster.namespace],
        };
        let ask = kubectl.cmd(&sh).args(["get", "pods", "--output", "json"]).args(of);
        let answer = Job::new(ask).deadline(ANSWER).read().ok()?;
        let mut found = names(&serde_json::from_str(&answer).ok()?);
        found.sort();
        Some(Self { kubectl, found })
    }

    /// The names of the pods.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.found.iter().map(|(_, name)| name.as_str())
    }

    /// Prints the logs of all pods whose names begin so; false where there are none. With `follow` it stays until the
    /// pods end or `cancel` is set.
    ///
    /// # Errors
    /// kubectl could not read one of them.
    pub(super) fn print(&self, prefix: &str, follow: bool, cancel: &Cancel) -> Result<bool> {
        let fit: Vec<&(String, String)> = self.found.iter().filter(|(_, name)| name.starts_with(prefix)).collect();
        if !follow {
            for (namespace, pod) in &fit {
                self.one(namespace, pod, false, cancel)?;
            }
            return Ok(!fit.is_empty());
        }
        std::thread::scope(|scope| {
            let followers: Vec<_> =
                fit.iter().map(|(namespace, pod)| scope.spawn(|| self.one(namespace, pod, true, cancel))).collect();
            for follower in followers {
                follower.join().map_err(|_| anyhow!("a thread that followed a log died"))??;
            }
            Ok(!fit.is_empty())
        })
    }

    fn one(&self, namespace: &str, pod: &str, follow: bool, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let words = ["--namespace", namespace, "logs", pod, "--all-containers", "--prefix", "--tail", "-1"];
        let words = words.into_iter().chain(follow.then_some("--follow"));
        let print = |line: &str| {
            println!("{line}");
            // Where whoever reads this has gone away there is nothing left to do.
            if output::reader_is_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let job = Job::new(self.kubectl.cmd(&sh).args(words)).deadline(if follow { FOLLOW } else { ANSWER });
        match job.cancel(cancel).lines(print) {
            Err(_) if cancel.is_cancelled() => Ok(()),
            result => result.map(drop).with_context(|| format!("reading the logs of pod {namespace}/{pod}")),
        }
    }
}

/// Namespace and name of each pod in a list of them.
fn names(list: &Value) -> Vec<(String, String)> {
    let text = |pod: &Value, key: &str| Some(pod["metadata"][key].as_str()?.to_owned());
    let pods = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    pods.iter().filter_map(|pod| Some((text(pod, "namespace")?, text(pod, "name")?))).collect()
}
