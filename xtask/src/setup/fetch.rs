//! Gets pieces from where they are published.
//!
//! Nothing is taken that is not what it should be: a file has a checksum in the catalog, an image a
//! digest where its publisher tells one.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use camino::Utf8Path;
use e2e_support::engine::{Engine, Flavor};
use e2e_support::pull::by_digest;
use e2e_support::{Cancel, Ended, Job, ProcessError};
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use super::catalog::{Piece, Source};
use super::make::{Workshop, go_on};
use super::{piece, wheel};

/// How long the engine may take for something small.
const ANSWER: Duration = Duration::from_secs(20);
const PULL: Duration = Duration::from_secs(1200);
/// A download with all its tries. Each of them ends earlier where hardly anything arrives.
const DOWNLOAD: Duration = Duration::from_secs(600);
/// Of curl: errors are errors, nobody waits for a connection or for bytes that do not come. Proxies and their
/// passwords are in the environment, never among the arguments.
pub(super) const CURL: [&str; 10] = [
    "--fail",
    "--silent",
    "--show-error",
    "--location",
    "--connect-timeout",
    "5",
    "--speed-limit",
    "1000",
    "--speed-time",
    "30",
];
/// Again where a server is busy (408, 429, 5xx): three times, and no longer than this in all, whatever time it names.
const RETRY: [&str; 4] = ["--retry", "3", "--retry-max-time", "45"];

/// What arrived is not what the catalog says: no reason to look for another way, but to stop.
#[derive(Debug)]
pub struct Mismatch(String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// A program that a download takes, and that is not there.
pub(super) struct Lack {
    pub(super) why: &'static str,
    /// The Debian packages that bring it.
    pub(super) packages: &'static [&'static str],
}

const NO_CURL: Lack =
    Lack { why: "curl is not on PATH; with it, it would be downloaded", packages: &["curl", "ca-certificates"] };
const NO_UNZIP: Lack =
    Lack { why: "unzip is not on PATH; with it, it would be downloaded and unpacked", packages: &["unzip"] };

/// What of the programs that it takes to get a file is not there.
pub(super) fn lacks(source: &Source) -> Vec<Lack> {
    let curl = (!has_curl() && !wheel::pip_has(source)).then_some(NO_CURL);
    let unzip = (source.unzip && which::which("unzip").is_err()).then_some(NO_UNZIP);
    curl.into_iter().chain(unzip).collect()
}

pub(super) fn has_curl() -> bool {
    which::which("curl").is_ok()
}

/// How an image is asked for: by its digest where one is known.
pub(super) fn exact(piece: &Piece, reference: &str) -> Result<String> {
    match &piece.digest {
        Some(digest) => by_digest(reference, digest),
        None => Ok(reference.to_owned()),
    }
}

fn process_error(error: &anyhow::Error) -> Option<&ProcessError> {
    error.chain().find_map(|cause| cause.downcast_ref::<ProcessError>())
}

pub(super) fn ended(error: &anyhow::Error) -> Option<Ended> {
    process_error(error).map(|error| error.ended)
}

/// The last line that says why: what podman logs of its own end, where it is stopped, says nothing.
fn last_word(tail: &str) -> Option<&str> {
    let of_its_end = |line: &str| line.starts_with("time=") && line.contains("shutdown");
    tail.lines().map(str::trim).rfind(|line| !line.is_empty() && !of_its_end(line)).map(plain)
}

/// What a line of an engine's log says, without its time and level; any other line as it is.
fn plain(line: &str) -> &str {
    let message = line.strip_prefix("time=").and_then(|line| line.split_once(" msg=\""));
    message.and_then(|(_, message)| message.strip_suffix('"')).unwrap_or(line)
}

