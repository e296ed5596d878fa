//! The gateway as a process: start-up errors, logs, SIGTERM.

use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Ended, Job};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::support::alerts::{PROMETHEUS, about_deployment};
use crate::support::sink::Sink;
use crate::support::{World, policy, server, test, wait_for};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

pub(crate) fn job(dir: &Utf8Path, config: &str) -> Job<'static> {
    let file = dir.join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let shell = Shell::new().unwrap();
    let command = cmd!(shell, "{GATEWAY} --config {file}").env("KUBECONFIG", server().kubeconfig());
    Job::new(command).deadline(Duration::from_secs(20))
}

/// Runs a gateway that must not come up, and returns what it said.
fn refused(dir: &Utf8Path, config: &str) -> String {
    let finished = job(dir, config).output().unwrap();
    assert_eq!(finished.ended, Ended::Exited(1), "{}", finished.tail);
    finished.tail
}

pub(crate) fn settings(world: &World, policy: &Path, more: &str) -> String {
    format!(
        "server: {{api_address: '127.0.0.1:0', health_address: '127.0.0.1:0', metrics_address: '127.0.0.1:0'}}\n\
         kubernetes: {{namespace: {}}}\npolicy: {{path: {}}}\n{more}",
        world.home,
        policy.display(),
    )
}

pub(crate) fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

#[test]
fn what_is_wrong_stops_the_start_and_is_named() {
    test(async |world| {
        let (_guard, dir) = folder();
        let said = refused(&dir, "server:\n  api_adress: 127.0.0.1:0\n");
        assert!(
            said.contains("config.yaml") && said.contains("api_adress") && said.contains("line 2 column 3"),
            "{said}"
        );
        let missing = dir.join("missing.rego");
        let said = refused(&dir, &settings(&world, missing.as_std_path(), ""));
        assert!(said.contains(missing.as_str()), "{said}");
        let broken = dir.join("broken.rego");
        std::fs::write(&broken, "package kubernaut.gateway.remediation\n\npath := \n").unwrap();
        let said = refused(&dir, &settings(&world, broken.as_std_path(), ""));
        assert!(said.contains(&format!("{broken}:3:")) || said.contains(&format!("{broken}:4:")), "{said}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let config = settings(&world, &policy(), "").replacen("127.0.0.1:0", &address.to_string(), 1);
        let said = refused(&dir, &config);
        assert!(said.contains(&address.to_string()) && said.contains("server.api_address"), "{said}");
    });
}

/// The log's lines so far; each must be a JSON object.
pub(crate) fn lines(log: &Utf8Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    // The last one may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {line}: {error}")))
        .collect()
}

#[test]
fn a_process_serves_logs_and_ends_on_sigterm() {
    test(async |world| {
        let (_guard, dir) = folder();
        let log = dir.join("gateway.log");
        let sink = Sink::start().await;
        let more = format!("audit: {{url: '{}', linger_ms: 60000}}\nlog: {{level: debug}}\n", sink.url().unwrap());
        let mut daemon = job(&dir, &settings(&world, &policy(), &more)).log(&log).daemon().unwrap();
        let started = wait_for("the gateway to serve", async || {
            daemon.check().unwrap();
            lines(&log).into_iter().find(|line| line["message"] == "serving")
        })
        .await;
        let url = format!("http://{}{PROMETHEUS}", started["api"].as_str().unwrap());
        let http = reqwest::Client::new();
        let send =
            async |token: &str, body: String| http.post(&url).bearer_auth(token).body(body).send().await.unwrap();
        let stranger = "very-secret-token-of-nobody";
        let mut ids = Vec::new();
        for (token, body, status) in [
            (world.token.as_str(), about_deployment(&world.namespace, "web").to_string(), 201),
            (world.token.as_str(), about_deployment(&world.namespace, "web").to_string(), 202),
            (world.token.as_str(), "{".to_owned(), 400),
            (stranger, "{}".to_owned(), 401),
        ] {
            let answer = send(token, body).await;
            assert_eq!(answer.status().as_u16(), status);
            ids.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
        }
        assert_eq!(sink.events().len(), 0, "the audit still waits for more");
        daemon_ends_well(daemon, &log);
        assert_eq!(sink.events().len(), 3, "it was flushed");
        let lines = lines(&log);
        for id in ids {
            let answered =
                lines.iter().filter(|line| line["message"] == "answered" && line["request_id"] == id.as_str()).count();
            assert_eq!(answered, 1, "one line for the request {id}");
        }
        let text = std::fs::read_to_string(&log).unwrap();
        for token in [world.token.as_str(), stranger, server().token()] {
            assert!(!text.contains(token), "a token is in the log");
        }
        assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{text}");
    });
}

fn daemon_ends_well(mut daemon: e2e_support::Daemon, log: &Utf8Path) {
    let pid = daemon.pid().to_string();
    let shell = Shell::new().unwrap();
    Job::new(cmd!(shell, "kill -TERM {pid}")).run().unwrap();
    let ended = daemon.wait_until("the gateway's end", Duration::from_secs(20), || {
        lines(log).iter().any(|line| line["message"] == "shut down")
    });
    // It may have ended before it was asked for the line.
    if let Err(error) = ended {
        assert!(format!("{error:#}").contains("exit code 0"), "{error:#}");
        return;
    }
    let error = daemon.wait_until("its exit", Duration::from_secs(20), || false).unwrap_err();
    assert!(format!("{error:#}").contains("exit code 0"), "{error:#}");
}

#[test]
fn it_tells_its_version_and_refuses_what_it_does_not_know() {
    let shell = Shell::new().unwrap();
    let said = Job::new(cmd!(shell, "{GATEWAY} --version")).read().unwrap();
    assert!(said.starts_with(&format!("gateway {} (", gateway::build_info::VERSION)), "{said}");
    let finished = Job::new(cmd!(shell, "{GATEWAY} --port 8080")).output().unwrap();
    assert_eq!(finished.ended, Ended::Exited(1));
    assert!(finished.tail.contains("--port") && finished.tail.contains("usage:"), "{}", finished.tail);
}
