//! How specs reach the services: a port of this machine for each NodePort of the manifests, which leads to the pods that
//! are ready, each connection by a port-forward of its own, or to an address of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::kubectl::Kubectl;
use e2e_support::{Cancel, Job};
use serde_json::Value;
use xshell::Shell;

use super::rewrite::Reached;
use super::tunnel::Tunnel;
use crate::disk;
use crate::target::forward::{Forwarder, Lead};

/// kubectl's proxy and its watches live as long as the run; this is for one that outlives everything.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Between two tries of one that has ended.
const PAUSE: Duration = Duration::from_millis(250);

/// Those ports. They close with this.
#[derive(Debug)]
pub(super) struct Ways {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reached: Vec<(Reached, Forwarder)>,
    /// Where kubectl's proxy listens.
    proxy: Utf8PathBuf,
    /// By namespace and name.
    pods: Mutex<BTreeMap<(String, String), Pod>>,
    /// Why a connection could not be opened last.
    said: Arc<Mutex<Option<String>>>,
    over: Cancel,
}

/// A pod that services select.
#[derive(Debug)]
struct Pod {
    is_ready: bool,
    /// The services that select it, with the port of the pod that each leads to.
    ports: Vec<(usize, u16)>,
}

impl Ways {
    /// Opens a port for each; they lead nowhere yet. The socket of kubectl's proxy is to be in `dir`.
    ///
    /// # Errors
    /// When the system has no port.
    pub(super) fn open(reached: Vec<Reached>, dir: &Utf8Path) -> Result<Ways> {
        let with_port = |reached: Reached| Ok((reached, Forwarder::open()?));
        let reached = reached.into_iter().map(with_port).collect::<Result<Vec<_>>>()?;
        let proxy = disk::socket(&dir.join("proxy.sock"))?;
        let (pods, said, over) = (Mutex::default(), Arc::default(), Cancel::new());
        Ok(Ways { shared: Arc::new(Shared { reached, proxy, pods, said, over }) })
    }

    /// The port of this machine for each NodePort.
    pub(super) fn ports(&self) -> BTreeMap<u16, u16> {
        self.shared.reached.iter().map(|(reached, forwarder)| (reached.node_port, forwarder.port())).collect()
    }

    /// What is behind them.
    pub(super) fn reached(&self) -> impl Iterator<Item = &Reached> {
        self.shared.reached.iter().map(|(reached, _)| reached)
    }

