//! What pieces are put in place with, and by their recipes.
//!
//! Nothing half-done is ever taken for a whole: files are renamed into the cache when they are
//! complete, and an image gets its name from the engine when its build has ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::engine::Engine;
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use super::catalog::{Catalog, Kind, Piece};
use super::digests::Seen;
use super::host::Host;
use super::piece::{self, STAND_IN_LABEL, State};
use crate::disk;

/// What a recipe makes is run by other users inside of containers, whatever this user's files are like.
const OPEN: &str = "umask 022; exec bash \"$0\"";
const RECIPE: Duration = Duration::from_secs(3600);
/// How long to wait for another set-up that makes the same piece.
const OTHER: Duration = Duration::from_secs(3600);
/// How long the removal of what recipes share may take.
const REMOVAL: Duration = Duration::from_secs(300);

/// What putting pieces in place works with.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The folder that the catalog's paths begin at, and recipes are started in.
    pub root: Utf8PathBuf,
    pub cache: Utf8PathBuf,
    pub host: Host,
    pub catalog: Catalog,
    pub keys: BTreeMap<String, String>,
    pub engine: Option<Engine>,
    /// The public images that are used, once everything is there.
    pub images: Vec<Seen>,
}

impl Workshop {
    fn key(&self, piece: &Piece) -> &str {
        &self.keys[&piece.name]
    }

    /// The container engine.
    ///
    /// # Errors
    /// Where there is none.
    pub fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().context("the set-up found no container engine")
    }

    /// Whether the piece is there.
    ///
    /// # Errors
    /// As [`piece::state`].
    pub fn state(&self, piece: &Piece) -> Result<State> {
        piece::state(&self.cache, self.engine.as_ref(), piece, self.key(piece), self.host.arch)
    }

    /// The folder of a files piece.
    ///
    /// # Errors
    /// When no piece has that name.
    pub fn folder(&self, name: &str) -> Result<Utf8PathBuf> {
        let piece = self.catalog.piece(name)?;
        Ok(piece::folder(&self.cache, piece, self.key(piece)))
    }

    /// The log of putting a piece in place.
    pub fn log(&self, piece: &Piece) -> Utf8PathBuf {
        self.cache.join("logs").join(format!("{}.log", piece.name))
    }

    /// Builds the piece from packages by its recipe.
    ///
    /// # Errors
    /// When the recipe fails, with its last lines; nothing that could be taken for the piece is left.
    pub fn make(&self, piece: &Piece, cancel: &Cancel) -> Result<()> {
        let recipe = piece.recipe.as_ref().with_context(|| format!("nothing here makes the piece {}", piece.name))?;
        let doing = || format!("making {} by {recipe}", piece.name);
        let _lock = self.lock(piece, cancel)?;
        if self.state(piece)?.is_there() {
            return Ok(());
        }
        let work = self.work(piece).with_context(doing)?;
        let log = self.log(piece);
        let sh = Shell::new()?;
        sh.change_dir(&self.root);
        let mut cmd = cmd!(sh, "bash -c {OPEN} {recipe}")
            .env("E2E_WORK", work.join("work"))
            .env("E2E_ARCH", self.host.arch)
            .env("E2E_GO", scratch(&self.cache));
        for version in &piece.versions {
            cmd = cmd.env(format!("E2E_VERSION_{}", variable(version)), &self.catalog.versions[version]);
        }
        for need in &piece.needs {
            let need = self.catalog.piece(need)?;
            let value = match &need.replaces {
                Some(reference) => reference.clone(),
                None => self.folder(&need.name)?.into_string(),
            };
            cmd = cmd.env(format!("E2E_NEED_{}", variable(&need.name)), value);
        }
        if let Some(engine) = &self.engine {
            cmd = cmd.env("E2E_ENGINE", engine.program()).envs(engine.env().iter().map(|(k, v)| (k, v)));
        }
        match &piece.replaces {
            Some(reference) => {
                self.engine().with_context(doing)?;
                cmd = cmd.env("E2E_TAG", reference).env("E2E_LABEL", format!("{STAND_IN_LABEL}={}", self.key(piece)));
            }
            None => cmd = cmd.env("E2E_OUT", work.join("out")),
        }
        let recipe = || Job::new(cmd).deadline(RECIPE).log(&log).cancel(cancel).run();
        let made = if piece.kind == Kind::Image { self.engine()?.building(recipe) } else { recipe() };
        made.with_context(doing)?;
        match piece.kind {
            Kind::Files => self.keep(piece, &work),
            Kind::Image => {
                disk::remove_folder(&work)?;
                ensure!(
                    self.state(piece)? == State::Made,
                    "{}: the recipe ended well, but no image has the label {STAND_IN_LABEL}={}; its output: {log}",
                    doing(),
                    self.key(piece)
                );
                Ok(())
            }
        }
    }

    /// An empty scratch folder with `work` and `out` in it; what a killed set-up left there goes.
    pub(super) fn work(&self, piece: &Piece) -> Result<Utf8PathBuf> {
        let work = self.cache.join("work").join(&piece.name);
        disk::remove_folder(&work)?;
        for folder in ["work", "out"] {
            let folder = work.join(folder);
            std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {folder}"))?;
        }
        self.clear_log(piece)?;
        Ok(work)
    }

    /// A log tells of the last time alone.
    pub(super) fn clear_log(&self, piece: &Piece) -> Result<()> {
        let log = self.log(piece);
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing the old log {log}"))
            }
            _ => Ok(()),
        }
    }

    /// Moves the finished files to where they are looked for.
    pub(super) fn keep(&self, piece: &Piece, work: &Utf8Path) -> Result<()> {
        let folder = piece::folder(&self.cache, piece, self.key(piece));
        let parent = folder.parent().context("a piece's folder has a parent")?;
        std::fs::create_dir_all(parent).with_context(|| format!("making the folder {parent}"))?;
        std::fs::rename(work.join("out"), &folder).with_context(|| format!("moving {} to {folder}", piece.name))?;
        disk::remove_folder(work)
    }

    /// One set-up at a time makes a piece. The lock goes with the process that holds it.
    pub(super) fn lock(&self, piece: &Piece, cancel: &Cancel) -> Result<File> {
        let path = self.cache.join("locks").join(&piece.name);
        lock(&path, OTHER, cancel).with_context(|| format!("waiting for another set-up that makes {}", piece.name))
    }
}

