//! What there is of a suite that runs as processes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;
use e2e_support::control_plane::ControlPlane;

use super::control::Control;
use super::supervisor::Supervisor;

/// Processes of this machine as a target.
pub(super) struct Local {
    // Fields are dropped in this order: the API server goes after those that ask it.
    pub(super) supervisor: Supervisor,
    /// None once all is removed.
    pub(super) control: Mutex<Option<Control>>,
    /// Where that listens.
    pub(super) socket: Utf8PathBuf,
    pub(super) control_plane: Mutex<Option<ControlPlane>>,
    pub(super) etcd: Utf8PathBuf,
    pub(super) api_server: Utf8PathBuf,
    pub(super) fingerprint: String,
    pub(super) ports: BTreeMap<u16, u16>,
    /// All that goes with the run.
    pub(super) work: Utf8PathBuf,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("work", &self.work).field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Local {
    /// The API server, where it runs.
    pub(super) fn control_plane(&self) -> MutexGuard<'_, Option<ControlPlane>> {
        self.control_plane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
