//! The program itself: its arguments, its log, how it ends; and a handle that the failure runs use.

use std::path::PathBuf;
use std::time::Duration;

use e2e_support::{Daemon, Ended, Job, ProcessError};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::kubernetes::ApiServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xshell::{Shell, cmd};

use crate::stand::{Client, DEADLINE, EVENTS, Servers, event, unique, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_datastorage");

/// The service as a process of its own.
pub(crate) struct Process {
    pub(crate) client: Client,
    pub(crate) api: String,
    kubeconfig: Option<String>,
    daemon: Option<Daemon>,
    dir: TempDir,
    starts: usize,
    /// See [`Process::peak_mib`]; of those that are gone.
    past_peak_mib: u64,
}

impl Process {
    /// Writes the configuration, starts the program on free ports, and waits until it listens.
    pub(crate) fn start(servers: &Servers) -> Process {
        Process::start_with(servers, None)
    }

    /// With authentication by the Kubernetes API that this file leads to.
    fn start_with(servers: &Servers, kubeconfig: Option<String>) -> Process {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process {
            client: Client::new("", ""),
            api: String::new(),
            kubeconfig,
            daemon: None,
            dir,
            starts: 0,
            past_peak_mib: 0,
        };
        let (api, health) = process.run(servers, "127.0.0.1:0", "127.0.0.1:0");
        process.client = Client::new(&api, &health);
        process.write_config(servers, &api, &health);
        process.api = api;
        process
    }

    pub(crate) fn kill9(&mut self) {
        self.past_peak_mib = self.peak_mib();
        self.daemon.take().unwrap().kill();
    }

    /// The most that any of its processes has held so far, in MiB; 0 on a system that does not tell.
    pub(crate) fn peak_mib(&self) -> u64 {
        let peak_mib = self.daemon.as_ref().and_then(|daemon| testbed::peak_mib(daemon.pid()).ok());
        self.past_peak_mib.max(peak_mib.unwrap_or_default())
    }

    /// Starts it again, on the same ports.
    pub(crate) fn restart(&mut self) {
        self.launch();
    }

    /// What it holds in memory, in MiB.
    pub(crate) fn resident_mib(&self) -> u64 {
        testbed::resident_mib(self.daemon.as_ref().unwrap().pid()).unwrap()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join(format!("log-{}", self.starts))
    }

    fn write_config(&self, servers: &Servers, api: &str, health: &str) {
        let yaml = format!(
            "listen: {{api: '{api}', health: '{health}', metrics: '127.0.0.1:0'}}\n\
             auth: {{enabled: {}}}\n\
             postgres: {{address: '{}', password_file: '{}'}}\n\
             redis: {{address: '{}', password_file: '{}'}}\n\
             queue: {{retry_base_ms: 50, claim_idle_ms: 2000}}\n",
            self.kubeconfig.is_some(),
            servers.postgres.address(),
            servers.postgres.password_file().display(),
            servers.redis.address(),
            servers.redis.password_file().display(),
        );
        std::fs::write(self.dir.path().join("config.yaml"), yaml).unwrap();
    }

    fn run(&mut self, servers: &Servers, api: &str, health: &str) -> (String, String) {
        self.write_config(servers, api, health);
        self.launch()
    }

    /// Returns the addresses that its log tells.
    fn launch(&mut self) -> (String, String) {
        self.starts += 1;
        let (shell, config, log) = (Shell::new().unwrap(), self.dir.path().join("config.yaml"), self.log());
        let start = cmd!(shell, "{PROGRAM} --config {config}")
            .quiet()
            .env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or_default());
        let mut daemon = Job::new(start).log(log.to_str().unwrap()).daemon().unwrap();
        let mut addresses = None;
        daemon
            .wait_until("the service to listen", DEADLINE, || {
                let lines = std::fs::read_to_string(&log).unwrap_or_default();
                addresses = lines.lines().find_map(|line| {
                    let line: Value = serde_json::from_str(line).ok()?;
                    Some((line["api"].as_str()?.to_owned(), line["health"].as_str()?.to_owned()))
                });
                addresses.is_some()
            })
            .unwrap();
        self.daemon = Some(daemon);
        addresses.unwrap()
    }
}

