//! An engine's program, and how it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use super::flavor::Flavor;
use crate::process::Job;

/// An engine that does not answer a small question within this time is down.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// A container engine that has answered.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) flavor: Flavor,
    pub(super) program: Utf8PathBuf,
    pub(super) version: String,
    pub(super) env: Vec<(String, String)>,
    /// Where image builds are written down, so that what killed ones leave can be found.
    pub(super) journal: Option<Utf8PathBuf>,
    /// What [`Engine::look_up`] found.
    pub(super) known: Arc<Mutex<BTreeMap<String, Value>>>,
}

/// A container as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    /// `running`, `exited`, `created` and so on, in lower case.
    pub state: String,
    pub labels: Vec<(String, String)>,
}

impl Engine {
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The engine's (with docker: the daemon's) version.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    /// What has to be set in the environment of everything that calls this engine.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The start of a command line of this engine.
    pub fn cmd<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        let program = &self.program;
        cmd!(sh, "{program}").envs(self.env.iter().map(|(k, v)| (k, v)))
    }

    pub(crate) fn ask<'sh>(&self, sh: &'sh Shell, words: &[&str]) -> Job<'sh> {
        Job::new(self.cmd(sh).args(words)).deadline(ANSWER)
    }

    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command inside a running container.
    pub fn exec<'sh>(&self, sh: &'sh Shell, container: &str, stdin: bool, words: &[&str]) -> Cmd<'sh> {
        let cmd = self.cmd(sh).arg("exec");
        let cmd = if stdin { cmd.arg("--interactive") } else { cmd };
        cmd.arg(container).args(words)
    }

    /// Whether images and containers live on another machine than this one, mostly a virtual machine beside it (a Mac),
    /// where paths of this machine and its memory say little.
    pub fn is_remote(&self) -> bool {
        let variable = match self.flavor {
            Flavor::Podman => "CONTAINER_HOST",
            Flavor::Docker => "DOCKER_HOST",
        };
        let elsewhere = std::env::var(variable).unwrap_or_default();
        std::env::consts::OS != "linux" || !(elsewhere.is_empty() || elsewhere.starts_with("unix:"))
    }
}

/// An object of texts, as pairs.
pub(super) fn string_map(value: &Value) -> Vec<(String, String)> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
}
