//! The kubectl program, always with a kubeconfig and a context of our own.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xshell::{Cmd, Shell, cmd};

use crate::cancel::Cancel;
use crate::process::Job;

/// Who owns the fields that are applied here: the name under which the API server keeps them.
pub const MANAGER: &str = "xtask";
/// How long the API server may take over one small question.
const ANSWER: Duration = Duration::from_secs(30);

/// kubectl, bound to one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: Utf8PathBuf,
    kubeconfig: Utf8PathBuf,
    context: String,
}

impl Kubectl {
    pub fn new(
        program: impl Into<Utf8PathBuf>,
        kubeconfig: impl Into<Utf8PathBuf>,
        context: impl Into<String>,
    ) -> Kubectl {
        Kubectl { program: program.into(), kubeconfig: kubeconfig.into(), context: context.into() }
    }

    pub fn kubeconfig(&self) -> &Utf8Path {
        &self.kubeconfig
    }

    /// The start of a command line: the user's own kubeconfig and current context never count.
    pub fn cmd<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        let Kubectl { program, kubeconfig, context } = self;
        cmd!(sh, "{program} --kubeconfig {kubeconfig} --context {context}").env_remove("KUBECONFIG")
    }

    /// Runs kubectl with these words.
    ///
    /// # Errors
    /// As [`Job::read`].
    pub fn read(&self, words: &[&str]) -> Result<String> {
        let sh = Shell::new()?;
        Job::new(self.cmd(&sh).args(words)).deadline(ANSWER).read()
    }

    /// Runs kubectl with these words and `--output json`.
    ///
    /// # Errors
    /// As [`Job::read`], or when the answer is not JSON.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.read(&[words, &["--output", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("reading the answer of kubectl {}", words.join(" ")))
    }

    /// Applies the documents in `yaml` (server-side, so that a second apply is a no-op), as [`MANAGER`].
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn apply(&self, yaml: &str, deadline: Duration, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let words = ["apply", "--server-side", "--force-conflicts", "--field-manager", MANAGER, "--filename", "-"];
        Job::new(self.cmd(&sh).args(words)).stdin(yaml).deadline(deadline).log(log).cancel(cancel).run()
    }

    /// Those of the objects in `manifest` that the cluster has, with the managers of their fields. Of an object nothing
    /// but apiVersion, kind, name and namespace is looked at.
    ///
    /// # Errors
    /// As [`Job::read`], also where the cluster does not know the kind of one; or when the answer is not JSON.
    pub fn find(&self, manifest: &str, deadline: Duration, cancel: &Cancel) -> Result<Vec<Value>> {
        let sh = Shell::new()?;
        let words = ["get", "--ignore-not-found", "--show-managed-fields", "--output", "json", "--filename", "-"];
        let answer =
            Job::new(self.cmd(&sh).args(words)).stdin(manifest).deadline(deadline.min(ANSWER)).cancel(cancel).read()?;
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        let mut answer: Value = serde_json::from_str(&answer).context("reading the answer of kubectl get")?;
        Ok(match answer["items"].take() {
            Value::Array(items) => items,
            _ => vec![answer],
        })
    }

    /// Deletes the objects in `manifest` with everything that is theirs (a Deployment's pods), and waits until they are
    /// gone. Ones that are not there are no error.
    ///
    /// # Errors
    /// As [`Job::run`]; also when one of them is still there at the deadline.
    pub fn delete(&self, manifest: &str, deadline: Duration, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let words = ["delete", "--ignore-not-found", "--cascade=foreground", "--wait=true", "--filename", "-"];
        Job::new(self.cmd(&sh).args(words)).stdin(manifest).deadline(deadline).log(log).cancel(cancel).run()
    }

    /// Deletes the pod `name` if it is still the one with this UID, and does not wait for its end.
    ///
    /// # Errors
    /// As [`Job::run`]; also when another pod has its name now.
    pub fn delete_pod(&self, namespace: &str, name: &str, uid: &str, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        let command = self.cmd(&sh).args(["delete", "--raw", &path, "--filename", "-"]);
        Job::new(command).stdin(options.to_string()).deadline(ANSWER).log(log).cancel(cancel).run()
    }
}
