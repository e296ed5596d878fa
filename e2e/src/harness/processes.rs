//! Plain processes beside an API server as the surroundings of the specs: what a pod is in a cluster is a process here,
//! and whoever started them starts and stops them, asked through a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::controllers;
use super::deployed::{Deployed, LOG_LEVEL_VARIABLE, POLICY_FILE};
use super::surroundings::{Log, Part, Replica, Surroundings};
use super::wait::eventually;

/// The name of the API's port.
const API_PORT: &str = "http";
/// The name of the health port.
const HEALTH_PORT: &str = "health";
/// Where the gateway's policy is in an instance's folder.
const POLICY_FOLDER: &str = "policies";
/// For instances to come and go: above the longest of their grace periods, the gateway's 45 s.
const SCALE_DEADLINE: Duration = Duration::from_secs(90);
/// For one answer of the socket.
const ANSWER: Duration = Duration::from_secs(10);

/// What a run has started.
pub(crate) struct Processes {
    deployed: Deployed,
    socket: PathBuf,
}

/// One process, as the socket tells of it.
#[derive(Clone, Debug, Deserialize)]
struct Instance {
    name: String,
    phase: String,
    addresses: BTreeMap<String, String>,
    log: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Instances(Vec<Instance>),
    Error(String),
}

/// One instance at its own port.
struct AtPort {
    name: String,
    url: String,
}

impl Processes {
    /// Processes that are reached so, and changed through that socket.
    pub(crate) fn new(deployed: Deployed, socket: PathBuf) -> Processes {
        Processes { deployed, socket }
    }

    async fn ask(&self, part: Part, request: Value) -> Result<Vec<Instance>> {
        ask(&self.socket, part, request).await
    }

    async fn list(&self, part: Part) -> Result<Vec<Instance>> {
        self.ask(part, json!({"do": "list"})).await
    }

    async fn scale(&self, part: Part, count: usize) -> Result<Vec<Instance>> {
        self.ask(part, json!({"do": "scale", "count": count})).await?;
        self.settled(part, count, &BTreeSet::new()).await
    }

    /// Waits until a part consists of exactly `count` ready instances, none of which is one of `old`.
    async fn settled(&self, part: Part, count: usize, old: &BTreeSet<String>) -> Result<Vec<Instance>> {
        let what = format!("{} to be {count} ready instance(s) and no other", part.workload());
        eventually(SCALE_DEADLINE, &what, async || {
            let all = self.list(part).await?;
            let is_as_wanted = |instance: &Instance| instance.phase == "ready" && !old.contains(&instance.name);
            ensure!(all.len() == count && all.iter().all(is_as_wanted), "there are {}", shown(&all));
            Ok(all)
        })
        .await
    }

    /// Asks for other instances in the place of those that there are, and waits until it is so.
    async fn replace(&self, part: Part, request: Value) -> Result<()> {
        let old: BTreeSet<String> = self.list(part).await?.into_iter().map(|instance| instance.name).collect();
        ensure!(!old.is_empty(), "there is no instance of {} to replace", part.workload());
        self.ask(part, request).await?;
        self.settled(part, old.len(), &old).await.map(drop)
    }

    /// A port of each instance of a part.
    async fn at_port(&self, part: Part, port: &str) -> Result<Vec<Box<dyn Replica>>> {
        replicas(self.list(part).await?, port)
    }
}

/// Asks for something to be done with a part; returns its instances as they are then.
async fn ask(socket: &Path, part: Part, mut request: Value) -> Result<Vec<Instance>> {
    request["workload"] = json!(part.workload());
    let asked = async {
        let mut stream = UnixStream::connect(socket).await.context("connecting")?;
        stream.write_all(format!("{request}\n").as_bytes()).await.context("sending")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.context("waiting for the answer")?;
        match serde_json::from_str(&line).with_context(|| format!("reading the answer {line:?}"))? {
            Answer::Instances(instances) => Ok(instances),
            Answer::Error(error) => Err(anyhow!(error)),
        }
    };
    let answer = timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(anyhow!("no answer within {ANSWER:?}")));
    answer.with_context(|| format!("asking the run at {} for {request}", socket.display()))
}

fn replicas(instances: Vec<Instance>, port: &str) -> Result<Vec<Box<dyn Replica>>> {
    let replica = |instance: Instance| {
        let Some(address) = instance.addresses.get(port) else { bail!("{} has no port {port}", instance.name) };
        let url = format!("http://{address}");
        Ok(Box::new(AtPort { name: instance.name, url }) as Box<dyn Replica>)
    };
    instances.into_iter().map(replica).collect()
}