/// Takes the lock `path`, waiting for `deadline` at most. It is free again when the file is dropped
/// or the process ends, however it ends.
///
/// # Errors
/// When it cannot be had in time.
pub fn lock(path: &Utf8Path, deadline: Duration, cancel: &Cancel) -> Result<File> {
    lock_by(path, deadline, cancel, File::try_lock)
}

fn lock_by(
    path: &Utf8Path,
    deadline: Duration,
    cancel: &Cancel,
    try_lock: impl Fn(&File) -> Result<(), std::fs::TryLockError>,
) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
    }
    let file = File::create(path).with_context(|| format!("opening {path}"))?;
    let end = Instant::now() + deadline;
    while let Err(error) = try_lock(&file) {
        match error {
            std::fs::TryLockError::WouldBlock => {}
            std::fs::TryLockError::Error(error) => return Err(error).with_context(|| format!("locking {path}")),
        }
        ensure!(Instant::now() < end, "{path} is still locked after {:.0} s", deadline.as_secs_f64());
        cancel.sleep(Duration::from_millis(100));
        go_on(cancel)?;
    }
    Ok(file)
}

/// Goes on, unless the work was told to stop.
///
/// # Errors
/// When it was: why.
pub(super) fn go_on(cancel: &Cancel) -> Result<()> {
    match cancel.reason() {
        Some(reason) => bail!("set-up stopped: {reason}; start it again and it goes on"),
        None => Ok(()),
    }
}

/// Removes the scratch folders of set-ups that were killed, and returns the name of each piece with the bytes that its
/// folder took. Those that a set-up works in stay.
///
/// # Errors
/// When a folder cannot be removed.
pub fn remove_unfinished(cache: &Utf8Path) -> Result<Vec<(String, u64)>> {
    let mut removed = Vec::new();
    for entry in cache.join("work").read_dir_utf8().into_iter().flatten() {
        let entry = entry.with_context(|| format!("listing {cache}/work"))?;
        let piece = entry.file_name().to_owned();
        let Ok(_lock) = lock(&cache.join("locks").join(&piece), Duration::ZERO, &Cancel::new()) else { continue };
        let bytes = disk::used(entry.path());
        disk::remove_folder(entry.path())?;
        removed.push((piece, bytes));
    }
    Ok(removed)
}

/// What the recipes of one set-up fetch and compile, and share: gigabytes, of no use once the pieces are there.
fn scratch(cache: &Utf8Path) -> Utf8PathBuf {
    cache.join("work/shared")
}

/// Holds the folder that recipes share, so that nobody removes it meanwhile.
#[derive(Debug)]
pub struct Scratch {
    folder: Utf8PathBuf,
    lock: File,
}

impl Scratch {
    /// Takes hold of it; several set-ups may.
    ///
    /// # Errors
    /// When it cannot be made, or is being removed for longer than a few minutes.
    pub fn hold(cache: &Utf8Path, cancel: &Cancel) -> Result<Scratch> {
        let folder = scratch(cache);
        let lock = lock_by(&cache.join("locks/shared"), REMOVAL, cancel, File::try_lock_shared)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {folder}"))?;
        Ok(Scratch { folder, lock })
    }

    /// Removes it, unless another set-up holds it: that one will. After a failure it is better left: the next
    /// set-up goes on with it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        let Scratch { folder, lock } = self;
        lock.unlock().context("letting go of what recipes share")?;
        match lock.try_lock() {
            Ok(()) => disk::remove_folder(&folder),
            Err(_) => Ok(()),
        }
    }
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("locks/one");
        let cancel = Cancel::new();
        let held = lock(&path, Duration::ZERO, &cancel).unwrap();
        assert!(lock(&path, Duration::ZERO, &cancel).unwrap_err().to_string().contains("still locked"));
        drop(held);
        // A program that another test starts at this moment has it, too, until it really runs.
        lock(&path, Duration::from_secs(60), &cancel).unwrap();
    }

    #[test]
    fn what_recipes_share_goes_with_the_last_that_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(dir.path()).unwrap();
        let cancel = Cancel::new();
        let (one, two) = (Scratch::hold(cache, &cancel).unwrap(), Scratch::hold(cache, &cancel).unwrap());
        let file = scratch(cache).join("file");
        std::fs::write(&file, "").unwrap();
        one.remove().unwrap();
        assert!(file.exists(), "another set-up compiles with it");
        drop(two);
        assert!(file.exists(), "a set-up that failed leaves it to the next");
        Scratch::hold(cache, &cancel).unwrap().remove().unwrap();
        assert!(!scratch(cache).exists());
    }
}
