//! Reads the runs of shards, wherever their folders have come from, and refuses what cannot belong together.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::Partition;
use crate::error::WrongUsage;
use crate::events::{Follower, Liveness, RunFolder, Timeline};

/// What a run notes of the version of the files that it ran.
const REVISION: &str = "git revision";

/// The run of one shard.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Which shard.
    pub partition: Partition,
    /// The run's folder, or a copy of it.
    pub folder: Utf8PathBuf,
    /// What happened.
    pub timeline: Timeline,
}

/// The run in this folder.
///
/// # Errors
/// [`WrongUsage`] where the folder is no run's, its events cannot be read, or it still goes on.
pub fn timeline(folder: &Utf8Path) -> Result<Timeline, WrongUsage> {
    let events = RunFolder::at(folder).events();
    if !events.is_file() {
        return Err(no_run(folder));
    }
    let read = || {
        let mut follower = Follower::open(&events)?;
        let liveness = follower.liveness()?;
        anyhow::Ok((liveness, Timeline::of(&follower.more()?)))
    };
    match read() {
        Ok((Liveness::Alive, _)) => Err(WrongUsage(format!("{folder}: the run still goes on; wait for its end"))),
        Ok((Liveness::Gone, timeline)) if timeline.run.is_some() => Ok(timeline),
        Ok(_) => {
            Err(WrongUsage(format!("{folder}: the run ended before its first event, so nobody knows what it was")))
        }
        Err(error) => Err(WrongUsage(format!("{folder}: its events cannot be read: {error:#}"))),
    }
}

fn no_run(folder: &Utf8Path) -> WrongUsage {
    if !folder.exists() {
        return WrongUsage(format!("{folder}: there is no such folder"));
    }
    let children = folder.read_dir_utf8().into_iter().flatten().flatten().map(|entry| entry.into_path());
    let mut runs: Vec<Utf8PathBuf> = children.filter(|path| RunFolder::at(path).events().is_file()).collect();
    runs.sort();
    let hint = match runs.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is one"),
        [first, .., last] => format!("; it holds {} of them, {first} to {last}: name those that are meant", runs.len()),
    };
    WrongUsage(format!("{folder}: it is no run's folder, for there is no events.jsonl in it{hint}"))
}

/// The runs in these folders, by their shard.
///
/// # Errors
/// [`WrongUsage`] where one of them is no run of a shard, or they cannot be shards of the same: other suites, other
/// numbers of shards, other versions of the files, or one shard twice.
pub fn read(folders: &[Utf8PathBuf]) -> Result<BTreeMap<usize, Recorded>, WrongUsage> {
    let mut shards: BTreeMap<usize, Recorded> = BTreeMap::new();
    let mut first: Option<Recorded> = None;
    for folder in folders {
        let timeline = timeline(folder)?;
        let Some(partition) = timeline.run.as_ref().and_then(|run| run.partition) else {
            return Err(WrongUsage(format!("{folder}: it is a run of the whole suite, and of no shard (--partition)")));
        };
        let new = Recorded { partition, folder: folder.clone(), timeline };
        fits(first.get_or_insert_with(|| new.clone()), &new)?;
        if let Some(other) = shards.insert(partition.index(), new) {
            let other = other.folder;
            return Err(WrongUsage(format!(
                "shard {partition} is there twice, in {other} and in {folder}: leave one out"
            )));
        }
    }
    Ok(shards)
}

/// Whether two runs can be shards of the same.
fn fits(one: &Recorded, other: &Recorded) -> Result<(), WrongUsage> {
    let suite = |shard: &Recorded| shard.timeline.run.as_ref().map(|run| format!("of suite {}", run.plan.suite));
    let count = |shard: &Recorded| Some(format!("one of {} shards", shard.partition.count()));
    let revision = |shard: &Recorded| {
        let revision = shard.timeline.run.as_ref()?.environment.get(REVISION)?;
        Some(format!("of {REVISION} {revision}"))
    };
    for (a, b, what) in [
        (suite(one), suite(other), "another suite"),
        (count(one), count(other), "another number of shards"),
        (revision(one), revision(other), "another version of the files"),
    ] {
        if let (Some(a), Some(b)) = (a, b)
            && a != b
        {
            return Err(WrongUsage(format!(
                "{} is a run of {what}: it is {b}, and {} is {a}",
                other.folder, one.folder
            )));
        }
    }
    Ok(())
}
