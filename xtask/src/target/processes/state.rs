//! Which instances of a workload there are, and which there should be. Pure: no process is started here.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::launch::Replacement;

/// What is other than the suite says, for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Change {
    /// Environment variables, in place of the suite's or beside them.
    pub(super) env: BTreeMap<String, String>,
    /// Contents of files, by their paths in the instance's folder.
    pub(super) files: BTreeMap<Utf8PathBuf, String>,
}

/// Which version of a workload an instance is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revision {
    /// Counts the restarts that were asked for.
    pub(super) restarts: u64,
    pub(super) change: Change,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// It was not ready yet since it was started.
    Starting,
    Ready,
    /// It was ready, and is not any more.
    Unready,
    /// It ended by itself, and is started again after a pause.
    Failing,
    /// It was told to end.
    Ending,
}

/// One process of a workload.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// The workload's name with a number that no other instance of the run has.
    pub(super) name: String,
    pub(super) revision: Revision,
    pub(super) phase: Phase,
    /// By their names; chosen anew at each start.
    pub(super) ports: BTreeMap<String, u16>,
    /// How often it was started again.
    pub(super) restarts: u32,
    /// How it ended, where it ended by itself.
    pub(super) said: Option<String>,
}

/// The instances of one workload.
#[derive(Debug)]
pub(super) struct Instances {
    workload: String,
    order: Replacement,
    pub(super) wanted: usize,
    pub(super) revision: Revision,
    pub(super) all: Vec<Instance>,
    /// How many there were so far.
    count: u64,
}

impl Instances {
    /// Of a workload that is not started yet.
    pub(super) fn new(workload: &str, order: Replacement) -> Instances {
        let (revision, all) = (Revision::default(), Vec::new());
        Instances { workload: workload.to_owned(), order, wanted: 0, revision, all, count: 0 }
    }

    /// Marks those that are to end, and returns the names of those that are to start, which are listed from now on.
    pub(super) fn reconcile(&mut self) -> Vec<String> {
        let revision = self.revision.clone();
        let is_current = |instance: &Instance| instance.phase != Phase::Ending && instance.revision == revision;
        let (have, ready) = {
            let current = || self.all.iter().filter(|instance| is_current(instance));
            (current().count(), current().filter(|instance| instance.phase == Phase::Ready).count())
        };
        if self.order == Replacement::OldFirst || ready >= self.wanted {
            for instance in self.all.iter_mut().filter(|instance| !is_current(instance)) {
                instance.phase = Phase::Ending;
            }
        }
        // Those that are not ready go first, then the newest.
        let mut surplus: Vec<usize> = (0..self.all.len()).filter(|at| is_current(&self.all[*at])).collect();
        surplus.sort_by_key(|at| (self.all[*at].phase == Phase::Ready, std::cmp::Reverse(*at)));
        for at in surplus.into_iter().take(have.saturating_sub(self.wanted)) {
            self.all[at].phase = Phase::Ending;
        }
        let must_wait =
            self.order == Replacement::OldFirst && self.all.iter().any(|instance| instance.phase == Phase::Ending);
        let missing = if must_wait { 0 } else { self.wanted.saturating_sub(have) };
        (0..missing).map(|_| self.add(&revision)).collect()
    }

    fn add(&mut self, revision: &Revision) -> String {
        self.count += 1;
        let name = format!("{}-{}", self.workload, self.count);
        self.all.push(Instance {
            name: name.clone(),
            revision: revision.clone(),
            phase: Phase::Starting,
            ports: BTreeMap::new(),
            restarts: 0,
            said: None,
        });
        name
    }

    /// The ports of this name of those instances that connections are led to.
    pub(super) fn targets(&self, port: &str) -> Vec<u16> {
        let ready = self.all.iter().filter(|instance| instance.phase == Phase::Ready);
        ready.filter_map(|instance| instance.ports.get(port).copied()).collect()
    }

    /// Whether exactly those are there that should be, and each is ready.
    pub(super) fn is_settled(&self) -> bool {
        self.all.len() == self.wanted
            && self.all.iter().all(|instance| instance.phase == Phase::Ready && instance.revision == self.revision)
    }

