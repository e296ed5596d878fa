//! The cluster, its container runtime, its API server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_support::Job;
use e2e_support::clock::Instant;
use e2e_support::kind::Create;
use serde_yaml::Value;
use xshell::Shell;

use super::{Running, write, write_secret};
use crate::cluster::RunFile;

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

impl Running<'_> {
    /// Creates the cluster; a no-op where it is to stay as it is.
    pub(super) fn cluster(&self) -> Result<()> {
        let site = self.site;
        if site.cluster_is_there {
            return Ok(());
        }
        write(&site.instance.files.config(), &site.config.yaml)?;
        let create = Create {
            name: site.instance.cluster().to_owned(),
            config: site.instance.files.config(),
            node_image: site.node_image.clone(),
            // The one that is used is written as soon as the node has credentials.
            kubeconfig: site.instance.files.dir.join("kind.kubeconfig"),
            deadline: self.left(),
        };
        let _network = crate::cluster::hold_network(&site.paths.cache, self.cancel)?;
        site.kind.create(&create, self.log, self.cancel)
    }

    /// Waits until the node's containerd takes images.
    pub(super) fn node(&self) -> Result<()> {
        let site = self.site;
        let sh = Shell::new()?;
        self.until("the node's containerd", PAUSE, || {
            let ask = site.engine.exec(&sh, &site.node(), false, &["ctr", "--namespace", "k8s.io", "version"]);
            Job::new(ask).deadline(ANSWER.min(self.left())).cancel(self.cancel).read()
        })?;
        Ok(())
    }

    /// Waits until the API server answers, and writes the kubeconfig and the run file.
    pub(super) fn api(&self) -> Result<()> {
        let site = self.site;
        if !site.cluster_is_there {
            let kubeconfig = self.until("the cluster's credentials", PAUSE, || self.kubeconfig())?;
            write_secret(&site.instance.files.kubeconfig(), kubeconfig)?;
        }
        let kubectl = site.kubectl();
        let sh = Shell::new()?;
        self.until("the API server", PAUSE, || {
            let ask = kubectl.cmd(&sh).args(["get", "--raw", "/readyz"]);
            Job::new(ask).deadline(ANSWER.min(self.left())).cancel(self.cancel).read()
        })?;
        self.remember_cluster()
    }

    /// Writes what others need to know of the cluster, and what it was made from.
    pub(super) fn remember_cluster(&self) -> Result<()> {
        let site = self.site;
        write(&site.instance.files.made_from(), &site.made_from)?;
        site.instance.files.write(&RunFile {
            cluster: site.instance.cluster().to_owned(),
            kubeconfig: site.instance.files.kubeconfig(),
            context: site.instance.context(),
            namespace: site.namespace.clone(),
            ports: site.config.ports.clone(),
        })
    }

    /// The node's own credentials, for use from this machine.
    fn kubeconfig(&self) -> Result<String> {
        let site = self.site;
        let sh = Shell::new()?;
        let node = site.node();
        let ask = |words: &[&str]| {
            let deadline = ANSWER.min(self.left());
            Job::new(site.engine.exec(&sh, &node, false, words)).deadline(deadline).cancel(self.cancel).read()
        };
        let inside = ask(&["sh", "-c", CREDENTIALS, "sh", CREDENTIALS_FOLDER])?;
        let port =
            Job::new(site.engine.cmd(&sh).args(["port", &node, &format!("{API_PORT}/tcp")])).deadline(ANSWER).read()?;
        let address = port.lines().next().context("the engine names no port of the API server")?.trim();
        outside(&inside, address, &site.instance.context())
    }

    /// Waits until the cluster's DNS answers at its service's address.
    pub(super) fn dns(&self) -> Result<()> {
        let site = self.site;
        let kubectl = site.kubectl();
        let words = ["-n", "kube-system", "get", "service", "kube-dns", "--output", "jsonpath={.spec.clusterIP}"];
        let address = self.until("the service kube-dns", PAUSE, || {
            let address = kubectl.read(&words)?;
            ensure!(!address.is_empty(), "the service kube-dns has no address yet");
            Ok(address)
        })?;
        let sh = Shell::new()?;
        let started = Instant::now();
        let query = super::dns::query("kubernetes.default.svc.cluster.local");
        // From the node, whose way to a service is that of its pods: kube-proxy's rules, then CoreDNS.
        let script = format!(
            "exec 3<>/dev/tcp/{address}/53 && cat >&3 && timeout 2 head -c 2 <&3 | od -An -tu1 >/dev/null && timeout 2 head -c 12 <&3 | od -An -tu1"
        );
        self.until("an answer of the cluster's DNS", PAUSE, || {
            let ask = site.engine.exec(&sh, &site.node(), true, &["timeout", "3", "bash", "-c", &script]);
            let answer = Job::new(ask).stdin(query.clone()).deadline(ANSWER).cancel(self.cancel).read()?;
            super::dns::check(&answer)
        })?;
        self.progress(format!("DNS answered {:.1} s after the cluster was there", started.elapsed().as_secs_f64()));
        Ok(())
    }
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
