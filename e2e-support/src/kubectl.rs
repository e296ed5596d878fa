//! The kubectl program, always with a kubeconfig and a context of our own.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use crate::cancel::Cancel;
use crate::process::Job;

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

    /// Applies the documents in `yaml` (server-side, so that a second apply is a no-op).
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn apply(&self, yaml: &str, deadline: Duration, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let words = ["apply", "--server-side", "--force-conflicts", "--field-manager", "xtask", "--filename", "-"];
        Job::new(self.cmd(&sh).args(words)).stdin(yaml).deadline(deadline).log(log).cancel(cancel).run()
    }
}
