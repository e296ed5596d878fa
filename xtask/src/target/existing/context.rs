//! A copy of one context of the user's kubeconfig, and the API server behind it. The user's own file is only read.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8Path;
use e2e_support::Job;
use e2e_support::kubectl::Kubectl;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::disk;
use crate::error::WrongUsage;

/// How long an API server may take to say which it is.
const ANSWER: Duration = Duration::from_secs(15);
/// By so many minor versions a kubectl and an API server may be apart.
/// <https://kubernetes.io/releases/version-skew-policy/#kubectl>
const SKEW: u32 = 1;

/// Copies the context `name` of the user's kubeconfig, credentials included, to the file `to`, which only the user may
/// read. Returns the address of its API server.
///
/// # Errors
/// When there is no such context: which there are.
pub(super) fn copy(kubectl: &Utf8Path, name: &str, to: &Utf8Path) -> Result<String> {
    let sh = Shell::new()?;
    let view = ["config", "view", "--minify", "--flatten", "--raw", "--output", "json", "--context", name];
    let text = match Job::new(cmd!(sh, "{kubectl} {view...}")).deadline(ANSWER).read() {
        Ok(text) => text,
        Err(error) => {
            let contexts = Job::new(cmd!(sh, "{kubectl} config get-contexts --output name")).deadline(ANSWER).read();
            let contexts = contexts.unwrap_or_default();
            let contexts: Vec<&str> = contexts.lines().collect();
            if contexts.contains(&name) {
                return Err(error.context(format!("reading the context {name} of your kubeconfig")));
            }
            let known = if contexts.is_empty() { "it has none".to_owned() } else { contexts.join(", ") };
            return Err(WrongUsage(format!("your kubeconfig has no context {name}: {known}")).into());
        }
    };
    let config: Value = serde_json::from_str(&text).context("reading what kubectl prints of a kubeconfig")?;
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default().to_owned();
    ensure!(!server.is_empty(), "the context {name} of your kubeconfig names no API server");
    disk::write_secret(to, text)?;
    Ok(server)
}

/// Fails where the API server does not answer, or is of a version that this kubectl is not made for.
///
/// # Errors
/// In one line.
pub(super) fn must_fit(kubectl: &Kubectl, name: &str, server: &str) -> Result<()> {
    let sh = Shell::new()?;
    let words = ["version", "--output", "json", "--request-timeout", "10s"];
    let asked = Job::new(kubectl.cmd(&sh).args(words)).deadline(ANSWER).output()?;
    let versions: Value = serde_json::from_str(&asked.stdout).unwrap_or_default();
    let (Some(there), Some(here)) = (minor(&versions["serverVersion"]), minor(&versions["clientVersion"])) else {
        let said = asked.tail.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with(['{', '}', ' ']));
        bail!(
            "the API server of the context {name} ({server}) does not answer: {}",
            said.unwrap_or("kubectl says nothing")
        );
    };
    let version = |of: &str| versions[of]["gitVersion"].as_str().unwrap_or_default().to_owned();
    ensure!(
        there.abs_diff(here) <= SKEW,
        "the API server of the context {name} is of Kubernetes {}, and kubectl of {}: they may be one minor version apart; \
         --kubernetes 1.{there} takes another one, if images/setup.yaml has it",
        version("serverVersion"),
        version("clientVersion"),
    );
    Ok(())
}

/// The minor version; some providers add a sign to it.
fn minor(version: &Value) -> Option<u32> {
    version["minor"].as_str()?.trim_end_matches('+').parse().ok()
}
