//! A Kubernetes API server without a cluster: etcd and kube-apiserver as plain processes.
//!
//! What such a one does and what it does not: [`e2e_support::control_plane`].

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use camino::Utf8PathBuf;
use e2e_support::control_plane::{ControlPlane, Credential, port_was_taken};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec,
};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Config};

use crate::server::{find_program, forget_at_exit};

/// The environment variable that names etcd's program.
pub const ETCD_ENV: &str = "E2E_ETCD";
/// The environment variable that names kube-apiserver's program.
pub const API_SERVER_ENV: &str = "E2E_KUBE_APISERVER";

/// Some four seconds on an idle machine; a busy one gets its time.
const READY_DEADLINE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// A port that was free a moment ago may be taken when the server binds it.
const START_ATTEMPTS: usize = 3;

/// A running API server with its etcd. Dropping it, or the end of the process, stops both and removes their files.
pub struct ApiServer {
    // Fields are dropped in this order: the files go last.
    control_plane: ControlPlane,
    root: Utf8PathBuf,
    _dir: tempfile::TempDir,
}

impl ApiServer {
    /// Starts both, waits until the server says that it is ready, and applies the project's CRDs.
    ///
    /// # Errors
    /// When a program is not there, does not start, or is not ready after two minutes; with the last lines that it
    /// printed.
    pub async fn start() -> Result<Self> {
        let etcd_program = find_program(ETCD_ENV, "etcd", Vec::new())?;
        let server_program = find_program(API_SERVER_ENV, "kube-apiserver", Vec::new())?;
        let mut last = anyhow!("never tried");
        for _ in 0..START_ATTEMPTS {
            match Self::start_once(&etcd_program, &server_program).await {
                Ok(started) => return Ok(started),
                Err(error) if port_was_taken(&error) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last.context(format!("no free port was still free in {START_ATTEMPTS} attempts")))
    }

    async fn start_once(etcd_program: &Path, server_program: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("apiserver-").tempdir().context("making a temporary folder")?;
        forget_at_exit(dir.path());
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned())
            .map_err(|path| anyhow!("the temporary folder {} is not UTF-8", path.display()))?;
        let control_plane = ControlPlane::start(etcd_program, server_program, &root)?;
        let mut started = Self { control_plane, root, _dir: dir };
        started.wait_ready().await?;
        let text = started.control_plane.kubeconfig("testbed", &Credential::Token(started.token()), "default");
        std::fs::write(started.kubeconfig(), text).context("writing the kubeconfig")?;
        started.apply_crds().await?;
        Ok(started)
    }

