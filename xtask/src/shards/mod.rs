//! A suite's specs in several runs, on as many machines: which run has which, and what came of all of them.

pub mod merge;
#[cfg(test)]
mod merge_tests;
mod partition;
mod recorded;
mod split;
#[cfg(test)]
mod tests;
pub mod times;

use self::times::Times;

pub use partition::{Listed, Partition, Split};

/// The one shard that a run is, and what all are split by.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Which one it is.
    pub partition: Partition,
    /// What the specs took before.
    pub times: Times,
}

impl Shard {
    /// All shards of the specs `all`. Only those that `due` takes are in them; where a spec is does not depend on that.
    pub fn split(&self, all: &[Listed], due: impl Fn(&str) -> bool) -> Split {
        let mut shards = split::split(all, &self.times, self.partition.count());
        shards.iter_mut().for_each(|shard| shard.retain(|name| due(name)));
        Split { shards, times: self.times.hash.clone() }
    }
}