    /// Leads each to the pods of its service that are ready, now and from now on. What kubectl says goes to `log`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn follow(&self, kubectl: &Kubectl, log: &Utf8Path) -> Result<()> {
        let (shared, with, to) = (Arc::clone(&self.shared), kubectl.clone(), log.to_owned());
        let proxy = std::thread::Builder::new().name("proxy".into());
        proxy.spawn(move || shared.keep_proxy(&with, &to)).context("starting kubectl's proxy")?;
        let namespaces: BTreeSet<&str> = self.reached().map(|reached| reached.namespace.as_str()).collect();
        for namespace in namespaces {
            let (shared, namespace) = (Arc::clone(&self.shared), namespace.to_owned());
            let (kubectl, log) = (kubectl.clone(), log.to_owned());
            let pods = std::thread::Builder::new().name("pods".into());
            pods.spawn(move || shared.watch(&kubectl, &namespace, &log)).context("starting the watch of pods")?;
        }
        Ok(())
    }

    /// Leads the port of a NodePort to these addresses of the cluster.
    pub(super) fn lead_to(&self, node_port: u16, addresses: &[SocketAddr]) {
        for (_, forwarder) in self.shared.reached.iter().filter(|(reached, _)| reached.node_port == node_port) {
            forwarder.lead(addresses.iter().map(|address| Arc::new(*address) as Arc<dyn Lead>).collect());
        }
    }

    /// The services without a ready pod behind them, or without kubectl's proxy, and why a connection failed last.
    pub(super) fn missing(&self) -> (Vec<String>, Option<String>) {
        let pods = self.shared.pods();
        let has_proxy = std::os::unix::net::UnixStream::connect(&self.shared.proxy).is_ok();
        let leads = |at: usize| has_proxy && pods.values().any(|pod| pod.port_for(at).is_some());
        let missing = self.shared.reached.iter().enumerate().filter(|(at, _)| !leads(*at));
        let missing = missing.map(|(_, (reached, _))| format!("{}:{}", reached.service, reached.port)).collect();
        (missing, self.shared.said.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Ends all of it.
    pub(super) fn end(&self) {
        self.shared.over.cancel("the run is over");
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_file(&self.shared.proxy);
    }
}

impl Pod {
    /// Its port behind a service; none where it is not ready, or not behind it.
    fn port_for(&self, service: usize) -> Option<u16> {
        let port = self.ports.iter().find(|(at, _)| *at == service && self.is_ready);
        port.map(|(_, port)| *port)
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<(String, String), Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps kubectl's proxy running. Its socket is the user's alone.
    fn keep_proxy(&self, kubectl: &Kubectl, log: &Utf8Path) {
        while !self.over.is_cancelled() {
            let Ok(sh) = Shell::new() else { return };
            // A socket that is there keeps it from listening.
            let _ = std::fs::remove_file(&self.proxy);
            let socket = format!("--unix-socket={}", self.proxy);
            let proxy = kubectl.cmd(&sh).args(["proxy", &socket]);
            let ended = Job::new(proxy).deadline(LIFE).log(log).cancel(&self.over).run();
            if let Err(error) = ended.map_err(|error| format!("{error:#}")) {
                let first = error.lines().next().unwrap_or_default().to_owned();
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
            }
            self.over.sleep(PAUSE);
        }
    }

    /// Follows the pods of a namespace, until all is over.
    fn watch(&self, kubectl: &Kubectl, namespace: &str, log: &Utf8Path) {
        // Seconds; the API server ends the watch by itself then.
        let path = format!("/api/v1/namespaces/{namespace}/pods?watch=true&timeoutSeconds=600");
        while !self.over.is_cancelled() {
            let Ok(sh) = Shell::new() else { return };
            let watch = Job::new(kubectl.cmd(&sh).args(["get", "--raw", &path])).deadline(LIFE).log(log);
            // Each begins with the pods that there are: what was missed meanwhile is told again, but for deletions.
            let mut seen = BTreeSet::new();
            let _ = watch.cancel(&self.over).lines(|line| {
                if let Ok(event) = serde_json::from_str::<Value>(line) {
                    seen.insert(event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned());
                    self.pod(namespace, &event);
                }
                ControlFlow::<()>::Continue(())
            });
            if self.over.sleep(PAUSE) {
                return;
            }
            let mut pods = self.pods();
            pods.retain(|(of, name), _| of != namespace || seen.contains(name) || seen.is_empty());
            self.settle(&pods);
        }
    }

    /// Takes an event of a pod.
    fn pod(&self, namespace: &str, event: &Value) {
        let object = &event["object"];
        let Some(name) = object["metadata"]["name"].as_str() else { return };
        let key = (namespace.to_owned(), name.to_owned());
        let ports = self.ports(namespace, object);
        let mut pods = self.pods();
        if event["type"] == "DELETED" || ports.is_empty() {
            pods.remove(&key);
        } else {
            pods.insert(key, Pod { is_ready: is_ready(object), ports });
        }
        self.settle(&pods);
    }

    /// The services that select a pod, and the port of the pod that each leads to.
    fn ports(&self, namespace: &str, pod: &Value) -> Vec<(usize, u16)> {
        let labels = &pod["metadata"]["labels"];
        let selects = |reached: &Reached| {
            reached.namespace == namespace
                && !reached.selector.is_empty()
                && reached.selector.iter().all(|(key, value)| labels[key] == value.as_str())
        };
        let selecting = self.reached.iter().enumerate().filter(|(_, (reached, _))| selects(reached));
        selecting.filter_map(|(at, (reached, _))| Some((at, port_of(pod, &reached.target)?))).collect()
    }

    /// Leads each port to the pods that are ready.
    fn settle(&self, pods: &BTreeMap<(String, String), Pod>) {
        for (at, (_, forwarder)) in self.reached.iter().enumerate() {
            let ready = pods.iter().filter_map(|(key, pod)| Some((key, pod.port_for(at)?)));
            let tunnels = ready.map(|((namespace, pod), port)| {
                let (proxy, said) = (self.proxy.clone(), Arc::clone(&self.said));
                let (namespace, pod) = (namespace.clone(), pod.clone());
                Arc::new(Tunnel { proxy, namespace, pod, port, said }) as Arc<dyn Lead>
            });
            forwarder.lead(tunnels.collect());
        }
    }
}

/// The number of the port that a service calls `target`.
fn port_of(pod: &Value, target: &str) -> Option<u16> {
    if let Ok(number) = target.parse() {
        return Some(number);
    }
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let named = ports.find(|port| port["name"] == target)?;
    u16::try_from(named["containerPort"].as_u64()?).ok()
}

/// Whether a Service would lead to the pod.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready =
        conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_leads_to_its_pods_while_they_are_ready() {
        let reached = |service: &str, target: &str| Reached {
            node_port: 30001,
            namespace: "shop-1".into(),
            service: service.into(),
            port: 80,
            selector: [("app".to_owned(), "web".to_owned())].into(),
            target: target.into(),
        };
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let ways = Ways::open(vec![reached("web", "http"), reached("raw", "81")], dir).unwrap();
        let pod = |app: &str, ready: &str, ending: Value| {
            json!({"type": "MODIFIED", "object": {
                "metadata": {"name": "web-1", "labels": {"app": app}, "deletionTimestamp": ending},
                "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}})
        };
        let ports = |event: &Value, namespace: &str| -> Vec<Option<u16>> {
            ways.shared.pod(namespace, event);
            let pods = ways.shared.pods();
            [0, 1].into_iter().map(|at| pods.values().find_map(|pod| pod.port_for(at))).collect()
        };
        assert_eq!(ports(&pod("web", "False", Value::Null), "shop-1"), [None, None]);
        assert_eq!(ports(&pod("web", "True", Value::Null), "other"), [None, None]);
        assert_eq!(ports(&pod("web", "True", Value::Null), "shop-1"), [Some(8080), Some(81)]);
        assert_eq!(ports(&pod("web", "True", "2026".into()), "shop-1"), [None, None], "it is told to end");
        assert_eq!(ports(&pod("web", "True", Value::Null), "shop-1"), [Some(8080), Some(81)]);
        let mut gone = pod("web", "True", Value::Null);
        gone["type"] = "DELETED".into();
        assert_eq!(ports(&gone, "shop-1"), [None, None]);
        assert_eq!(ways.missing().0, ["web:80", "raw:80"]);
    }
}
