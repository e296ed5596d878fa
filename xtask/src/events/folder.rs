//! Where runs are kept: `target/e2e/<suite>/<run>/`, with `latest` at the newest, and a lock for each suite.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use crate::disk;
use crate::plan::StepId;
use crate::suite::Keep;

/// The link to the newest run of a suite.
const LATEST: &str = "latest";

/// All runs of a workspace.
#[derive(Debug, Clone)]
pub struct Runs {
    root: Utf8PathBuf,
}

impl Runs {
    /// The runs of the workspace in `root`.
    pub fn of(root: &Utf8Path) -> Self {
        Self { root: crate::paths::runs(root) }
    }

    /// The folder of a suite's runs.
    pub fn suite(&self, suite: &str) -> Utf8PathBuf {
        self.root.join(suite)
    }

    /// The suites that have runs, the one that ran last first.
    pub fn suites(&self) -> Vec<String> {
        let entries = self.root.read_dir_utf8().into_iter().flatten().flatten();
        let mut suites: Vec<(String, String)> = entries
            .filter_map(|entry| {
                let suite = entry.file_name().to_owned();
                let newest = self.all(&suite).pop()?;
                Some((newest.name().to_owned(), suite))
            })
            .collect();
        suites.sort();
        suites.into_iter().rev().map(|(_, suite)| suite).collect()
    }

    /// The runs of a suite, oldest first.
    pub fn all(&self, suite: &str) -> Vec<RunFolder> {
        let folder = self.suite(suite);
        let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
        let mut runs: Vec<RunFolder> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            // A copy of the newest run, as an archive of a CI job has it in place of the link, is no run of its own.
            .filter(|entry| entry.file_name() != LATEST)
            .map(|entry| RunFolder::at(entry.into_path()))
            .filter(|run| run.events().is_file())
            .collect();
        runs.sort_by(|a, b| a.path.cmp(&b.path));
        runs
    }

    /// The newest run of a suite.
    pub fn latest(&self, suite: &str) -> Option<RunFolder> {
        self.all(suite).pop()
    }

    /// A fresh folder for a run that begins now, named by the time so that names sort by age; `latest` points at
    /// it once it has really begun.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create(&self, suite: &str) -> anyhow::Result<RunFolder> {
        let folder = self.suite(suite);
        fs::create_dir_all(&folder).with_context(|| format!("creating {folder}"))?;
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(['-', ':'], "");
        for attempt in 1..1000 {
            let name = if attempt == 1 { now.clone() } else { format!("{now}-{attempt}") };
            let path = folder.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    let run = RunFolder { path, latest: Some(folder.join(LATEST)) };
                    fs::create_dir(run.steps()).with_context(|| format!("creating {}", run.steps()))?;
                    return Ok(run);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("creating {path}")),
            }
        }
        bail!("no free name for a run in {folder}: a thousand runs began within one second")
    }

    /// Takes the suite's lock, held until it is dropped or the process ends in any way.
    ///
    /// # Errors
    /// Another process holds it: the error says which, by what it wrote as `holder`.
    pub fn lock(&self, suite: &str, holder: &str) -> anyhow::Result<SuiteLock> {
        let folder = self.suite(suite);
        fs::create_dir_all(&folder).with_context(|| format!("creating {folder}"))?;
        SuiteLock::take(&folder, suite, holder)
    }

    /// Removes the oldest runs of a suite until no more are left than `keep` allows; the newest one always stays. The
    /// caller holds the suite's lock.
    ///
    /// # Errors
    /// A run's folder cannot be removed.
    pub fn retain(&self, suite: &str, keep: Keep) -> anyhow::Result<Removed> {
        let mut removed = Removed::default();
        let mut kept = Removed::default();
        for run in self.all(suite).into_iter().rev() {
            let bytes = disk::used(run.path());
            let fits = kept.runs < keep.runs && kept.bytes + bytes <= keep.mb * 1_000_000;
            // Once one has to go, all older ones do: a history without gaps is worth more than a few more runs.
            if kept.runs == 0 || (fits && removed.runs == 0) {
                kept.runs += 1;
                kept.bytes += bytes;
                continue;
            }
            fs::remove_dir_all(run.path()).with_context(|| format!("removing the old run {}", run.path()))?;
            removed.runs += 1;
            removed.bytes += bytes;
        }
        Ok(removed)
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many runs.
    pub runs: usize,
    /// What they took of the disk.
    pub bytes: u64,
}

