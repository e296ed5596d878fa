//! The steps of the cluster itself: its node, its API server, its DNS, and what is loaded into it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::Utf8PathBuf;
use e2e_support::clock::Instant;
use e2e_support::diagnosis::{self, Surety};
use e2e_support::kind::Create;
use e2e_support::{Job, Meter, load};
use serde_yaml::Value;
use xshell::Shell;

use super::creation::Creation;
use super::layout::{API, NODE};
use super::{Cluster, dns, network};
use crate::disk::{write, write_secret};
use crate::instance::RunFile;
use crate::steps::below;
use crate::suite::Image;
use crate::target::session::Running;
use crate::target::session::Session;

/// How often the node is asked whether something is there yet. Each question is a process.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the node may take over one question.
const ANSWER: Duration = Duration::from_secs(10);
/// Prints kubeadm's credentials of the group system:masters, which are valid before any role binding is there: those in
/// super-admin.conf, before Kubernetes 1.29 in admin.conf. kubeadm writes admin.conf first and scheduler.conf last; only
/// then does a missing super-admin.conf say that there will be none.
/// <https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/>
const CREDENTIALS: &str =
    "cd \"$1\" && [ -s scheduler.conf ] && { cat super-admin.conf 2>/dev/null || cat admin.conf; }";
/// Where kubeadm keeps them.
const CREDENTIALS_FOLDER: &str = "/etc/kubernetes";
/// Where kubeadm's API server listens inside the node.
const API_PORT: u16 = 6443;

/// What waits for a milestone of the cluster.
type Wait = fn(&ClusterStep<'_>) -> Result<()>;

/// A step of the cluster that runs.
pub(super) struct ClusterStep<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) running: &'a Running<'a>,
}

