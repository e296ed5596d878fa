//! What the threads of a supervisor have in common: which instances there are, and what is to become of them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;
use e2e_support::clock::Instant;

use super::launch::Launch;
use super::state::{Change, Instance, Instances, Phase};
use crate::target::forward::Forwarder;

/// A start that fails so often is not going to succeed: as a pod's.
pub(super) const HOPELESS_RESTARTS: u32 = 3;

/// Keeps the instance of that name running until it is told to end.
pub(super) type Keeper = fn(&Arc<Shared>, &Launch, &str);

/// The folders of a run of processes.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    /// Holds the folders of instances and the data of workloads; goes with the run.
    pub(super) work: Utf8PathBuf,
    /// Holds the logs, as `<namespace>/<instance>/<workload>.log`; stays.
    pub(super) logs: Utf8PathBuf,
    /// Holds the binaries that the run has compiled, as `<package>/out/<package>`.
    pub(super) stage: Utf8PathBuf,
}

impl Folders {
    /// The folder of one instance.
    pub(super) fn instance(&self, name: &str) -> Utf8PathBuf {
        self.work.join("instances").join(name)
    }

    /// What outlives the instances of a workload.
    pub(super) fn data(&self, workload: &str) -> Utf8PathBuf {
        self.work.join("data").join(workload)
    }

    /// The credentials of a workload's account.
    pub(super) fn account(&self, workload: &str) -> Utf8PathBuf {
        self.work.join("accounts").join(workload)
    }

    /// The binary of a package, once it is kept.
    pub(super) fn binary(&self, package: &str) -> Utf8PathBuf {
        self.work.join("programs").join(package)
    }

    /// Keeps the binary of a package as long as there may be processes of it: what the run has compiled goes before that.
    ///
    /// # Errors
    /// When the run has compiled none, or the folder cannot be written to.
    pub(super) fn keep_binary(&self, package: &str) -> Result<()> {
        let (from, to) = (self.stage.join(package).join("out").join(package), self.binary(package));
        if to.exists() {
            return Ok(());
        }
        make_folder(&self.work.join("programs"))?;
        // Another file system takes no link.
        let kept = std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop));
        kept.with_context(|| format!("keeping the program {from} as {to}"))
    }

    /// The log of one instance.
    pub(super) fn log(&self, launch: &Launch, name: &str) -> Utf8PathBuf {
        self.logs.join(&launch.namespace).join(name).join(format!("{}.log", launch.workload))
    }
}

/// What all threads of a supervisor have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folders: Folders,
    /// What keeps one instance running until it is told to end.
    pub(super) keeper: Keeper,
    pub(super) launches: BTreeMap<String, Arc<Launch>>,
    /// By workload and port.
    pub(super) forwarders: BTreeMap<(String, String), Forwarder>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Set when all is to end, without grace.
    pub(super) over: Cancel,
    /// Whether nothing is done any more but to keep the processes running: only then they may be told to end.
    pub(super) stays: AtomicBool,
    /// Set when somebody wants it to end.
    pub(super) told_to_end: Cancel,
}

/// Which instances there are, and the threads that keep them.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) workloads: BTreeMap<String, Instances>,
    pub(super) keepers: Vec<JoinHandle<()>>,
}

