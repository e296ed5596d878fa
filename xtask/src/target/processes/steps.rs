//! What the steps of a plan do where its workloads are processes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use e2e_support::clock::Instant;
use e2e_support::control_plane::{ControlPlane, Credential, port_was_taken};
use e2e_support::{Job, kubectl};
use xshell::Shell;

use super::instance::token_file;
use super::launch::{Launch, Program, is_workload};
use super::local::Local;
use crate::disk;
use crate::instance::RunFile;
use crate::plan::{Object, ObjectRef};
use crate::target::session::Running;

/// A port that was free a moment ago may be taken when a server binds it.
const START_ATTEMPTS: u32 = 3;
/// Between two looks at an API server that starts.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take over an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long tokens of workloads are good for: longer than any run, and than most of what is left running.
const TOKEN_LIFE: &str = "24h";

impl Local {
    /// Starts etcd and kube-apiserver, waits until they answer, and tells where.
    pub(super) fn start_api(&self, running: &Running<'_>) -> Result<()> {
        let root = self.work.join("control-plane");
        let mut last = anyhow!("it was not tried");
        for _ in 0..START_ATTEMPTS {
            disk::remove_folder(&root)?;
            let mut started = ControlPlane::start(self.etcd.as_std_path(), self.api_server.as_std_path(), &root)?;
            let session = running.session;
            let kubeconfig = session.instance.files.kubeconfig();
            let context = session.context();
            let text = started.kubeconfig(&context, &Credential::Token(started.token()), &session.namespace);
            disk::write_secret(&kubeconfig, text)?;
            match answers(&mut started, running) {
                Ok(()) => {
                    *self.control_plane() = Some(started);
                    return session.instance.files.write(&RunFile {
                        cluster: session.instance.cluster().to_owned(),
                        kubeconfig,
                        context,
                        namespace: session.namespace.clone(),
                        ports: self.ports.clone(),
                        control: Some(self.socket.clone()),
                        labels: BTreeMap::new(),
                    });
                }
                Err(error) if port_was_taken(&error) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last.context(format!("no free port was still free in {START_ATTEMPTS} attempts")))
    }

    /// Applies the objects of a group, but for those that make pods: a process stands for each of them.
    pub(super) fn apply(&self, running: &Running<'_>, group: &str) -> Result<()> {
        let session = running.session;
        let group = session.suite.group(group).with_context(|| format!("the suite has no group {group}"))?;
        let objects: Vec<&Object> = session.manifests.of(&group.files).filter(|object| !is_workload(object)).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let mut documents = String::new();
        for object in &objects {
            documents.push_str("---\n");
            documents.push_str(&serde_yaml::to_string(&object.value).context("writing a manifest")?);
        }
        let kubectl = session.kubectl();
        kubectl.apply(&documents, running.left(), running.log, running.cancel)?;
        let definitions = objects.iter().filter(|object| object.reference.kind == "CustomResourceDefinition");
        let definitions: Vec<String> = definitions.map(|object| format!("crd/{}", object.reference.name)).collect();
        if definitions.is_empty() {
            return Ok(());
        }
        let shell = Shell::new()?;
        let timeout = format!("--timeout={}s", running.left().as_secs().max(1));
        let wait = kubectl.cmd(&shell).args(["wait", "--for=condition=Established", &timeout]).args(definitions);
        Job::new(wait).deadline(running.left()).log(running.log).cancel(running.cancel).run()
    }

    /// Starts a workload, and waits until it is ready.
    pub(super) fn start(&self, running: &Running<'_>, workload: &ObjectRef) -> Result<()> {
        let launch = self.supervisor.shared.launch(&workload.name)?.clone();
        self.write_credentials(running, &launch)?;
        if let Program::Package(package) = &launch.program {
            self.supervisor.shared.folders.keep_binary(package)?;
        }
        self.supervisor.start(&workload.name, running.end, running.cancel)
    }

    /// Writes what the workload proves by who it is, as far as it reads that.
    fn write_credentials(&self, running: &Running<'_>, launch: &Launch) -> Result<()> {
        let account = self.supervisor.shared.folders.account(&launch.workload);
        let kubectl = running.session.kubectl();
        for audience in launch.audiences() {
            disk::write_secret(&token_file(&account, audience), token(&kubectl, launch, Some(audience))?)?;
        }
        if launch.has_kubeconfig() {
            let file = account.join("token");
            disk::write_secret(&file, token(&kubectl, launch, None)?)?;
            let control_plane = self.control_plane();
            let server = control_plane.as_ref().context("the API server does not run")?;
            let text = server.kubeconfig(&running.session.context(), &Credential::TokenFile(&file), &launch.namespace);
            disk::write_secret(&account.join("kubeconfig"), text)?;
        }
        Ok(())
    }
}

/// A token of the workload's account.
fn token(kubectl: &kubectl::Kubectl, launch: &Launch, audience: Option<&str>) -> Result<String> {
    let words = ["--namespace", &launch.namespace, "create", "token", &launch.account, "--duration", TOKEN_LIFE];
    let audience = audience.map(|audience| ["--audience", audience]);
    let words: Vec<&str> = words.into_iter().chain(audience.into_iter().flatten()).collect();
    kubectl.read(&words)
}

/// Waits until the API server says that it is ready.
fn answers(server: &mut ControlPlane, running: &Running<'_>) -> Result<()> {
    running.context.asks_for("the API server to answer", LOOK);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let kubectl = running.session.kubectl();
    loop {
        server.check().context("waiting for the API server to answer")?;
        // A start of kubectl costs more than this, and takes from what is waited for.
        let last = match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => match kubectl.read(&["get", "--raw", "/readyz"]) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => anyhow!("connecting to {address}: {error}"),
        };
        if running.cancel.sleep(LOOK) {
            let reason = running.cancel.reason().unwrap_or("cancelled").to_owned();
            bail!("waiting for the API server to answer, stopped: {reason}");
        }
        if Instant::now() >= running.end {
            return Err(last.context("waiting for the API server to answer"));
        }
    }
}
