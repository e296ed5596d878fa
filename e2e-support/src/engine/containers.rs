//! The engine's containers and their volumes.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8Path;
use serde_json::Value;
use xshell::Shell;

use super::client::{ANSWER, Container, Engine, string_map};
use super::flavor::Flavor;
use crate::network;
use crate::process::Job;

/// How often containers are listed until none of them goes meanwhile.
const TRIES: u32 = 5;

impl Engine {
    /// All containers, the dead ones included, that carry the label `key` (with `value`, if given).
    ///
    /// # Errors
    /// When the engine does not answer as expected.
    pub fn containers(&self, key: &str, value: Option<&str>) -> Result<Vec<Container>> {
        let filter = match value {
            Some(value) => format!("label={key}={value}"),
            None => format!("label={key}"),
        };
        // Others may remove theirs at any time; that often in a row is no accident.
        for _ in 0..TRIES {
            if let Some(list) = self.inspect_all(&["--filter", &filter])? {
                return Ok(list.iter().map(container).collect());
            }
        }
        bail!(
            "asking {} for its containers with the {filter}: one of those listed was gone when it was looked at, \
             {TRIES} times in a row; wait until nothing else removes containers, and try again",
            self.flavor
        )
    }

    /// What the engine knows of all containers that `filters` let pass, the dead ones included; `None` where one of them
    /// has gone between listing and looking.
    pub(crate) fn inspect_all(&self, filters: &[&str]) -> Result<Option<Vec<Value>>> {
        let sh = Shell::new()?;
        let list = Job::new(self.cmd(&sh).args(["ps", "--all", "--quiet", "--no-trunc"]).args(filters));
        let list = list.deadline(ANSWER).read()?;
        let ids: Vec<&str> = list.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let out = Job::new(self.cmd(&sh).args(["container", "inspect"]).args(&ids)).deadline(ANSWER).output()?;
        if !out.success() {
            ensure!(is_unknown(&out.tail), "asking {} for its containers: {}", self.flavor, out.tail);
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&out.stdout).context("reading the engine's list of containers")?))
    }

    /// One container by its name; `None` where there is none.
    ///
    /// # Errors
    /// When the engine does not answer as expected.
    pub fn container(&self, name: &str) -> Result<Option<Container>> {
        let sh = Shell::new()?;
        let out = self.ask(&sh, &["container", "inspect", name]).output()?;
        if !out.success() {
            ensure!(is_unknown(&out.tail), "asking {} for the container {name}: {}", self.flavor, out.tail);
            return Ok(None);
        }
        let list: Vec<Value> = serde_json::from_str(&out.stdout).context("reading the engine's container")?;
        Ok(list.first().map(container))
    }

    /// Kills and removes containers together with their anonymous volumes. Ones that are already
    /// gone are no error. A second try is made where the first one fails: podman's does when the container was left
    /// half made, with its mounts, and puts that in order on its way.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn remove_containers(&self, names: &[&str], log: Option<&Utf8Path>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let sh = Shell::new()?;
        // A node's systemd does not stop on a signal within the engine's grace. (docker's `rm --force` gives none.)
        let force: &[&str] = match self.flavor {
            Flavor::Podman => &["rm", "--force", "--time", "0", "--volumes"],
            Flavor::Docker => &["rm", "--force", "--volumes"],
        };
        let words: Vec<&str> = force.iter().chain(names).copied().collect();
        let remove = || {
            let remove = self.ask(&sh, &words).deadline(Duration::from_secs(60)).leader_first();
            match log {
                Some(log) => remove.log(log).run(),
                None => remove.run(),
            }
        };
        remove().or_else(|_| remove())?;
        network::restore_answers(self).map(drop)
    }

    /// Removes the volumes that carry the label `key`: with podman, kind makes a named volume for each node
    /// and labels it with the node's name.
    ///
    /// # Errors
    /// When the engine does not answer, or a container still uses one.
    pub fn remove_volumes(&self, key: &str) -> Result<()> {
        if self.flavor != Flavor::Podman {
            return Ok(());
        }
        let sh = Shell::new()?;
        let list = self.ask(&sh, &["volume", "ls", "--quiet", "--filter", &format!("label={key}")]).read()?;
        let names: Vec<&str> = list.split_whitespace().collect();
        if names.is_empty() {
            return Ok(());
        }
        let words: Vec<&str> = ["volume", "rm", "--force"].iter().chain(&names).copied().collect();
        self.ask(&sh, &words).deadline(Duration::from_secs(60)).run()
    }
}

/// Whether the engine said that it has no such container.
fn is_unknown(said: &str) -> bool {
    said.to_lowercase().contains("no such container")
}

fn container(value: &Value) -> Container {
    Container {
        name: value["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        state: value["State"]["Status"].as_str().unwrap_or("unknown").to_lowercase(),
        labels: string_map(&value["Config"]["Labels"]),
    }
}
