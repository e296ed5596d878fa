//! Keeps as many instances of each workload as are wanted, leads connections to those that are ready, and ends all of
//! them with the run.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use e2e_support::Cancel;
use e2e_support::clock::Instant;

use super::instance;
use super::launch::Launch;
use super::shared::{Folders, HOPELESS_RESTARTS, Shared, State};
use super::state::Instances;
use crate::target::forward::Forwarder;

/// How long a thread sleeps at most before it looks whether the work was cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// The processes of a run. Dropped, it ends them all.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
}

impl Supervisor {
    /// Of workloads none of which is started yet. Their addresses are there from now on.
    ///
    /// # Errors
    /// When the system has no ports for them.
    pub(super) fn new(launches: Vec<Launch>, folders: Folders) -> Result<Supervisor> {
        let mut forwarders = BTreeMap::new();
        let mut workloads = BTreeMap::new();
        for launch in &launches {
            for port in &launch.ports {
                forwarders.insert((launch.workload.clone(), port.name.clone()), Forwarder::open()?);
            }
            workloads.insert(launch.workload.clone(), Instances::new(&launch.workload, launch.order));
        }
        let launches = launches.into_iter().map(|launch| (launch.workload.clone(), Arc::new(launch))).collect();
        let state = Mutex::new(State { workloads, keepers: Vec::new() });
        let (changed, over, told_to_end) = (Condvar::new(), Cancel::new(), Cancel::new());
        Ok(Supervisor {
            shared: Arc::new(Shared {
                folders,
                keeper: instance::keep,
                launches,
                forwarders,
                state,
                changed,
                over,
                stays: AtomicBool::new(false),
                told_to_end,
            }),
        })
    }

    /// The port of this machine that leads to each NodePort.
    pub(super) fn node_ports(&self) -> BTreeMap<u16, u16> {
        let ports = self.shared.launches.values().flat_map(|launch| {
            launch.ports.iter().filter_map(|port| Some((port.node_port?, (launch.workload.clone(), port.name.clone()))))
        });
        ports.filter_map(|(node_port, key)| Some((node_port, self.shared.forwarders.get(&key)?.port()))).collect()
    }

    /// Starts a workload with as many instances as its manifest says, and waits until each is ready.
    ///
    /// # Errors
    /// When one ends by itself again and again, at `end`, or when the work is cancelled: with its last lines.
    pub(super) fn start(&self, workload: &str, end: Instant, cancel: &Cancel) -> Result<()> {
        let replicas = self.shared.launch(workload)?.replicas;
        self.shared.scale(workload, replicas)?;
        let mut state = self.shared.lock();
        loop {
            let instances = state.instances(workload)?;
            if instances.is_settled() {
                return Ok(());
            }
            let hopeless = instances.all.iter().find(|instance| instance.restarts >= HOPELESS_RESTARTS);
            let late = Instant::now() >= end;
            if let Some(instance) = hopeless.or_else(|| instances.all.first().filter(|_| late)) {
                return Err(self.shared.not_ready(workload, instance));
            }
            if cancel.is_cancelled() || late {
                bail!("waiting for {workload}, stopped: {}", cancel.reason().unwrap_or("its time is over"));
            }
            state = self.shared.wait(state, LOOK);
        }
    }

    /// Ends everything at once; returns when nothing is left.
    pub(super) fn stop(&self) {
        self.shared.over.cancel("the run is over");
        let keepers = {
            let mut state = self.shared.lock();
            for instances in state.workloads.values_mut() {
                instances.wanted = 0;
            }
            self.shared.settle(&mut state);
            std::mem::take(&mut state.keepers)
        };
        for keeper in keepers {
            // One that panicked has dropped its process, which ends it.
            let _ = keeper.join();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