/// Why something failed, in one line: a program's own last word, where it had one.
pub fn said(error: &anyhow::Error) -> String {
    if let Some(process) = process_error(error) {
        let last = last_word(&process.tail);
        return match (process.ended, last) {
            (Ended::Exited(_), Some(last)) => last.to_owned(),
            (ended, Some(last)) => format!("{ended}: {last}"),
            (ended, None) => ended.to_string(),
        };
    }
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

impl Workshop {
    /// Where the file of the piece is to be had for this machine.
    ///
    /// # Errors
    /// As [`super::catalog::Catalog::source`].
    pub fn source(&self, piece: &Piece) -> Result<Option<Source>> {
        self.catalog.source(piece, self.host.os, self.host.arch)
    }

    /// Gets the finished piece from where it is published.
    ///
    /// # Errors
    /// When it is not to be had there; nothing has changed then. A [`Mismatch`] when it is not what it should be.
    pub fn fetch(&self, piece: &Piece, cancel: &Cancel) -> Result<()> {
        let _lock = self.lock(piece, cancel)?;
        if self.state(piece)?.is_there() {
            return Ok(());
        }
        match (&piece.replaces, self.source(piece)?) {
            (Some(reference), _) => self.pull(piece, reference, cancel),
            (None, Some(source)) => self.download(piece, &source, cancel),
            (None, None) => bail!("the piece {} is published nowhere", piece.name),
        }
    }

    fn pull(&self, piece: &Piece, reference: &str, cancel: &Cancel) -> Result<()> {
        let engine = self.engine()?;
        let exact = exact(piece, reference)?;
        let doing = || format!("pulling {exact}");
        let platform = format!("linux/{}", self.host.arch);
        self.clear_log(piece)?;
        engine.pull(&exact, &platform, PULL, &self.log(piece), cancel).map_err(|error| {
            let word = said(&error);
            if is_about_digests(&word) {
                return Mismatch(format!("{}: {word}", doing())).into();
            }
            match mirrors(engine, cancel) {
                Some(mirrors) => {
                    anyhow!("{word}; the daemon's mirror {mirrors} has not given it either: its log says why")
                }
                None => error.context(doing()),
            }
        })?;
        if exact != *reference {
            engine.tag(&exact, reference).with_context(doing)?;
        }
        let state = self.state(piece)?;
        match state {
            piece::State::Unfit(what) => Err(Mismatch(format!("{}: {what}", doing())).into()),
            state if state.is_there() => Ok(()),
            _ => bail!("{}: the engine says that it has, but there is no image {reference}", doing()),
        }
    }

    fn download(&self, piece: &Piece, source: &Source, cancel: &Cancel) -> Result<()> {
        let url = &source.url;
        let doing = || format!("downloading {url}");
        if let Some(lack) = lacks(source).first() {
            bail!("{}: {}", doing(), lack.why);
        }
        let work = self.work(piece)?;
        let out = work.join("out");
        let program = out.join(&source.to);
        std::fs::create_dir_all(program.parent().unwrap_or(&work)).with_context(doing)?;
        let by_pip = wheel::by_pip(source, &work.join("work"), &self.log(piece), cancel)?;
        let file = match by_pip {
            Some(file) => file,
            None => {
                let file = if source.unzip { work.join("work/zip") } else { program.clone() };
                let sh = Shell::new()?;
                Job::new(cmd!(sh, "curl").args(CURL).args(RETRY).args(["--output", file.as_str(), url]))
                    .deadline(DOWNLOAD)
                    .log(self.log(piece))
                    .cancel(cancel)
                    .run()
                    .with_context(doing)?;
                file
            }
        };
        let found = sha256(&file).with_context(doing)?;
        if found != source.sha256 {
            crate::disk::remove_folder(&work)?;
            let wanted = &source.sha256;
            let text = format!(
                "downloading {url}: the SHA-256 of what came is {found}, but {} says {wanted}: it is not what was \
                 published, or something on the way has put another in its place (a proxy's page?); nothing of it was \
                 kept. Find out which before anything else is done",
                super::catalog::FILE
            );
            return Err(Mismatch(text).into());
        }
        if source.unzip {
            wheel::unzip(&file, &out, &self.log(piece), cancel).with_context(doing)?;
            ensure!(program.is_file(), "{}: there is no {} in it", doing(), source.to);
        }
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(doing)?;
        go_on(cancel)?;
        self.keep(piece, &work)
    }
}

/// The mirrors of docker's daemon, where it has some. It asks them first, and says nothing of what they answered: what it
/// tells in the end is of the public registry alone.
fn mirrors(engine: &Engine, cancel: &Cancel) -> Option<String> {
    if engine.flavor() != Flavor::Docker {
        return None;
    }
    let sh = Shell::new().ok()?;
    let ask = engine.cmd(&sh).args(["info", "--format", "{{join .RegistryConfig.Mirrors \", \"}}"]);
    let told = Job::new(ask).deadline(ANSWER).cancel(cancel).read().ok()?;
    Some(told).filter(|told| !told.is_empty())
}

/// Whether an engine says that what it got does not have the digest that was asked for.
pub(super) fn is_about_digests(said: &str) -> bool {
    let said = said.to_lowercase();
    said.contains("digest")
        && ["does not match", "did not match", "verification failed"].iter().any(|s| said.contains(s))
}

/// The SHA-256 of a file, in lower-case hex.
fn sha256(path: &Utf8Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("opening {path}"))?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut block).with_context(|| format!("reading {path}"))? {
            0 => return Ok(crate::hash::hex(&hash.finalize())),
            length => hash.update(&block[..length]),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    use camino::Utf8PathBuf;

    use super::super::catalog::Catalog;
    use super::super::host::Host;
    use super::*;

    /// A site on loopback that answers every request with these bytes; none for never.
    pub(in crate::setup) fn site(answer: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => open.push(stream),
                }
            }
        });
        format!("http://{address}/tool")
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood";

    /// A workshop with one piece, the file `bin/tool` of that site, which should hold `good`.
    pub(in crate::setup) fn workshop(url: &str) -> (tempfile::TempDir, Workshop) {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
        let host = Host::look();
        let sum = crate::hash::hex(&Sha256::digest("good"));
        let text = format!(
            "
versions: {{}}
engine_packages: []
pieces:
  - {{ name: tool, kind: files, about: a, recipe: recipe, download: {{ url: '{url}', sha256: {{ {}-{}: {sum} }}, to: bin/tool }} }}
",
            host.os.replace("macos", "darwin"),
            host.arch
        );
        std::fs::create_dir_all(root.join("images")).unwrap();
        std::fs::write(root.join(super::super::catalog::FILE), text).unwrap();
        std::fs::write(root.join("recipe"), "").unwrap();
        let catalog = Catalog::read(&root).unwrap();
        let keys = piece::keys(&root, &catalog, host.arch).unwrap();
        let cache = root.join("cache");
        (dir, Workshop { root, cache, host, catalog, keys, engine: None, images: Vec::new() })
    }

    fn fetch(url: &str, cancel: &Cancel) -> (tempfile::TempDir, Workshop, Result<()>) {
        let (dir, workshop) = workshop(url);
        let fetched = workshop.fetch(workshop.catalog.piece("tool").unwrap(), cancel);
        (dir, workshop, fetched)
    }

    #[test]
    fn a_file_with_the_right_checksum_is_put_in_place() {
        let (_dir, workshop, fetched) = fetch(&site(Some(GOOD)), &Cancel::new());
        fetched.unwrap();
        let file = workshop.folder("tool").unwrap().join("bin/tool");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "good");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn other_bytes_are_a_mismatch_and_nothing_of_them_is_kept() {
        let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil";
        let (_dir, workshop, fetched) = fetch(&site(Some(evil)), &Cancel::new());
        let error = fetched.unwrap_err();
        assert!(error.is::<Mismatch>(), "{error:#}");
        for hash in ["evil", "good"].map(|text| crate::hash::hex(&Sha256::digest(text))) {
            assert!(error.to_string().contains(&hash), "{error:#}");
        }
        assert!(!workshop.folder("tool").unwrap().exists() && !workshop.cache.join("work/tool").exists());
    }

    #[test]
    fn a_site_that_refuses_is_told_in_one_line_however_long_it_wants_to_be_waited_for() {
        let begin = Instant::now();
        for (answer, says) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "404"),
            ("HTTP/1.1 429 Too Many\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "429"),
        ] {
            let (_dir, _, fetched) = fetch(&site(Some(answer)), &Cancel::new());
            let error = fetched.unwrap_err();
            assert!(!error.is::<Mismatch>(), "{error:#}");
            let said = said(&error);
            assert!(said.contains(says) && said.starts_with("curl: (22)") && !said.contains('\n'), "{said}");
        }
        assert!(begin.elapsed() < Duration::from_secs(50), "an hour is too long");
    }

    #[test]
    fn a_download_that_hangs_can_be_stopped() {
        let (url, cancel) = (site(None), Cancel::new());
        let stop = cancel.clone();
        let stopper = std::thread::spawn(move || {
            stop.sleep(Duration::from_millis(300));
            stop.cancel("enough");
        });
        let begin = Instant::now();
        let (_dir, workshop, fetched) = fetch(&url, &cancel);
        stopper.join().unwrap();
        assert!(fetched.is_err() && begin.elapsed() < Duration::from_secs(10));
        assert!(!workshop.folder("tool").unwrap().exists());
    }

    #[test]
    fn of_a_line_of_an_engines_log_the_message_is_told() {
        let busy = "Too many requests to https://x/v2/: sleeping for 4.000000 seconds before next attempt";
        let line = format!("time=\"2026-01-02T03:04:05Z\" level=debug msg=\"{busy}\"");
        assert_eq!(plain(&line), busy);
        let end = "time=\"x\" level=debug msg=\"Completed shutdown handler \\\"libpod\\\", duration 0s\" PID=155";
        assert_eq!(last_word(&format!("{line}\n{end}\n\n")), Some(busy));
        assert_eq!(last_word("Error: shutdown of the registry\n"), Some("Error: shutdown of the registry"));
        for line in ["Error: manifest unknown", "time=\"x\" level=debug", "time to go msg=\"x"] {
            assert_eq!(plain(line), line);
        }
    }

    #[test]
    fn an_engines_word_on_digests_is_a_mismatch() {
        for (said, is) in [
            ("Error: manifest does not match provided manifest digest sha256:aa", true),
            ("Digest did not match, expected sha256:aa, got sha256:bb", true),
            ("filesystem layer verification failed for digest sha256:aa", true),
            ("manifest unknown", false),
            ("dial tcp: lookup registry-1.docker.io: no such host", false),
        ] {
            assert_eq!(is_about_digests(said), is, "{said}");
        }
    }
}
