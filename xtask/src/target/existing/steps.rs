//! What the steps of a plan do that are this target's own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e_support::Job;
use e2e_support::clock::Instant;
use rayon::prelude::*;
use serde_json::{Value, json};
use xshell::Shell;

use super::options::Reach;
use super::shared::Sharing;
use super::there::There;
use crate::hash::hex;
use crate::instance::{RUNS_LABEL, RunFile};
use crate::plan::Object;
use crate::suite::Image;
use crate::target::session::{Running, Session};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a pod may take until it is plain whether its node has the image: a small one is there after seconds, and one
/// that no node takes says nothing.
const PULL: Duration = Duration::from_secs(300);
/// A pod that no node takes within so long says nothing of the registry.
const UNSCHEDULED: Duration = Duration::from_secs(20);
/// The pod that has its node pull an image.
const PULLER: &str = "pulls-an-image";

impl There {
    /// Makes the run's namespaces, and what it shares with other runs.
    pub(super) fn claim(&self, running: &Running<'_>) -> Result<()> {
        let session = running.session;
        let namespaces: Vec<Value> = self.namespaces.iter().map(|name| self.namespace(session, name)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": namespaces}).to_string();
        let kubectl = session.kubectl();
        kubectl
            .apply(&list, running.left(), running.log, running.cancel)
            .with_context(|| format!("making {}", self.record.place()))?;
        running.prune()?;
        let sharing = Sharing {
            kubectl: &kubectl,
            id: &self.record.id,
            namespace: &session.namespace,
            end: running.end,
            log: running.log,
            cancel: running.cancel,
        };
        // Each takes several questions, and none waits for another.
        self.shared.par_iter().try_for_each(|object| sharing.take(object))?;
        session.instance.files.write(&RunFile {
            cluster: self.record.context.clone(),
            kubeconfig: session.instance.files.kubeconfig(),
            context: self.record.context.clone(),
            namespace: session.namespace.clone(),
            ports: self.ports.clone(),
            control: None,
            labels: self.labels.clone(),
        })?;
        if self.reach == Reach::PortForward {
            self.ways.follow(&kubectl, &session.run_dir.join("port-forwards.log"))?;
        }
        Ok(())
    }

    /// The namespace, as the manifests have it where they do.
    fn namespace(&self, session: &Session, name: &str) -> Value {
        let is_it = |object: &&Object| object.reference.kind == "Namespace" && object.reference.name == name;
        let written = session.manifests.all().find(is_it).and_then(|object| serde_json::to_value(&object.value).ok());
        let mut value = written.unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "Namespace"}));
        value["metadata"]["name"] = name.into();
        for (key, label) in &self.labels {
            value["metadata"]["labels"][key] = label.as_str().into();
        }
        value["metadata"]["annotations"][RUNS_LABEL] = session.instance.runs().into_string().into();
        value
    }

    /// Pushes the images that are not built, and has a node pull one of them.
    pub(super) fn stock(&self, running: &Running<'_>) -> Result<()> {
        for reference in &self.stock {
            running.progress(format!("pushing {reference}"));
            self.push(running, reference, reference)?;
        }
        match self.stock.first() {
            // Where it has done so before it can.
            Some(_) if self.was_there => Ok(()),
            Some(reference) => self.pull(running, reference),
            // The first pod of the suite tells.
            None => Ok(()),
        }
    }

    /// Pushes an image that was built.
    pub(super) fn push_built(&self, running: &Running<'_>, image: &Image) -> Result<()> {
        self.push(running, &image.reference, &running.session.image_reference(image))
    }

    /// Pushes the engine's image `local`, which manifests call `reference`.
    fn push(&self, running: &Running<'_>, reference: &str, local: &str) -> Result<()> {
        let engine = running.session.engine()?;
        let id = engine.image_id(local)?.with_context(|| format!("{} has no image {local}", engine.flavor()))?;
        let name = self.registry.name(reference);
        // By its content, so that no run takes a name from another one's image.
        let tag: String = id.trim_start_matches("sha256:").chars().take(12).collect();
        let to = format!("{}/{name}:{tag}", self.registry.here);
        let plain = self.registry.is_loopback();
        let digest = engine
            .push(local, &to, plain, running.left(), running.log, running.cancel)
            .with_context(|| format!("pushing {reference} to the registry as {to}"))?;
        self.pushed().insert(reference.to_owned(), format!("{}/{name}@{digest}", self.registry.in_cluster));
        Ok(())
    }

    /// Has a node pull an image, and fails with the node's words where it cannot.
    fn pull(&self, running: &Running<'_>, reference: &str) -> Result<()> {
        let image = self.pushed().get(reference).cloned().context("an image that was not pushed")?;
        let session = running.session;
        let kubectl = session.kubectl();
        let namespace = session.namespace.as_str();
        // What it runs is not there: what is asked is whether its image comes.
        let container = json!({
            "name": "image", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["/nothing"],
            "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 65532,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}},
            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": PULLER, "namespace": namespace, "labels": self.labels},
            "spec": {"restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                "containers": [container]},
        });
        let sh = Shell::new()?;
        let run = |words: &[&str], input: String| {
            let command = kubectl.cmd(&sh).args(words);
            Job::new(command).stdin(input).deadline(running.left()).log(running.log).cancel(running.cancel).run()
        };
        let delete = [
            "--namespace",
            namespace,
            "delete",
            "pod",
            PULLER,
            "--ignore-not-found",
            "--grace-period=0",
            "--wait=true",
        ];
        run(&delete, String::new())?;
        run(&["create", "--filename", "-"], pod.to_string()).context("making a pod that pulls an image")?;
        let began = Instant::now();
        let pulled = running.until("a node that pulls an image", PAUSE, || {
            let pod = kubectl.json(&["--namespace", namespace, "get", "pod", PULLER])?;
            match pulled(&pod) {
                Pulled::Yes => Ok(Ok(())),
                Pulled::No(why) => Ok(Err(why)),
                Pulled::Unscheduled if began.elapsed() > UNSCHEDULED => Ok(Ok(())),
                _ if began.elapsed() > PULL => Ok(Ok(())),
                Pulled::Unscheduled | Pulled::Unknown => bail!("no node has said yet whether it has {image}"),
            }
        })?;
        run(&[&delete[..7], &["--wait=false"]].concat(), String::new())?;
        match pulled {
            Ok(()) => Ok(()),
            Err(why) => bail!("the cluster's nodes cannot pull from the registry {}: {why}", self.registry.in_cluster),
        }
    }

    /// Waits until there is a way to each service.
    pub(super) fn reach(&self, running: &Running<'_>) -> Result<()> {
        if self.reach == Reach::PortForward {
            return running.until("port-forwards to the services", PAUSE, || {
                let (missing, said) = self.ways.missing();
                let said = said.map(|said| format!("; kubectl said last: {said}")).unwrap_or_default();
                ensure!(missing.is_empty(), "no ready pod is reached behind {}{said}", missing.join(", "));
                Ok(())
            });
        }
        let kubectl = running.session.kubectl();
        for reached in self.ways.reached() {
            let what = format!("an address of the service {}", reached.service);
            let addresses = running.until(&what, PAUSE, || {
                let words = ["--namespace", &reached.namespace, "get", "service", &reached.service];
                let service = kubectl.json(&words)?;
                let nodes = match self.reach {
                    Reach::NodePort => kubectl.json(&["get", "nodes"])?,
                    _ => Value::Null,
                };
                let addresses = addresses(&service, &nodes, reached.port);
                ensure!(!addresses.is_empty(), "the service {} has no address yet", reached.service);
                Ok(addresses)
            })?;
            self.ways.lead_to(reached.node_port, &addresses);
        }
        Ok(())
    }

    /// One hash of what it depends on whether a later run can go on with what this one made.
    pub(super) fn hash(parts: &[&str]) -> String {
        use sha2::{Digest as _, Sha256};
        hex(&Sha256::digest(parts.join("\0")))
    }
}