impl State {
    pub(super) fn instances(&mut self, workload: &str) -> Result<&mut Instances> {
        let known: Vec<String> = self.workloads.keys().cloned().collect();
        let found = self.workloads.get_mut(workload);
        found.with_context(|| format!("no workload `{workload}`: there are {}", known.join(", ")))
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// How this workload is started.
    ///
    /// # Errors
    /// When there is none of the name.
    pub(super) fn launch(&self, workload: &str) -> Result<&Arc<Launch>> {
        let known = || self.launches.keys().cloned().collect::<Vec<_>>().join(", ");
        self.launches.get(workload).with_context(|| format!("no workload `{workload}`: there are {}", known()))
    }

    /// How each workload is started.
    pub(super) fn launches(&self) -> impl Iterator<Item = &Arc<Launch>> {
        self.launches.values()
    }

    /// The `host:port` at which a workload is reached.
    pub(super) fn address(&self, workload: &str, port: &str) -> Option<String> {
        let forwarder = self.forwarders.get(&(workload.to_owned(), port.to_owned()))?;
        Some(format!("127.0.0.1:{}", forwarder.port()))
    }

    /// The instances of a workload, as they are now.
    ///
    /// # Errors
    /// When there is no workload of the name.
    pub(super) fn list(&self, workload: &str) -> Result<Vec<Instance>> {
        Ok(self.lock().instances(workload)?.all.clone())
    }

    /// Wants `count` instances of a workload; waits for nothing.
    ///
    /// # Errors
    /// As [`Shared::list`].
    pub(super) fn scale(self: &Arc<Self>, workload: &str, count: usize) -> Result<()> {
        self.edit(workload, |instances| instances.wanted = count)
    }

    /// Wants other instances of a workload in the place of those that there are; waits for nothing.
    ///
    /// # Errors
    /// As [`Shared::list`].
    pub(super) fn restart(self: &Arc<Self>, workload: &str) -> Result<()> {
        self.edit(workload, |instances| instances.revision.restarts += 1)
    }

    /// Wants instances of a workload that are started with this change and no other; waits for nothing.
    ///
    /// # Errors
    /// As [`Shared::list`].
    pub(super) fn change(self: &Arc<Self>, workload: &str, change: Change) -> Result<()> {
        self.edit(workload, |instances| instances.revision.change = change)
    }

    fn edit(self: &Arc<Self>, workload: &str, edit: impl FnOnce(&mut Instances)) -> Result<()> {
        let mut state = self.lock();
        if self.over.is_cancelled() {
            bail!("the run is over");
        }
        edit(state.instances(workload)?);
        self.settle(&mut state);
        Ok(())
    }

    /// Changes one instance, if it is there still and not told to end.
    pub(super) fn note(self: &Arc<Self>, workload: &str, name: &str, note: impl FnOnce(&mut Instance)) {
        let mut state = self.lock();
        let found = state.workloads.get_mut(workload).and_then(|instances| instances.get_mut(name));
        if let Some(instance) = found.filter(|instance| instance.phase != Phase::Ending) {
            note(instance);
            self.settle(&mut state);
        }
    }

    /// Waits until the instance is told to end, `at_most` so long; returns whether it is.
    pub(super) fn is_ending(&self, workload: &str, name: &str, at_most: Duration) -> bool {
        let end = Instant::now() + at_most;
        let mut state = self.lock();
        loop {
            let instance = state.workloads.get(workload).and_then(|instances| instances.get(name));
            if instance.is_none_or(|instance| instance.phase == Phase::Ending) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
    }

    /// Forgets an instance that has ended.
    pub(super) fn remove(self: &Arc<Self>, workload: &str, name: &str) {
        let mut state = self.lock();
        if let Some(instances) = state.workloads.get_mut(workload) {
            instances.all.retain(|instance| instance.name != name);
        }
        self.settle(&mut state);
    }

    /// Brings what there is to what is wanted, and connections to those that are ready: before any that is to end is told
    /// so, for it is told by what this changes.
    pub(super) fn settle(self: &Arc<Self>, state: &mut State) {
        let State { workloads, keepers } = state;
        keepers.retain(|keeper| !keeper.is_finished());
        for (workload, instances) in workloads.iter_mut() {
            let Some(launch) = self.launches.get(workload) else { continue };
            for name in instances.reconcile() {
                let (shared, of_thread, launch) = (Arc::clone(self), name.clone(), Arc::clone(launch));
                let keeper = std::thread::Builder::new()
                    .name(name.clone())
                    .spawn(move || (shared.keeper)(&shared, &launch, &of_thread));
                match keeper {
                    Ok(keeper) => keepers.push(keeper),
                    Err(error) => {
                        if let Some(instance) = instances.get_mut(&name) {
                            instance.said = Some(format!("no thread for it: {error}"));
                            instance.restarts = HOPELESS_RESTARTS;
                        }
                    }
                }
            }
            for port in &launch.ports {
                if let Some(forwarder) = self.forwarders.get(&(workload.clone(), port.name.clone())) {
                    forwarder.lead_to(instances.targets(&port.name));
                }
            }
        }
        self.changed.notify_all();
    }

    /// Why an instance is not ready.
    pub(super) fn not_ready(&self, workload: &str, instance: &Instance) -> anyhow::Error {
        let log = self.launches.get(workload).map(|launch| self.folders.log(launch, &instance.name));
        let log = log.map(|log| format!("\n    all of its output: {log}")).unwrap_or_default();
        match &instance.said {
            Some(said) => {
                anyhow!("{} ended by itself, started {} time(s): {said}{log}", instance.name, instance.restarts + 1)
            }
            None => anyhow!("{} runs and is not ready{log}", instance.name),
        }
    }
}

/// Makes a folder with all above it.
///
/// # Errors
/// When it cannot be made.
pub(super) fn make_folder(folder: &Utf8Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))
}
