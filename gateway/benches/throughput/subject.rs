//! The gateway as a process of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Daemon, Job};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use xshell::{Shell, cmd};

const START_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Subject {
    http: reqwest::Client,
    api: String,
    metrics: String,
    token: String,
    log: Utf8PathBuf,
    // Dropped in this order: the process goes before its files.
    _daemon: Daemon,
    _dir: tempfile::TempDir,
}

impl Subject {
    pub(crate) async fn start(server: &ApiServer) -> Result<Self> {
        let dir = tempfile::tempdir().context("making a temporary folder")?;
        let root =
            Utf8PathBuf::from_path_buf(dir.path().to_owned()).ok().context("the temporary folder is not UTF-8")?;
        let policy =
            Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.app/gateway/policies/remediation_path.rego");
        let (file, log) = (root.join("config.yaml"), root.join("log"));
        let config = format!(
            "server: {{api_address: '127.0.0.1:0', health_address: '127.0.0.1:0', metrics_address: '127.0.0.1:0'}}\n\
             kubernetes: {{namespace: gateway-home}}\npolicy: {{path: {policy}}}\n"
        );
        std::fs::write(&file, config).with_context(|| format!("writing {file}"))?;
        let (shell, program) = (Shell::new()?, env!("CARGO_BIN_EXE_gateway"));
        let command = cmd!(shell, "{program} --config {file}").env("KUBECONFIG", server.kubeconfig());
        let mut daemon = Job::new(command).log(&log).daemon()?;
        let started = wait_until_serving(&mut daemon, &log).await?;
        let address = |key: &str| started[key].as_str().context("the log names no address");
        let (api, metrics) = (format!("http://{}", address("api")?), format!("http://{}", address("metrics")?));
        let token = server.token().to_owned();
        Ok(Self { http: reqwest::Client::new(), api, metrics, token, log, _daemon: daemon, _dir: dir })
    }

    /// Sends a signal that must be a new problem.
    pub(crate) async fn distinct(&self, name: &str) -> Result<()> {
        match self.send(name).await? {
            201 => Ok(()),
            status => bail!("{name} was answered {status}, not 201; {}", self.last_error()),
        }
    }

    /// Sends a signal that may be known.
    pub(crate) async fn any(&self, name: &str) -> Result<()> {
        match self.send(name).await? {
            201 | 202 => Ok(()),
            status => bail!("{name} was answered {status}, neither 201 nor 202; {}", self.last_error()),
        }
    }

    /// What the gateway last complained about.
    fn last_error(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let line = log.lines().rev().find(|line| line.contains(r#""level":"ERROR""#));
        format!("its last error: {}", line.unwrap_or("none"))
    }

    async fn send(&self, name: &str) -> Result<u16> {
        let webhook = json!({"version": "4", "status": "firing", "alerts": [alert(name)]});
        let request = self.http.post(format!("{}/api/v1/signals/prometheus", self.api)).bearer_auth(&self.token);
        let answer = request.json(&webhook).send().await.context("sending a signal")?;
        let status = answer.status().as_u16();
        answer.bytes().await.context("reading an answer")?;
        Ok(status)
    }

    pub(crate) async fn resident_bytes(&self) -> Result<f64> {
        let text = self.http.get(format!("{}/metrics", self.metrics)).send().await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.and_then(|bytes| bytes.parse().ok()).context("/metrics has no process_resident_memory_bytes")
    }
}

async fn wait_until_serving(daemon: &mut Daemon, log: &Utf8Path) -> Result<Value> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        daemon.check()?;
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.into_iter().find(|line| line["message"] == "serving") {
            return Ok(line);
        }
        if Instant::now() >= end {
            bail!("the gateway does not serve after {} s; it last said:\n{text}", START_DEADLINE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An alert about a Deployment, of the usual size.
pub(crate) fn alert(name: &str) -> Value {
    json!({
        "status": "firing",
        "labels": {"alertname": "HighLoad", "namespace": "bench", "deployment": name, "severity": "critical", "job": "kubelet"},
        "annotations": {"summary": "the load is high", "runbook_url": "https://runbooks.example.com/high-load"},
        "startsAt": Timestamp::now().to_string(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=node_load1",
        "fingerprint": "c4b9d2e6a1f07e55",
    })
}