    /// Such as `https://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        self.control_plane.url()
    }

    /// The bearer token of a member of `system:masters`, who may do everything.
    pub fn token(&self) -> &str {
        self.control_plane.token()
    }

    /// The PEM file with what the server's certificate is verified against.
    pub fn ca_file(&self) -> Utf8PathBuf {
        self.control_plane.ca_file()
    }

    /// A kubeconfig for the all-powerful user.
    pub fn kubeconfig(&self) -> Utf8PathBuf {
        self.root.join("kubeconfig")
    }

    /// A client of the all-powerful user.
    ///
    /// # Errors
    /// When the server's certificate cannot be read.
    pub fn client(&self) -> Result<Client> {
        self.client_with_token(self.token())
    }

    /// A client of whoever the token belongs to.
    ///
    /// # Errors
    /// When the server's certificate cannot be read.
    pub fn client_with_token(&self, token: &str) -> Result<Client> {
        Client::try_from(self.config(token)?).context("making a Kubernetes client")
    }

    /// The client configuration of whoever the token belongs to.
    ///
    /// # Errors
    /// When the server's certificate cannot be read.
    pub fn config(&self, token: &str) -> Result<Config> {
        let file = self.ca_file();
        let bundle = std::fs::read(&file).with_context(|| format!("reading the API server's certificate {file}"))?;
        let mut config = Config::new(self.url().parse().context("the API server's address is no URI")?);
        config.root_cert = Some(certificates(&bundle)?);
        config.auth_info.token = Some(token.to_owned().into());
        config.default_retry = false;
        Ok(config)
    }

    /// Makes a namespace with this name and these labels.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let api: Api<Namespace> = Api::all(self.client()?);
        api.create(&PostParams::default(), &namespace)
            .await
            .map(drop)
            .with_context(|| format!("creating the namespace {name}"))
    }

    /// Makes a service account and returns a token of it that is good for an hour.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create_service_account(&self, namespace: &str, name: &str) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        api.create(&PostParams::default(), &account)
            .await
            .with_context(|| format!("creating the service account {namespace}/{name}"))?;
        self.token_of(namespace, name, None).await
    }

    /// A token of a service account that is good for an hour, and for `audience`; without one, for the API server.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn token_of(&self, namespace: &str, name: &str, audience: Option<&str>) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let audiences = audience.into_iter().map(str::to_owned).collect();
        let spec = TokenRequestSpec { audiences, expiration_seconds: Some(3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = api
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("asking for a token of the service account {namespace}/{name}"))?;
        answer.status.map(|status| status.token).context("the API server answered a token request without a token")
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY_DEADLINE;
        let mut last = "no answer yet".to_owned();
        let mut client = None;
        loop {
            self.control_plane.check().context("waiting for the API server")?;
            // The certificate is written by the server itself: there is none yet at first.
            if client.is_none() && self.ca_file().exists() {
                client = self.client().ok();
            }
            if let Some(client) = &client {
                match readiness(client).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            if Instant::now() >= end {
                let log = std::fs::read_to_string(self.control_plane.log()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(15)..].join("\n");
                let (url, seconds) = (self.url(), READY_DEADLINE.as_secs());
                bail!("kube-apiserver at {url} is not ready after {seconds} s: {last}; it last said:\n{tail}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn apply_crds(&self) -> Result<()> {
        let client = self.client()?;
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for (file, definition) in api::custom_resource_definitions() {
            let name =
                definition.metadata.name.clone().with_context(|| format!("the definition in {file} has no name"))?;
            api.patch(&name, &PatchParams::apply("testbed").force(), &Patch::Apply(&definition))
                .await
                .with_context(|| format!("applying the CRD {name}"))?;
            let CustomResourceDefinitionSpec { group, names, versions, .. } = &definition.spec;
            let version = versions.first().with_context(|| format!("the CRD {name} has no version"))?;
            let url = format!("/apis/{group}/{}/{}", version.name, names.plural);
            let end = Instant::now() + READY_DEADLINE;
            // Established is not enough: the first requests may still find the storage being made.
            while let Err(error) = client.request_text(Request::new(&url).list(&ListParams::default())?).await {
                if Instant::now() >= end {
                    bail!("{url} is not served {} s after its CRD was applied: {error}", READY_DEADLINE.as_secs());
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }
}

/// Whether the server says that it is ready; otherwise what is not.
async fn readiness(client: &Client) -> Result<(), String> {
    let asked = async {
        let request = Request::new("/readyz").list(&ListParams::default()).map_err(|error| error.to_string())?;
        match client.request_text(request).await {
            Ok(_) => {}
            // One line for each check, those that failed with a minus.
            Err(kube::Error::Api(status)) => {
                let failed: Vec<&str> = status.message.lines().filter(|line| line.starts_with("[-]")).collect();
                return Err(if failed.is_empty() { status.to_string() } else { failed.join(", ") });
            }
            Err(error) => return Err(error.to_string()),
        }
        // Without the default namespace the server is still bootstrapping, whatever /readyz says.
        Api::<Namespace>::all(client.clone()).get("default").await.map(drop).map_err(|error| error.to_string())
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
    answer.unwrap_or_else(|_| Err("no answer within 5 s".to_owned()))
}

/// The DER certificates of a PEM bundle.
fn certificates(bundle: &[u8]) -> Result<Vec<Vec<u8>>> {
    let text = std::str::from_utf8(bundle).context("the API server's certificate is not PEM")?;
    let blocks = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let decoded: Result<Vec<_>> = blocks
        .map(|block| {
            let body: String = block.split("-----END").next().unwrap_or_default().split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(body).context("the API server's certificate is not PEM")
        })
        .collect();
    let decoded = decoded?;
    if decoded.is_empty() {
        bail!("the API server's certificate file holds no certificate");
    }
    Ok(decoded)
}
