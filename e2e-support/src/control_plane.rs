//! A Kubernetes API server without a cluster: etcd and kube-apiserver as plain processes on 127.0.0.1.
//!
//! No controller runs here and no node exists: Pods are never scheduled, a deleted namespace stays in its termination,
//! and what owns what is what a client writes. Authorization is RBAC, admission is the API server's own but for the
//! ServiceAccount plugin, which would need a controller.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use camino::{Utf8Path, Utf8PathBuf};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use xshell::{Shell, cmd};

use crate::ports;
use crate::process::{Daemon, Job};

/// What both say where another process has taken a port meanwhile.
const PORT_IS_TAKEN: &str = "address already in use";

/// An API server that runs, with its etcd. Dropping it stops both; their files stay.
pub struct ControlPlane {
    // Fields are dropped in this order: the server goes before what it depends on.
    server: Daemon,
    etcd: Daemon,
    root: Utf8PathBuf,
    port: u16,
    token: String,
}

impl ControlPlane {
    /// Starts these programs on free ports, with all their files below `root`. They take some seconds to answer.
    ///
    /// # Errors
    /// When a file cannot be written or a program not be started.
    pub fn start(etcd: &Path, server: &Path, root: &Utf8Path) -> Result<ControlPlane> {
        std::fs::create_dir_all(root).with_context(|| format!("making the folder {root}"))?;
        let token = random_token()?;
        write_credentials(root, &token)?;
        let (etcd_port, port) = (ports::free()?, ports::free()?);
        let etcd = start_etcd(etcd, root, etcd_port)?;
        let server = start_server(server, root, etcd_port, port)?;
        Ok(ControlPlane { server, etcd, root: root.to_owned(), port, token })
    }

    /// Fails, with its last lines, when one of them no longer runs.
    ///
    /// # Errors
    /// Which one, and how it ended.
    pub fn check(&mut self) -> Result<()> {
        for (name, daemon) in [("etcd", &mut self.etcd), ("kube-apiserver", &mut self.server)] {
            daemon.check().with_context(|| format!("{name} ended"))?;
        }
        Ok(())
    }

    /// Such as `https://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The port of the API server on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bearer token of a member of `system:masters`, who may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The PEM file with what the server's certificate is verified against. The server writes it itself, soon after its
    /// start.
    pub fn ca_file(&self) -> Utf8PathBuf {
        self.root.join("certs/apiserver.crt")
    }

    /// What the API server logs.
    pub fn log(&self) -> Utf8PathBuf {
        self.root.join("kube-apiserver.log")
    }

    /// A kubeconfig, as text, for whoever has the token that `credential` tells, in `namespace`; its only context is
    /// `context`.
    pub fn kubeconfig(&self, context: &str, credential: &Credential<'_>, namespace: &str) -> String {
        let credential = match credential {
            Credential::Token(token) => format!("token: {token}"),
            Credential::TokenFile(file) => format!("tokenFile: {file}"),
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
             clusters:\n- name: server\n  cluster:\n    server: {}\n    certificate-authority: {}\n\
             users:\n- name: user\n  user:\n    {credential}\n\
             contexts:\n- name: {context}\n  context: {{cluster: server, user: user, namespace: {namespace}}}\n",
            self.url(),
            self.ca_file(),
        )
    }

    /// Ends both at once, as by a failing machine: for what nobody reads any more.
    pub fn kill(self) {
        self.server.kill();
        self.etcd.kill();
    }
}

/// How the user of a kubeconfig proves who it is.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// By this bearer token.
    Token(&'a str),
    /// By the bearer token in this file.
    TokenFile(&'a Utf8Path),
}

/// Whether a start failed because a port that was free a moment before was taken by another process: another try helps.
pub fn port_was_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains(PORT_IS_TAKEN)
}

fn start_server(program: &Path, root: &Utf8Path, etcd_port: u16, port: u16) -> Result<Daemon> {
    let shell = Shell::new().context("opening a shell for kube-apiserver")?;
    // It would make an endpoint of its address, and refuses to of a loopback one.
    let (etcd_port, port) = (etcd_port.to_string(), port.to_string());
    let command = cmd!(
        shell,
        "{program}
         --etcd-servers=http://127.0.0.1:{etcd_port} --bind-address=127.0.0.1 --advertise-address=127.0.0.1
         --endpoint-reconciler-type=none --secure-port={port} --cert-dir={root}/certs
         --service-cluster-ip-range=10.0.0.0/24
         --authorization-mode=RBAC --token-auth-file={root}/tokens.csv
         --service-account-issuer=https://kubernetes.default.svc
         --service-account-key-file={root}/service-accounts.pub
         --service-account-signing-key-file={root}/service-accounts.key
         --disable-admission-plugins=ServiceAccount --profiling=false
         --max-requests-inflight=800 --max-mutating-requests-inflight=400"
    );
    Job::new(command).log(root.join("kube-apiserver.log")).daemon()
}

fn start_etcd(program: &Path, root: &Utf8Path, port: u16) -> Result<Daemon> {
    let shell = Shell::new().context("opening a shell for etcd")?;
    let (port, peer_port) = (port.to_string(), ports::free()?.to_string());
    // Nothing here has to survive a power cut, so nothing waits for the disk.
    let command = cmd!(
        shell,
        "{program} --data-dir={root}/etcd --unsafe-no-fsync --log-level=warn
         --heartbeat-interval=10 --election-timeout=100
         --listen-client-urls=http://127.0.0.1:{port} --advertise-client-urls=http://127.0.0.1:{port}
         --listen-peer-urls=http://127.0.0.1:{peer_port} --initial-advertise-peer-urls=http://127.0.0.1:{peer_port}
         --initial-cluster=default=http://127.0.0.1:{peer_port}"
    );
    Job::new(command).log(root.join("etcd.log")).daemon()
}

/// What comes before the point in a P-256 public key's SubjectPublicKeyInfo (RFC 5480).
const P256_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The files with the administrator's token and with the keys of service account tokens; their owner's alone.
fn write_credentials(root: &Utf8Path, token: &str) -> Result<()> {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let (private, pair) = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
        .and_then(|private| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random)?;
            Ok((private, pair))
        })
        .map_err(|_| anyhow!("making the key of the service accounts: the system gave no random bytes"))?;
    let public = [&P256_KEY_INFO, pair.public_key().as_ref()].concat();
    for (file, text) in [
        ("service-accounts.key", pem("PRIVATE KEY", private.as_ref())),
        ("service-accounts.pub", pem("PUBLIC KEY", &public)),
        ("tokens.csv", format!("{token},admin,admin,system:masters\n")),
    ] {
        let path = root.join(file);
        let doing = || format!("writing {path}");
        // Temporary files are their owner's alone from the start.
        let mut new = tempfile::NamedTempFile::new_in(root).with_context(doing)?;
        std::io::Write::write_all(&mut new, text.as_bytes()).with_context(doing)?;
        new.persist(&path).with_context(doing)?;
    }
    Ok(())
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n")
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("making a token: the system gave no random bytes"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
