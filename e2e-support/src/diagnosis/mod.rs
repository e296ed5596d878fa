//! Why a node does not come: the cause in its own words, out of all that kind, kubeadm, systemd's units and the control
//! plane's containers write.

mod said;

use std::time::Duration;

use camino::Utf8Path;
use xshell::Shell;

pub use said::taken_ports;

use crate::engine::{Container, Engine};
use crate::kind::{CLUSTER_LABEL, Kind};
use crate::process::Job;

/// How long the node may take to tell.
const ANSWER: Duration = Duration::from_secs(10);
/// From so many restarts on a unit is what is wrong, and from so many on it will not come any more.
const RESTARTS: Restarts = Restarts { suspect: 2, hopeless: 5 };
/// Likewise for a container of the control plane, which the kubelet restarts ever more slowly.
const CONTAINER_RESTARTS: Restarts = Restarts { suspect: 1, hopeless: 3 };
/// What the node has to start for itself, in the order in which one needs the other.
const UNITS: [&str; 2] = ["containerd", "kubelet"];
/// Prints of each unit how often it was restarted and what it wrote, and of each container of the control plane the end
/// of its last log, whose name is the number of restarts.
const TELL: &str = r#"
for unit in "$@"; do
  echo "== unit $unit $(systemctl show --property NRestarts --value "$unit")"
  journalctl --no-pager --output cat --lines 300 --unit "$unit"
done
for folder in /var/log/pods/kube-system_*/*; do
  log=$(ls "$folder" 2>/dev/null | sort -n | tail -n 1)
  [ -n "$log" ] || continue
  echo "== container ${folder##*/} ${log%%.*}"
  tail -n 20 "$folder/$log" | cut -d ' ' -f 4-
done
"#;

#[derive(Clone, Copy)]
struct Restarts {
    suspect: u32,
    hopeless: u32,
}

/// How sure one has to be of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surety {
    /// Something has failed, and this is the likely reason.
    Suspect,
    /// It will not heal by waiting.
    Hopeless,
}

/// Why one of the nodes of the cluster `name` does not work, in one sentence: the control plane is asked first. `None`
/// where nothing is known to be wrong, or nobody tells.
pub fn of_nodes(engine: &Engine, name: &str, surety: Surety) -> Option<String> {
    let mut nodes = engine.containers(CLUSTER_LABEL, Some(name)).ok()?;
    let first = Kind::node(name);
    nodes.sort_by_key(|node| (node.name != first, node.name.clone()));
    nodes.iter().find_map(|node| of_node(engine, node, surety))
}

fn of_node(engine: &Engine, Container { name, state, .. }: &Container, surety: Surety) -> Option<String> {
    match state.as_str() {
        "running" => {}
        "exited" | "dead" | "stopped" => return Some(ended(engine, name, state)),
        _ => return None,
    }
    let sh = Shell::new().ok()?;
    let words: Vec<&str> = ["sh", "-c", TELL, "tell"].into_iter().chain(UNITS).collect();
    let told = Job::new(engine.exec(&sh, name, false, &words)).deadline(ANSWER).output().ok()?.stdout;
    of_told(&told, name, surety)
}

/// The sentence on a node whose container has ended.
fn ended(engine: &Engine, node: &str, state: &str) -> String {
    let console = || -> Option<String> {
        let sh = Shell::new().ok()?;
        let log = Job::new(engine.cmd(&sh).args(["logs", "--tail", "40", node])).deadline(ANSWER).output().ok()?;
        // What a node writes to its standard error is here with the engine's own.
        said::by_console(&format!("{}\n{}", log.stdout, log.tail))
    };
    let last = console().map_or(String::new(), |last| format!("; the last it said: {last}"));
    with_advice(format!("the node {node} has ended (its container is {state}){last}"))
}

/// Why a cluster could not be made: what is wrong with its node, else what kind printed, which `log` holds from the byte
/// `from` on. `None` where neither tells.
pub fn of_creation(engine: &Engine, name: &str, log: &Utf8Path, from: u64) -> Option<String> {
    of_nodes(engine, name, Surety::Suspect).or_else(|| said::by_kind(&tail_of(log, from)).map(with_advice))
}

/// What was written to `log` from the byte `from` on; empty where it cannot be read.
pub fn tail_of(log: &Utf8Path, from: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}

fn with_advice(sentence: String) -> String {
    match said::advice(&sentence) {
        Some(advice) => format!("{sentence}; {advice}"),
        None => sentence,
    }
}

/// The first in `told`, what [`TELL`] printed, that does not stay up.
fn of_told(told: &str, node: &str, surety: Surety) -> Option<String> {
    // Also where it ends nothing by itself: without its watch, containerd runs and does not serve the kubelet.
    let used_up = told.lines().find(|line| line.to_lowercase().contains(said::USED_UP));
    told.split("\n== ").find_map(|section| {
        let section = section.trim_start_matches("== ");
        let (head, text) = section.split_once('\n')?;
        let mut words = head.split(' ');
        let (what, name, restarts) = (words.next()?, words.next()?, words.next()?.parse::<u32>().ok()?);
        let (limits, said) = match what {
            "unit" => (RESTARTS, said::by_unit(text, name)),
            "container" => (CONTAINER_RESTARTS, said::by_program(&text.lines().collect::<Vec<_>>())),
            _ => return None,
        };
        let limit = if surety == Surety::Suspect { limits.suspect } else { limits.hopeless };
        if restarts < limit {
            return None;
        }
        let sentence = format!("{name} on {node} ends again and again ({restarts} restarts): {}", said?);
        let more = used_up.filter(|_| !sentence.contains(said::USED_UP)).and_then(|line| said::by_program(&[line]));
        Some(with_advice(more.map_or(sentence.clone(), |more| format!("{sentence} (before that: {more})"))))
    })
}

#[cfg(test)]
mod tests;