impl ClusterStep<'_> {
    fn session(&self) -> &Session {
        self.running.session
    }

    /// Creates the cluster, or uses the one that is to stay as it is; tells as soon as its nodes take images, and as soon
    /// as its API server answers.
    pub(super) fn cluster(&self) -> Result<()> {
        // What fails stops the others, for which it would be long to wait.
        let stop = self.running.cancel.child();
        let running = Running { cancel: &stop, ..*self.running };
        let step = ClusterStep { cluster: self.cluster, running: &running };
        let failed = Mutex::new(None);
        let unless_failed = |work: &dyn Fn() -> Result<()>| {
            if let Err(error) = work() {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                stop.cancel("another part of the cluster's creation has failed");
            }
        };
        let meter = Meter::here();
        std::thread::scope(|scope| {
            let waits: [(Wait, &str); 2] = [(|step| step.nodes(), NODE), (|step| step.api(), API)];
            for (wait, milestone) in waits {
                let (meter, step, unless_failed) = (meter.clone(), &step, &unless_failed);
                scope.spawn(move || {
                    meter.run(|| unless_failed(&|| wait(step).map(|()| step.running.context.reach(milestone))))
                });
            }
            unless_failed(&|| {
                if self.cluster.was_there {
                    return Ok(());
                }
                // The kubeconfig that is used is written as soon as the node has credentials.
                step.create(self.session().instance.files.dir.join("kind.kubeconfig"))
            });
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    pub(super) fn create(&self, kubeconfig: Utf8PathBuf) -> Result<()> {
        let session = self.session();
        let create = Create {
            name: session.instance.cluster().to_owned(),
            config: session.instance.files.config(),
            node_image: self.cluster.node_image.clone(),
            kubeconfig,
            deadline: self.running.left(),
        };
        let say = |text: &str| self.running.progress(text);
        let network = network::hold(&self.cluster.engine, &session.paths.cache, self.running.cancel)?;
        let creation = Creation {
            kind: &self.cluster.kind,
            engine: &self.cluster.engine,
            create,
            log: self.running.log,
            cancel: self.running.cancel,
            say: &say,
        };
        let tries = creation.run(&self.cluster.config)?;
        network.came()?;
        if tries > 1 {
            self.running.context.unusual("the cluster was created more than once");
        }
        Ok(())
    }

    /// The error of a wait with the reason why the node does not come in front, where it is known.
    fn because_of_node(&self, error: anyhow::Error) -> anyhow::Error {
        if self.running.cancel.is_cancelled() {
            return error;
        }
        match diagnosis::of_nodes(&self.cluster.engine, self.session().instance.cluster(), Surety::Suspect) {
            Some(cause) => below(&cause, &error),
            None => error,
        }
    }

    /// Waits until the containerd of each node takes images.
    fn nodes(&self) -> Result<()> {
        self.cluster.nodes.iter().try_for_each(|node| self.node_takes_images(node))
    }

    fn node_takes_images(&self, node: &str) -> Result<()> {
        let sh = Shell::new()?;
        self.until_on_node(node, &format!("the containerd of the node {node}"), || {
            let ask = self.cluster.engine.exec(&sh, node, false, &["ctr", "--namespace", "k8s.io", "version"]);
            Job::new(ask).deadline(ANSWER.min(self.running.left())).cancel(self.running.cancel).read()
        })?;
        Ok(())
    }

    /// As [`Running::until`], and gives up where the node has ended.
    fn until_on_node<T>(&self, node: &str, what: &str, ask: impl Fn() -> Result<T>) -> Result<T> {
        let answer = self.running.until(what, PAUSE, || match ask() {
            Ok(answer) => Ok(Ok(answer)),
            // Only then: to look at a container is a process more, and one that is being made does not run yet either.
            Err(error) if says_not_running(&error) => match self.cluster.engine.container(node) {
                Ok(Some(container)) if container.state == "exited" => {
                    Ok(Err(error.context(format!("waiting for {what}"))))
                }
                _ => Err(error),
            },
            Err(error) => Err(error),
        });
        answer.and_then(|answer| answer).map_err(|error| self.because_of_node(error))
    }

    /// Waits until the API server answers, and writes the kubeconfig and the run file.
    fn api(&self) -> Result<()> {
        let session = self.session();
        if !self.cluster.was_there {
            let kubeconfig =
                self.until_on_node(&session.instance.node(), "the cluster's credentials", || self.kubeconfig())?;
            write_secret(&session.instance.files.kubeconfig(), kubeconfig)?;
        }
        let kubectl = session.kubectl();
        let sh = Shell::new()?;
        self.until_on_node(&session.instance.node(), "the API server", || {
            let ask = kubectl.cmd(&sh).args(["get", "--raw", "/readyz"]);
            Job::new(ask).deadline(ANSWER.min(self.running.left())).cancel(self.running.cancel).read()
        })?;
        // Before anything is applied: what is renamed must not be in the way of what comes in its place.
        self.running.prune()?;
        self.remember_cluster()
    }

    /// Writes what others need to know of the cluster, and what it was made from.
    pub(super) fn remember_cluster(&self) -> Result<()> {
        let session = self.session();
        write(&session.instance.files.made_from(), &self.cluster.made_from)?;
        session.instance.files.write(&RunFile {
            cluster: session.instance.cluster().to_owned(),
            kubeconfig: session.instance.files.kubeconfig(),
            context: session.context(),
            namespace: session.namespace.clone(),
            ports: self.ports()?,
            control: None,
            labels: BTreeMap::new(),
        })
    }

    /// The node's own credentials, for use from this machine.
    fn kubeconfig(&self) -> Result<String> {
        let session = self.session();
        let sh = Shell::new()?;
        let node = session.instance.node();
        let ask = |words: &[&str]| {
            let deadline = ANSWER.min(self.running.left());
            Job::new(self.cluster.engine.exec(&sh, &node, false, words))
                .deadline(deadline)
                .cancel(self.running.cancel)
                .read()
        };
        let inside = ask(&["sh", "-c", CREDENTIALS, "sh", CREDENTIALS_FOLDER])?;
        let port =
            Job::new(self.cluster.engine.cmd(&sh).args(["port", &node, &format!("{API_PORT}/tcp")])).deadline(ANSWER);
        let port = port.cancel(self.running.cancel).read()?;
        let address = port.lines().next().context("the engine names no port of the API server")?.trim();
        outside(&inside, address, &session.instance.context())
    }

    /// The port of this machine that leads to each NodePort, as the engine tells: when the cluster was created, others may
    /// have been used than were chosen at first.
    fn ports(&self) -> Result<BTreeMap<u16, u16>> {
        let sh = Shell::new()?;
        let mut ports = BTreeMap::new();
        for node in &self.cluster.nodes {
            let ask = self.cluster.engine.cmd(&sh).args(["port", node]);
            ports.extend(host_ports(&Job::new(ask).deadline(ANSWER).cancel(self.running.cancel).read()?)?);
        }
        Ok(ports)
    }

    /// Waits until the cluster's DNS answers at its service's address.
    pub(super) fn dns(&self) -> Result<()> {
        let session = self.session();
        let kubectl = session.kubectl();
        let words = ["-n", "kube-system", "get", "service", "kube-dns", "--output", "jsonpath={.spec.clusterIP}"];
        let address = self.running.until("the service kube-dns", PAUSE, || {
            let address = kubectl.read(&words)?;
            ensure!(!address.is_empty(), "the service kube-dns has no address yet");
            Ok(address)
        })?;
        let sh = Shell::new()?;
        let started = Instant::now();
        let query = dns::query("kubernetes.default.svc.cluster.local");
        // From the node, whose way to a service is that of its pods: kube-proxy's rules, then CoreDNS.
        let script = format!(
            "exec 3<>/dev/tcp/{address}/53 && cat >&3 && timeout 2 head -c 2 <&3 | od -An -tu1 >/dev/null && timeout 2 head -c 12 <&3 | od -An -tu1"
        );
        self.running.until("an answer of the cluster's DNS", PAUSE, || {
            let ask =
                self.cluster.engine.exec(&sh, &session.instance.node(), true, &["timeout", "3", "bash", "-c", &script]);
            let answer = Job::new(ask).stdin(query.clone()).deadline(ANSWER).cancel(self.running.cancel).read()?;
            dns::check(&answer)
        })?;
        self.running
            .progress(format!("DNS answered {:.1} s after the cluster was there", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Brings one image into all nodes.
    pub(super) fn load(&self, image: &Image) -> Result<()> {
        let session = self.session();
        let nodes = &self.cluster.nodes;
        let reference = session.image_reference(image);
        let spool = session.instance.files.spool(&image.name);
        let (log, cancel) = (self.running.log, self.running.cancel);
        let loaded = load::load(&self.cluster.engine, nodes, &reference, &image.reference, &spool, log, cancel)?;
        self.running.context.add_bytes(loaded.moved_bytes);
        self.running.progress(format!("{} bytes moved, {} were there", loaded.moved_bytes, loaded.kept_bytes));
        Ok(())
    }
}

/// Whether an engine refused because the container does not run.
fn says_not_running(error: &anyhow::Error) -> bool {
    let said = format!("{error:#}");
    ["container state improper", "is not running"].iter().any(|words| said.contains(words))
}

/// The host's port of each TCP port of a container in the engine's list, but for the API server's.
fn host_ports(list: &str) -> Result<BTreeMap<u16, u16>> {
    let mut ports = BTreeMap::new();
    for line in list.lines() {
        // 30080/tcp -> 127.0.0.1:8080
        let Some((inside, address)) = line.split_once("/tcp -> ") else { continue };
        let number =
            |text: &str| text.trim().parse::<u16>().with_context(|| format!("the engine lists a port {line:?}"));
        let host = address.rsplit_once(':').map_or(address, |(_, port)| port);
        if number(inside)? != API_PORT {
            ports.insert(number(inside)?, number(host)?);
        }
    }
    Ok(ports)
}

/// A kubeconfig of kubeadm's with the address and the names that this machine knows the cluster by.
fn outside(inside: &str, address: &str, name: &str) -> Result<String> {
    let mut config: Value = serde_yaml::from_str(inside).context("reading the node's kubeconfig")?;
    let entry = |config: &mut Value, list: &str| -> Result<Value> {
        let first = config.get(list).and_then(Value::as_sequence).and_then(|list| list.first());
        first.cloned().with_context(|| format!("the node's kubeconfig has no {list}"))
    };
    let mut cluster = entry(&mut config, "clusters")?;
    let mut user = entry(&mut config, "users")?;
    let mut context = entry(&mut config, "contexts")?;
    // The certificate names this address whatever the engine calls it.
    let address = address.replace("0.0.0.0", "127.0.0.1").replace("localhost", "127.0.0.1");
    cluster["cluster"]["server"] = format!("https://{address}").into();
    for entry in [&mut cluster, &mut user, &mut context] {
        entry["name"] = name.into();
    }
    context["context"]["cluster"] = name.into();
    context["context"]["user"] = name.into();
    config["clusters"] = Value::Sequence(vec![cluster]);
    config["users"] = Value::Sequence(vec![user]);
    config["contexts"] = Value::Sequence(vec![context]);
    config["current-context"] = name.into();
    Ok(serde_yaml::to_string(&config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_are_those_that_need_no_role_binding() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        let sh = Shell::new().unwrap();
        let read = || Job::new(xshell::cmd!(sh, "sh -c {CREDENTIALS} sh {folder}")).read().ok();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        // In the order in which kubeadm writes them.
        write("admin.conf", "admin");
        assert_eq!(read(), None, "bound by a role that is not there yet, where others follow");
        write("super-admin.conf", "super-admin");
        write("scheduler.conf", "");
        assert_eq!(read(), None, "not all are written");
        write("scheduler.conf", "scheduler");
        assert_eq!(read().as_deref(), Some("super-admin"));
        std::fs::remove_file(dir.path().join("super-admin.conf")).unwrap();
        assert_eq!(read().as_deref(), Some("admin"), "as before Kubernetes 1.29");
    }

    #[test]
    fn ports_are_those_that_the_engine_lists() {
        let list = "6443/tcp -> 127.0.0.1:41000\n30080/tcp -> 127.0.0.1:8081\n30090/tcp -> [::1]:9090\n53/udp -> 127.0.0.1:5353\n";
        assert_eq!(host_ports(list).unwrap(), BTreeMap::from([(30080, 8081), (30090, 9090)]));
        assert!(host_ports("30080/tcp -> nowhere").unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn the_kubeconfig_gets_the_outer_address_and_one_name() {
        let inside = "
apiVersion: v1
kind: Config
clusters: [{ name: one, cluster: { server: 'https://one-control-plane:6443', certificate-authority-data: Q0E= } }]
users: [{ name: kubernetes-super-admin, user: { client-certificate-data: QQ== } }]
contexts: [{ name: kubernetes-super-admin@one, context: { cluster: one, user: kubernetes-super-admin } }]
current-context: kubernetes-super-admin@one
";
        let config: Value = serde_yaml::from_str(&outside(inside, "127.0.0.1:40001", "kind-one").unwrap()).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:40001");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], "Q0E=");
        assert_eq!(config["contexts"][0]["context"]["user"], "kind-one");
        assert_eq!(config["users"][0]["name"], "kind-one");
        assert_eq!(config["current-context"], "kind-one");
    }
}
