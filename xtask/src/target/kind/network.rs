//! The network that the nodes of all of kind's clusters share: it stays while one is created, and goes with the last of
//! them, where one of ours was the first. Somebody else's kind network is never removed.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::Engine;
use e2e_support::{Cancel, Job, kind};
use xshell::Shell;

/// How long the engine may take for something small.
const ANSWER: Duration = Duration::from_secs(20);
/// What is noted in place of an id until the network is there: whatever comes then is ours.
const COMES: &str = "comes";

/// As long as it is held the network stays.
#[derive(Debug)]
pub(super) struct Held<'e> {
    engine: &'e Engine,
    note: Utf8PathBuf,
    _lock: File,
}

/// Held while a cluster is created. Where there is no network yet, the one that comes is noted as ours.
///
/// # Errors
/// When the lock's file or the note cannot be made, the engine does not answer, or the work is cancelled.
pub(super) fn hold<'e>(engine: &'e Engine, cache: &Utf8Path, cancel: &Cancel) -> Result<Held<'e>> {
    let lock = lock(cache)?;
    while lock.try_lock_shared().is_err() {
        // It is taken alone for the moment of the removal.
        if cancel.sleep(Duration::from_millis(50)) {
            bail!("waiting for the network of kind's nodes: {}", cancel.reason().unwrap_or("cancelled"));
        }
    }
    let note = note(engine, cache);
    if id(engine)?.is_none() {
        std::fs::write(&note, COMES).with_context(|| format!("writing {note}"))?;
    }
    Ok(Held { engine, note, _lock: lock })
}

impl Held<'_> {
    /// Notes which network has come, where it is ours.
    ///
    /// # Errors
    /// When the engine does not answer, or the note cannot be written.
    pub(super) fn came(self) -> Result<()> {
        if read(&self.note)?.as_deref() == Some(COMES)
            && let Some(id) = id(self.engine)?
        {
            std::fs::write(&self.note, id).with_context(|| format!("writing {}", self.note))?;
        }
        Ok(())
    }
}

/// Removes the network where it is ours, no cluster is left and none is being created.
///
/// # Errors
/// When the engine does not answer, or the note cannot be read or removed.
pub fn remove(engine: &Engine, cache: &Utf8Path) -> Result<()> {
    let lock = lock(cache)?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    let note = note(engine, cache);
    let Some(noted) = read(&note)? else { return Ok(()) };
    if !engine.containers(kind::CLUSTER_LABEL, None)?.is_empty() {
        return Ok(());
    }
    let there = id(engine)?;
    if there.as_ref().is_some_and(|id| noted == COMES || noted == *id) {
        let sh = Shell::new()?;
        let removed = Job::new(engine.cmd(&sh).args(["network", "rm", kind::NETWORK])).deadline(ANSWER).output()?;
        // Refused where somebody's container still uses it; a later removal tries again.
        if !removed.success() {
            return Ok(());
        }
    }
    std::fs::remove_file(&note).with_context(|| format!("removing {note}"))
}

fn lock(cache: &Utf8Path) -> Result<File> {
    let path = cache.join("locks/network");
    std::fs::create_dir_all(cache.join("locks")).with_context(|| format!("making the folder {cache}/locks"))?;
    File::create(&path).with_context(|| format!("opening {path}"))
}

/// Where the id of the engine's network is noted that is ours.
fn note(engine: &Engine, cache: &Utf8Path) -> Utf8PathBuf {
    cache.join(format!("network-{}", engine.flavor()))
}

fn read(note: &Utf8Path) -> Result<Option<String>> {
    match std::fs::read_to_string(note) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {note}")),
    }
}

/// The id of the network; none where there is none.
fn id(engine: &Engine) -> Result<Option<String>> {
    let sh = Shell::new()?;
    let ask = engine.cmd(&sh).args(["network", "inspect", "--format", "{{.ID}}", kind::NETWORK]);
    let told = Job::new(ask).deadline(ANSWER).output()?;
    if told.success() {
        return Ok(Some(told.stdout.trim().to_owned()));
    }
    ensure!(
        told.tail.to_lowercase().contains("not found"),
        "asking {} for the network {}: {}",
        engine.flavor(),
        kind::NETWORK,
        told.tail
    );
    Ok(None)
}