impl SuiteLock {
    /// Takes the lock in `folder`, which is there, for the suite `suite`.
    ///
    /// # Errors
    /// As [`Runs::lock`].
    pub fn take(folder: &Utf8Path, suite: &str, holder: &str) -> anyhow::Result<Self> {
        let path = folder.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.with_context(|| format!("opening {path}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let who = text.trim();
                let who = if who.is_empty() { "another process" } else { who };
                bail!("suite {suite} is in use by {who}; wait for it, stop it, or look with `status {suite}`");
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking {path}")),
        }
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let text = format!("process {} ({holder}), since {now}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .with_context(|| format!("writing {path}"))?;
        Ok(Self { file })
    }
}

/// The right to run a suite; given back when dropped, and by the kernel when the process dies.
#[derive(Debug)]
pub struct SuiteLock {
    file: File,
}

impl Drop for SuiteLock {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread starts at this moment has the file, too, until it runs.
        let _ = self.file.unlock();
    }
}

/// Makes `link` point at `target`, in one move. Where it is a copy of a run in place of a link, the copy goes.
fn point(link: &Utf8Path, target: &str) -> anyhow::Result<()> {
    if !link.is_symlink() && link.is_dir() {
        let is_copy = RunFolder::at(link).events().is_file();
        ensure!(is_copy, "{link} is a folder, and no copy of a run: a link to the newest run belongs there; remove it");
        fs::remove_dir_all(link).with_context(|| format!("removing the copy of a run {link}"))?;
    }
    let fresh = link.with_extension(format!("{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, link))
        .with_context(|| format!("pointing {link} at {target}"))
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: Utf8PathBuf,
    /// The link that points at it once the run has begun; none where it is not among a suite's runs.
    latest: Option<Utf8PathBuf>,
}

impl PartialEq for RunFolder {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for RunFolder {}

impl RunFolder {
    /// The run in this folder.
    pub fn at(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into(), latest: None }
    }

    /// The folder.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Makes the suite's `latest` point at it.
    ///
    /// # Errors
    /// The link cannot be made.
    pub(super) fn becomes_latest(&self) -> anyhow::Result<()> {
        self.latest.as_ref().map_or(Ok(()), |link| point(link, self.name()))
    }

    /// Removes it where the run never began, and so has left nothing in it.
    pub fn remove_if_empty(&self) {
        // What is not empty stays, and that is how it should be.
        let _ = fs::remove_dir(self.steps()).and_then(|()| fs::remove_dir(&self.path));
    }

    /// Where what is compiled is put together for the run: the binaries that images copy, and the specs' own.
    pub fn stage(&self) -> Utf8PathBuf {
        self.path.join("stage")
    }

    /// The run's name.
    pub fn name(&self) -> &str {
        self.path.file_name().unwrap_or_default()
    }

    /// The events, one JSON object a line.
    pub fn events(&self) -> Utf8PathBuf {
        self.path.join("events.jsonl")
    }

    /// The logs of the steps.
    pub fn steps(&self) -> Utf8PathBuf {
        self.path.join("steps")
    }

    /// What a step's children print.
    pub fn step_log(&self, step: &StepId) -> Utf8PathBuf {
        self.steps().join(format!("{}.log", step.file_stem()))
    }

    /// The logs of pods: `<namespace>/<pod>/<container>.log`.
    pub fn pods(&self) -> Utf8PathBuf {
        self.path.join("pods")
    }

    /// The way into the cluster of this run.
    pub fn kubeconfig(&self) -> Utf8PathBuf {
        self.path.join("kubeconfig")
    }

    /// The page for people.
    pub fn html(&self) -> Utf8PathBuf {
        self.path.join("report.html")
    }

    /// The trace for chrome://tracing and Perfetto.
    pub fn trace(&self) -> Utf8PathBuf {
        self.path.join("trace.json")
    }

    /// The results for CI.
    pub fn junit(&self) -> Utf8PathBuf {
        self.path.join("junit.xml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_in_the_place_of_the_link_makes_room_and_what_is_none_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = Utf8Path::from_path(dir.path()).unwrap().join(LATEST);
        fs::create_dir_all(&link).unwrap();
        let error = point(&link, "one").unwrap_err().to_string();
        assert!(error.contains("is a folder, and no copy of a run"), "{error}");
        fs::write(RunFolder::at(&link).events(), "").unwrap();
        point(&link, "one").unwrap();
        assert_eq!(link.read_link_utf8().unwrap(), "one");
        point(&link, "two").unwrap();
        assert_eq!(link.read_link_utf8().unwrap(), "two");
    }
}
