//! Puts one piece in place: pulls or downloads it, else runs its recipe.
//!
//! Nothing half-done is ever taken for a whole: files are renamed into the cache when they are
//! complete, and an image gets its name from the engine when its build has ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::engine::Engine;
use e2e_support::{Cancel, Job};
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use super::catalog::{self, Catalog, Download, Kind, Piece};
use super::host::Host;
use super::piece::{self, STAND_IN_LABEL, State};
use crate::disk;

/// A registry or site that does not take a connection within this time counts as out of reach.
const CONNECT: Duration = Duration::from_secs(3);
/// A registry that does not name an image's manifest within this time counts as out of reach.
const MANIFEST: Duration = Duration::from_secs(15);
const PULL: Duration = Duration::from_secs(1200);
const DOWNLOAD: Duration = Duration::from_secs(600);
const RECIPE: Duration = Duration::from_secs(3600);
/// How long to wait for another set-up that makes the same piece.
const OTHER: Duration = Duration::from_secs(3600);

/// What putting pieces in place works with.
#[derive(Clone, Debug)]
pub struct Workshop {
    pub root: Utf8PathBuf,
    pub cache: Utf8PathBuf,
    pub host: Host,
    pub catalog: Catalog,
    pub keys: BTreeMap<String, String>,
    pub engine: Option<Engine>,
}

impl Workshop {
    fn key(&self, piece: &Piece) -> &str {
        &self.keys[&piece.name]
    }

    fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().context("an image needs a container engine")
    }

    /// Whether the piece is there.
    ///
    /// # Errors
    /// As [`piece::state`].
    pub fn state(&self, piece: &Piece) -> Result<State> {
        piece::state(&self.cache, self.engine.as_ref(), piece, self.key(piece))
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

    /// Gets the finished piece from where it is published.
    ///
    /// # Errors
    /// When it is not to be had there; nothing has changed then.
    pub fn fetch(&self, piece: &Piece, cancel: &Cancel) -> Result<()> {
        let _lock = self.lock(piece, cancel)?;
        if self.state(piece)? != State::Missing {
            return Ok(());
        }
        match (&piece.replaces, &piece.download) {
            (Some(reference), _) => self.pull(piece, reference, cancel),
            (None, Some(download)) => self.download(piece, download, cancel),
            (None, None) => bail!("the piece {} is published nowhere", piece.name),
        }
    }

    fn pull(&self, piece: &Piece, reference: &str, cancel: &Cancel) -> Result<()> {
        let engine = self.engine()?;
        let log = self.log(piece);
        let exact = match &piece.digest {
            Some(digest) => format!("{reference}@{digest}"),
            None => reference.to_owned(),
        };
        let doing = || format!("pulling {exact}");
        let sh = Shell::new()?;
        Job::new(engine.cmd(&sh).args(["manifest", "inspect", &exact]))
            .deadline(MANIFEST)
            .cancel(cancel)
            .read()
            .with_context(doing)?;
        engine.pull(&exact, PULL, &log, cancel).with_context(doing)?;
        if exact != *reference {
            engine.tag(&exact, reference).with_context(doing)?;
        }
        Ok(())
    }

    fn download(&self, piece: &Piece, download: &Download, cancel: &Cancel) -> Result<()> {
        let os = if self.host.os == "macos" { "darwin" } else { self.host.os };
        let mut names = self.catalog.versions.clone();
        names.extend([("os", os), ("arch", self.host.arch)].map(|(name, value)| (name.to_owned(), value.to_owned())));
        let fill = |url: &str| catalog::fill(url, &names);
        let (url, sha256_url) = (fill(&download.url)?, fill(&download.sha256_url)?);
        let doing = || format!("downloading {url}");
        let work = self.work(piece)?;
        let file = work.join("out").join(&download.to);
        std::fs::create_dir_all(file.parent().unwrap_or(&work)).with_context(doing)?;
        let sh = Shell::new()?;
        let curl = ["--fail", "--silent", "--show-error", "--location", "--connect-timeout", "5"];
        let stated = Job::new(cmd!(sh, "curl {curl...} {sha256_url}"))
            .deadline(MANIFEST)
            .cancel(cancel)
            .read()
            .with_context(doing)?;
        Job::new(cmd!(sh, "curl {curl...} --output {file} {url}"))
            .deadline(DOWNLOAD)
            .log(self.log(piece))
            .cancel(cancel)
            .run()
            .with_context(doing)?;
        let stated = stated.split_whitespace().next().unwrap_or_default();
        let found = piece::hex(&Sha256::digest(std::fs::read(&file).with_context(doing)?));
        ensure!(found == stated, "downloading {url}: its SHA-256 is {found}, but {sha256_url} says {stated:?}");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(doing)?;
        self.keep(piece, &work)
    }

    /// Builds the piece from packages by its recipe.
    ///
    /// # Errors
    /// When the recipe fails, with its last lines; nothing that could be taken for the piece is left.
    pub fn make(&self, piece: &Piece, cancel: &Cancel) -> Result<()> {
        let doing = || format!("making {} by {}", piece.name, piece.recipe);
        let _lock = self.lock(piece, cancel)?;
        if self.state(piece)? != State::Missing {
            return Ok(());
        }
        let work = self.work(piece).with_context(doing)?;
        let log = self.log(piece);
        let sh = Shell::new()?;
        sh.change_dir(&self.root);
        let recipe = &piece.recipe;
        let mut cmd = cmd!(sh, "bash {recipe}")
            .env("E2E_WORK", work.join("work"))
            .env("E2E_ARCH", self.host.arch)
            .env("E2E_CACHE", &self.cache)
            .env("GOFLAGS", go_flags());
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
                remove(&work)?;
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
    fn work(&self, piece: &Piece) -> Result<Utf8PathBuf> {
        let work = self.cache.join("work").join(&piece.name);
        remove(&work)?;
        for folder in ["work", "out"] {
            let folder = work.join(folder);
            std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {folder}"))?;
        }
        let log = self.log(piece);
        if log.exists() {
            std::fs::remove_file(&log).with_context(|| format!("removing the old log {log}"))?;
        }
        Ok(work)
    }

    /// Moves the finished files to where they are looked for.
    fn keep(&self, piece: &Piece, work: &Utf8Path) -> Result<()> {
        let folder = piece::folder(&self.cache, piece, self.key(piece));
        let parent = folder.parent().context("a piece's folder has a parent")?;
        std::fs::create_dir_all(parent).with_context(|| format!("making the folder {parent}"))?;
        std::fs::rename(work.join("out"), &folder).with_context(|| format!("moving {} to {folder}", piece.name))?;
        remove(work)
    }

    /// One set-up at a time makes a piece. The lock goes with the process that holds it.
    fn lock(&self, piece: &Piece, cancel: &Cancel) -> Result<File> {
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
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {folder}"))?;
    }
    let file = File::create(path).with_context(|| format!("opening {path}"))?;
    let end = Instant::now() + deadline;
    while let Err(error) = file.try_lock() {
        match error {
            std::fs::TryLockError::WouldBlock => {}
            std::fs::TryLockError::Error(error) => return Err(error).with_context(|| format!("locking {path}")),
        }
        ensure!(Instant::now() < end, "{path} is still locked after {:.0} s", deadline.as_secs_f64());
        if cancel.sleep(Duration::from_millis(100)) {
            bail!("{}", cancel.reason().unwrap_or("cancelled"));
        }
    }
    Ok(file)
}

/// Whether something answers at the host of `url_or_reference` within seconds. Behind a proxy only
/// the real request can tell, so the answer is yes.
pub fn answers(url_or_reference: &str) -> bool {
    if ["HTTPS_PROXY", "https_proxy"].iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty())) {
        return true;
    }
    let rest = url_or_reference.strip_prefix("https://").unwrap_or(url_or_reference);
    let host = rest.split('/').next().unwrap_or_default();
    // Docker Hub's registry has another name than its references.
    let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:443") };
    let (sender, receiver) = mpsc::channel();
    // The system's resolver has no deadline of its own.
    std::thread::spawn(move || {
        let connects = address
            .to_socket_addrs()
            .is_ok_and(|mut all| all.any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok()));
        let _ = sender.send(connects);
    });
    receiver.recv_timeout(CONNECT).unwrap_or(false)
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
        remove(entry.path())?;
        removed.push((piece, bytes));
    }
    Ok(removed)
}

fn remove(folder: &Utf8Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the folder {folder}"))
        }
        _ => Ok(()),
    }
}

/// Module caches that can be removed like any other folder.
fn go_flags() -> String {
    let flags = std::env::var("GOFLAGS").unwrap_or_default();
    if flags.contains("-modcacherw") { flags } else { format!("{flags} -modcacherw").trim().to_owned() }
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_takes_no_connection_is_out_of_reach() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(answers(&format!("https://{address}/v2/")));
        drop(listener);
        assert!(!answers(&format!("{address}/library/redis:7")));
    }

    #[test]
    fn a_lock_is_had_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("locks/one");
        let cancel = Cancel::new();
        let held = lock(&path, Duration::ZERO, &cancel).unwrap();
        assert!(lock(&path, Duration::ZERO, &cancel).unwrap_err().to_string().contains("still locked"));
        drop(held);
        lock(&path, Duration::ZERO, &cancel).unwrap();
    }
}