    /// The one of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Instance> {
        self.all.iter().find(|instance| instance.name == name)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Instance> {
        self.all.iter_mut().find(|instance| instance.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(instances: &Instances) -> Vec<(&str, Phase)> {
        instances.all.iter().map(|instance| (instance.name.as_str(), instance.phase)).collect()
    }

    fn becomes(instances: &mut Instances, name: &str, phase: Phase) {
        instances.get_mut(name).unwrap().phase = phase;
    }

    /// A workload with this many ready instances.
    fn running(order: Replacement, count: usize) -> Instances {
        let mut instances = Instances::new("a", order);
        instances.wanted = count;
        assert_eq!(instances.reconcile().len(), count);
        instances.all.iter_mut().for_each(|instance| instance.phase = Phase::Ready);
        assert!(instances.reconcile().is_empty() && instances.is_settled());
        instances
    }

    #[test]
    fn a_new_one_is_ready_before_the_old_one_ends() {
        let mut instances = running(Replacement::NewFirst, 1);
        instances.revision.restarts += 1;
        assert_eq!(instances.reconcile(), ["a-2"]);
        assert!(instances.reconcile().is_empty(), "it is started once");
        assert_eq!(phases(&instances), [("a-1", Phase::Ready), ("a-2", Phase::Starting)]);
        becomes(&mut instances, "a-2", Phase::Ready);
        instances.reconcile();
        assert_eq!(phases(&instances), [("a-1", Phase::Ending), ("a-2", Phase::Ready)]);
        assert!(!instances.is_settled());
        instances.all.remove(0);
        assert!(instances.reconcile().is_empty() && instances.is_settled());
    }

    #[test]
    fn where_both_have_the_same_data_the_old_one_ends_first() {
        let mut instances = running(Replacement::OldFirst, 1);
        instances.revision.restarts += 1;
        assert!(instances.reconcile().is_empty());
        assert_eq!(phases(&instances), [("a-1", Phase::Ending)]);
        instances.all.clear();
        assert_eq!(instances.reconcile(), ["a-2"]);
    }

    #[test]
    fn one_that_never_becomes_ready_replaces_nobody_and_goes_when_the_change_is_undone() {
        let mut instances = running(Replacement::NewFirst, 1);
        instances.revision.change.env.insert("BROKEN".into(), "1".into());
        assert_eq!(instances.reconcile(), ["a-2"]);
        becomes(&mut instances, "a-2", Phase::Failing);
        assert!(instances.reconcile().is_empty());
        assert_eq!(phases(&instances), [("a-1", Phase::Ready), ("a-2", Phase::Failing)]);
        instances.revision.change = Change::default();
        assert!(instances.reconcile().is_empty(), "the old one is the wanted one again");
        assert_eq!(phases(&instances), [("a-1", Phase::Ready), ("a-2", Phase::Ending)]);
    }

    #[test]
    fn fewer_are_those_that_are_ready_and_the_oldest_of_them() {
        let mut instances = running(Replacement::NewFirst, 3);
        becomes(&mut instances, "a-1", Phase::Unready);
        instances.wanted = 1;
        assert!(instances.reconcile().is_empty());
        let ending = [("a-1", Phase::Ending), ("a-2", Phase::Ready), ("a-3", Phase::Ending)];
        assert_eq!(phases(&instances), ending);
        instances.wanted = 0;
        instances.reconcile();
        assert!(instances.all.iter().all(|instance| instance.phase == Phase::Ending));
        instances.wanted = 1;
        assert_eq!(instances.reconcile(), ["a-4"], "one that ends is nobody's replacement");
    }

    #[test]
    fn none_takes_along_also_those_of_another_revision() {
        let mut instances = running(Replacement::NewFirst, 1);
        instances.revision.restarts += 1;
        instances.reconcile();
        instances.wanted = 0;
        assert!(instances.reconcile().is_empty());
        assert!(instances.all.iter().all(|instance| instance.phase == Phase::Ending), "{instances:?}");
    }

    #[test]
    fn connections_are_led_to_those_that_are_ready() {
        let mut instances = running(Replacement::NewFirst, 3);
        for (at, instance) in instances.all.iter_mut().enumerate() {
            instance.ports.insert("http".into(), 4000 + at as u16);
        }
        becomes(&mut instances, "a-1", Phase::Ending);
        becomes(&mut instances, "a-3", Phase::Unready);
        assert_eq!(instances.targets("http"), [4001]);
        assert!(instances.targets("health").is_empty());
    }
}