/// At first PostgreSQL is away, as in a new cluster, so that the reason changes without it ever having been up.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_why_postgresql_never_came_up() {
    let mut servers = Servers::start();
    servers.postgres.stop().unwrap();
    let password = servers.postgres.password_file();
    let right = std::fs::read_to_string(&password).unwrap();
    let process = Process::start(&servers);
    let told = async |reason: &str| {
        let mut found = None;
        wait_for(&format!("the log to tell {reason}"), async || {
            let log = std::fs::read_to_string(process.log()).unwrap();
            found = log
                .lines()
                .find(|line| line.contains("PostgreSQL cannot be used") && line.contains(reason))
                .map(str::to_owned);
            found.is_some()
        })
        .await;
        serde_json::from_str::<Value>(&found.unwrap()).unwrap()
    };
    assert_eq!(told("Connection refused").await["level"], "WARN");

    std::fs::write(&password, "another password").unwrap();
    servers.postgres.restart().unwrap();
    told("password authentication failed").await;
    std::fs::write(&password, right).unwrap();
    process.client.wait_until_up("postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let servers = Servers::start();
    let mut process = Process::start(&servers);
    process.client.wait_until_up("postgres").await;
    let body = event(&unique("last")).to_string();
    let mut request = TcpStream::connect(&process.api).await.unwrap();
    let head =
        format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    request.write_all(head.as_bytes()).await.unwrap();
    // It must have been taken on: a slow start of the request would be no request in flight.
    tokio::time::timeout(DEADLINE, process.client.get(EVENTS)).await.unwrap();

    let mut daemon = process.daemon.take().unwrap();
    let pid = daemon.pid().to_string();
    let shell = Shell::new().unwrap();
    Job::new(cmd!(shell, "kill -TERM {pid}").quiet()).run().unwrap();
    wait_for("it to be not ready", async || process.client.ready().await.status == 503).await;
    request.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let mut end = None;
    wait_for("the end", async || {
        end = daemon.check().err();
        end.is_some()
    })
    .await;
    let end = end.unwrap();
    assert_eq!(end.downcast_ref::<ProcessError>().unwrap().ended, Ended::Exited(0), "{end:#}");

    let log = std::fs::read_to_string(process.log()).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered = lines.iter().find(|line| line["message"] == "answered").unwrap();
    assert!(answered["span"]["request_id"].is_string(), "a request's line bears its id: {answered}");
    assert!(!log.contains(testbed::postgres::PASSWORD) && !log.contains(testbed::redis::PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_accounts_that_are_allowed_get_in_with_a_token_that_is_meant_for_it() {
    let kubernetes = ApiServer::start().await.unwrap();
    let servers = Servers::start();
    let of_another = kubernetes.create_service_account("default", "known").await.unwrap();
    kubernetes.create_service_account("default", "stranger").await.unwrap();
    let known = kubernetes.token_of("default", "known", Some("datastorage")).await.unwrap();
    let stranger = kubernetes.token_of("default", "stranger", Some("datastorage")).await.unwrap();
    let client = kubernetes.client().unwrap();
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": "audit" },
        "rules": [{ "apiGroups": [""], "resources": ["services"], "resourceNames": ["datastorage"], "verbs": ["create"] }],
    }))
    .unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "audit" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "audit" },
        "subjects": [{ "kind": "ServiceAccount", "name": "known", "namespace": "default" }],
    }))
    .unwrap();
    let create = PostParams::default();
    Api::<Role>::namespaced(client.clone(), "default").create(&create, &role).await.unwrap();
    Api::<RoleBinding>::namespaced(client, "default").create(&create, &binding).await.unwrap();

    let mut process = Process::start_with(&servers, Some(kubernetes.kubeconfig().into_string()));
    process.client.wait_until_up("postgres").await;
    for (what, token, status) in [
        ("no token", None, 401),
        ("no token at all", Some("what"), 401),
        ("a token for another service", Some(of_another.as_str()), 401),
        ("an account that may not", Some(&stranger), 403),
        ("an account that may", Some(&known), 200),
        ("the same again", Some(&known), 200),
    ] {
        let mut request = process.client.request(reqwest::Method::GET, EVENTS);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = crate::stand::answer(request).await.unwrap();
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(status == 401, answer.headers.contains_key("www-authenticate"), "{what}");
    }
    assert_eq!(process.client.ready().await.status, 200, "probes need no token");
    let log = std::fs::read_to_string(process.log()).unwrap();
    assert!(!log.contains(&known) && !log.contains(&stranger), "no token is in the log");
    process.kill9();
}

#[test]
fn a_wrong_configuration_ends_it_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    std::fs::write(&config, "listen:\n  apy: 127.0.0.1:0\n").unwrap();
    let shell = Shell::new().unwrap();
    let job = |command: xshell::Cmd<'_>| Job::new(command.quiet()).deadline(Duration::from_secs(20)).output().unwrap();
    let wrong = job(cmd!(shell, "{PROGRAM} --config {config}"));
    assert_eq!(wrong.ended, Ended::Exited(1));
    assert!(wrong.tail.contains("apy") && wrong.tail.contains("line 2 column 3"), "{}", wrong.tail);
    let missing = job(cmd!(shell, "{PROGRAM} --config /no/such.yaml"));
    assert!(!missing.success() && missing.tail.contains("/no/such.yaml"), "{}", missing.tail);
    assert!(!job(cmd!(shell, "{PROGRAM} --verbose")).success());
    assert!(job(cmd!(shell, "{PROGRAM} --version")).stdout.starts_with("datastorage "));
}