fn shown(instances: &[Instance]) -> String {
    let each: Vec<String> = instances.iter().map(|one| format!("{} ({})", one.name, one.phase)).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

impl Surroundings for Processes {
    fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    fn make_pods<'a>(&'a self, workload: &'a DynamicObject, count: usize) -> LocalBoxFuture<'a, Result<()>> {
        controllers::make_pods(&self.deployed.client, workload, count).boxed_local()
    }

    fn gateways_health(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        self.at_port(Part::Gateway, HEALTH_PORT).boxed_local()
    }

    fn datastorages(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        self.at_port(Part::DataStorage, API_PORT).boxed_local()
    }

    fn restart(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move {
            self.replace(part, json!({"do": "restart"})).await?;
            self.deployed.answers_after_a_restart(part, 1).await
        }
        .boxed_local()
    }

    fn run_gateway_with_log_level<'a>(&'a self, level: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        async move {
            self.replace(Part::Gateway, json!({"do": "change", "env": {LOG_LEVEL_VARIABLE: level}})).await?;
            self.deployed.answers(Part::Gateway, 1).await
        }
        .boxed_local()
    }

    fn try_policy<'a>(&'a self, rego: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        async move {
            let file = format!("{POLICY_FOLDER}/{POLICY_FILE}");
            self.ask(Part::Gateway, json!({"do": "change", "files": {file: rego}})).await.map(drop)
        }
        .boxed_local()
    }

    fn run_gateways(&self, count: usize) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>> {
        async move { replicas(self.scale(Part::Gateway, count).await?, API_PORT) }.boxed_local()
    }

    fn take_away(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move { self.scale(part, 0).await.map(drop) }.boxed_local()
    }

    fn bring_back(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move {
            self.scale(part, 1).await?;
            self.deployed.answers(part, 1).await
        }
        .boxed_local()
    }

    fn restore(&self, part: Part) -> LocalBoxFuture<'_, Result<()>> {
        async move {
            // A change without anything in it: as the suite says. Neither changes anything where it is so.
            self.ask(part, json!({"do": "change"})).await?;
            self.bring_back(part).await
        }
        .boxed_local()
    }

    fn logs(&self, part: Part, since: Timestamp) -> LocalBoxFuture<'_, Result<Vec<Log>>> {
        async move {
            let mut logs = Vec::new();
            for instance in self.list(part).await? {
                let text = tokio::fs::read(&instance.log).await;
                let text = text.with_context(|| format!("reading the log {}", instance.log.display()))?;
                let text = from(since - SignedDuration::from_secs(1), &String::from_utf8_lossy(&text));
                logs.push(Log { source: instance.name, text });
            }
            Ok(logs)
        }
        .boxed_local()
    }
}

/// What follows the last line that tells of a time before that. Lines that tell none are kept where they may be later.
fn from(since: Timestamp, log: &str) -> String {
    let is_before = |line: &&str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["timestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok()).is_some_and(|time| time < since)
    };
    let lines: Vec<&str> = log.lines().collect();
    let begin = lines.iter().rposition(is_before).map_or(0, |at| at + 1);
    lines[begin..].iter().map(|line| format!("{line}\n")).collect()
}

impl Replica for AtPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn a_log_is_told_from_a_time_on_with_what_tells_no_time() {
        let line = |second: u32| format!(r#"{{"timestamp":"2026-01-01T00:00:{second:02}Z","level":"INFO"}}"#);
        let since: Timestamp = "2026-01-01T00:00:05Z".parse().unwrap();
        let log = format!("started\n{}\n{}\nno JSON\n{}\n", line(1), line(4), line(5));
        assert_eq!(from(since, &log), format!("no JSON\n{}\n", line(5)));
        assert_eq!(from(since, "no JSON\n"), "no JSON\n");
        assert_eq!(from(since, &line(2)), "");
    }

    #[tokio::test]
    async fn the_socket_is_asked_by_lines_and_its_errors_name_request_and_socket() {
        let path = std::env::temp_dir().join(format!("specs-{}.sock", uuid::Uuid::new_v4()));
        let listener = UnixListener::bind(&path).unwrap();
        let answering = tokio::spawn(async move {
            let answer = r#"{"instances":[{"name":"redis-1","phase":"ready","addresses":{"redis":"127.0.0.1:1"},
                             "log":"/l","restarts":0,"said":null}]}"#;
            let mut asked = Vec::new();
            for answer in [answer.replace('\n', " "), r#"{"error":"no workload `redis`"}"#.to_owned()] {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                asked.push(serde_json::from_str::<Value>(&line).unwrap());
                stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
            asked
        });
        let instances = ask(&path, Part::Redis, json!({"do": "list"})).await.unwrap();
        assert_eq!((instances[0].name.as_str(), instances[0].phase.as_str()), ("redis-1", "ready"));
        let error = ask(&path, Part::Redis, json!({"do": "scale", "count": 0})).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("no workload `redis`") && error.contains("\"count\":0"), "{error}");
        let asked = answering.await.unwrap();
        assert_eq!(asked[0], json!({"do": "list", "workload": "redis"}));
        assert_eq!(asked[1], json!({"do": "scale", "workload": "redis", "count": 0}));
        std::fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", ask(&path, Part::Redis, json!({})).await.unwrap_err()).contains("specs-"));
    }
}