/// Whether an image has come to a node.
#[derive(Debug, PartialEq, Eq)]
enum Pulled {
    Yes,
    /// And why.
    No(String),
    Unscheduled,
    Unknown,
}

fn pulled(pod: &Value) -> Pulled {
    let node = pod["spec"]["nodeName"].as_str();
    let Some(status) = pod["status"]["containerStatuses"].get(0) else {
        return if node.is_none() { Pulled::Unscheduled } else { Pulled::Unknown };
    };
    if status["imageID"].as_str().is_some_and(|id| !id.is_empty()) {
        return Pulled::Yes;
    }
    let waiting = &status["state"]["waiting"];
    let message = waiting["message"].as_str().unwrap_or("it says nothing").replace('\n', " ");
    match waiting["reason"].as_str() {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "RegistryUnavailable") => {
            Pulled::No(format!("{}: {message}", node.unwrap_or("a node")))
        }
        Some("ContainerCreating" | "PodInitializing") => Pulled::Unknown,
        None if status["state"]["terminated"].is_null() && status["state"]["running"].is_null() => Pulled::Unknown,
        _ => Pulled::Yes,
    }
}

/// The addresses at which a service's port is reached from outside.
fn addresses(service: &Value, nodes: &Value, port: u16) -> Vec<SocketAddr> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(found) = ports.into_iter().find(|entry| number(&entry["port"]) == Some(port)) else { return Vec::new() };
    if nodes.is_null() {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        let hosts = ingress.filter_map(|entry| entry["ip"].as_str().or_else(|| entry["hostname"].as_str()));
        return hosts.filter_map(|host| (host, port).to_socket_addrs().ok()).flatten().collect();
    }
    let Some(node_port) = number(&found["nodePort"]) else { return Vec::new() };
    let is_ready = |node: &&Value| {
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    // One of them: each leads to all pods.
    let address = |node: &Value| -> Option<IpAddr> {
        let all = node["status"]["addresses"].as_array()?;
        let of = |kind: &str| all.iter().find(|entry| entry["type"] == kind)?["address"].as_str()?.parse().ok();
        of("ExternalIP").or_else(|| of("InternalIP"))
    };
    let nodes = nodes["items"].as_array().into_iter().flatten().filter(is_ready);
    nodes.filter_map(address).take(1).map(|ip| SocketAddr::from((ip, node_port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(state: Value) -> Value {
        json!({"spec": {"nodeName": "n1"}, "status": {"containerStatuses": [{"state": state}]}})
    }

    #[test]
    fn a_pod_tells_whether_its_image_has_come() {
        let waiting = |reason: &str| pod(json!({"waiting": {"reason": reason, "message": "dial tcp: refused"}}));
        assert_eq!(pulled(&waiting("ContainerCreating")), Pulled::Unknown);
        assert_eq!(pulled(&waiting("ErrImagePull")), Pulled::No("n1: dial tcp: refused".into()));
        assert_eq!(pulled(&waiting("RunContainerError")), Pulled::Yes);
        assert_eq!(pulled(&pod(json!({"terminated": {"exitCode": 128}}))), Pulled::Yes);
        assert_eq!(pulled(&json!({"spec": {}, "status": {}})), Pulled::Unscheduled);
    }

    #[test]
    fn a_service_is_reached_at_a_node_or_at_its_load_balancer() {
        let service = json!({"spec": {"ports": [{"port": 80, "nodePort": 30001}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
        let node = |ready: &str, address: &str| {
            json!({"status": {"conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "InternalIP", "address": address}]}})
        };
        let nodes = json!({"items": [node("False", "192.0.2.1"), node("True", "192.0.2.2")]});
        assert_eq!(addresses(&service, &nodes, 80), ["192.0.2.2:30001".parse().unwrap()]);
        assert_eq!(addresses(&service, &Value::Null, 80), ["192.0.2.7:80".parse().unwrap()]);
        assert_eq!(addresses(&service, &nodes, 81), []);
    }
}
