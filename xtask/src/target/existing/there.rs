//! What is known of a run on a cluster that is there, before its first step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::options::{Reach, Registry};
use super::reach::Ways;
use super::record::Record;
use crate::plan::Object;

/// A run on a cluster that is there.
#[derive(Debug)]
pub(super) struct There {
    pub(super) record: Record,
    /// The suite's namespaces, by the run's names.
    pub(super) namespaces: Vec<String>,
    pub(super) registry: Registry,
    pub(super) reach: Reach,
    /// On everything that is the run's alone.
    pub(super) labels: BTreeMap<String, String>,
    /// The suite's images, as manifests name them, with what they are pushed as.
    pub(super) built: BTreeMap<String, String>,
    /// Images of the manifests that are not built and that the engine has.
    pub(super) stock: BTreeSet<String>,
    /// What pods name the images that were pushed, by how manifests name them.
    pub(super) pushed: Mutex<BTreeMap<String, String>>,
    /// The objects that all runs share.
    pub(super) shared: Vec<Object>,
    pub(super) ways: Ways,
    pub(super) ports: BTreeMap<u16, u16>,
    /// Whether an earlier run's namespaces are used.
    pub(super) was_there: bool,
}

impl There {
    pub(super) fn pushed(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
