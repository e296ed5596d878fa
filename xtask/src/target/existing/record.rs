//! What a run has made on a cluster, noted before it makes it, so that whoever comes later can remove it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::rewrite::RUN_LABEL;
use crate::disk;
use crate::instance::{Instance, SUITE_LABEL};
use crate::kubernetes;

/// That note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// A text that no other run on any cluster has.
    pub(super) id: String,
    /// The context, as the user's kubeconfig has it.
    pub(super) context: String,
    /// The address of its API server.
    pub(super) server: String,
    /// What else it depends on whether a later run can go on with what is there.
    pub(super) made_from: String,
    /// The suite's namespaces, by the run's names.
    pub(super) namespaces: Vec<String>,
    /// The kinds of the cluster-wide objects that bear the run's label, as kubectl names them.
    pub(super) kinds: Vec<String>,
    /// What is shared with other runs.
    pub(super) shared: Vec<SharedObject>,
}

/// An object that several runs use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedObject {
    /// As requests name it: `clusterroles`.
    pub(super) plural: String,
    pub(super) api_version: String,
    pub(super) name: String,
}

impl SharedObject {
    /// As kubectl names its kind.
    pub(super) fn resource(&self) -> String {
        let group = self.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        kubernetes::resource(&self.plural, group)
    }

    /// The API server's path of it.
    pub(super) fn path(&self) -> String {
        let api = if self.api_version.contains('/') { "apis" } else { "api" };
        format!("/{api}/{}/{}/{}", self.api_version, self.plural, self.name)
    }
}

impl Record {
    fn file(dir: &Utf8Path) -> Utf8PathBuf {
        dir.join("record.json")
    }

    /// That of an earlier run; none where there is none that this version can read.
    pub(super) fn read(dir: &Utf8Path) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(Self::file(dir)).ok()?).ok()
    }

    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn write(&self, dir: &Utf8Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing what a run is about to make")?;
        disk::write(&Self::file(dir), text + "\n")
    }

    /// Also what an earlier run with the same id has made.
    pub(super) fn add(&mut self, before: Record) {
        for (all, before) in [(&mut self.namespaces, before.namespaces), (&mut self.kinds, before.kinds)] {
            let new: Vec<String> = before.into_iter().filter(|one| !all.contains(one)).collect();
            all.extend(new);
        }
        let new: Vec<SharedObject> = before.shared.into_iter().filter(|one| !self.shared.contains(one)).collect();
        self.shared.extend(new);
    }

    /// The label that all of it bears.
    pub(super) fn selector(&self) -> String {
        format!("{RUN_LABEL}={}", self.id)
    }

    /// In words.
    pub(super) fn place(&self) -> String {
        format!("the namespaces {} of the context {}", self.namespaces.join(", "), self.context)
    }
}

/// What kubectl is asked for the names of the namespaces that bear a label, with spaces between.
pub(super) fn namespaces_of(selector: &str) -> [&str; 6] {
    ["get", "namespaces", "--selector", selector, "--output", "jsonpath={.items[*].metadata.name}"]
}

/// An id that no other run has, here or elsewhere.
pub(super) fn new_id() -> String {
    // Each such state has keys of its own, from the system's randomness.
    let [one, other] = [0, 1].map(|at: u8| RandomState::new().hash_one(at));
    format!("{:08x}", (one ^ other.rotate_left(32)) >> 32)
}

/// What stands on everything that a run makes.
pub(super) fn labels(instance: &Instance, id: &str) -> BTreeMap<String, String> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    [pair(SUITE_LABEL, instance.suite()), pair(RUN_LABEL, id)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_fit_into_names() {
        let ids: std::collections::BTreeSet<String> = (0..100).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 8 && id.chars().all(|c| c.is_ascii_hexdigit())));
    }

    #[test]
    fn a_shared_object_has_a_path() {
        let object = |api_version: &str| SharedObject {
            plural: "clusterroles".into(),
            api_version: api_version.into(),
            name: "shop".into(),
        };
        let role = object("rbac.authorization.k8s.io/v1");
        assert_eq!(role.resource(), "clusterroles.rbac.authorization.k8s.io");
        assert_eq!(role.path(), "/apis/rbac.authorization.k8s.io/v1/clusterroles/shop");
        assert_eq!(
            (object("v1").resource(), object("v1").path()),
            ("clusterroles".into(), "/api/v1/clusterroles/shop".into())
        );
    }
}
