//! One instance of a workload, from its first start to its end: a thread watches its process.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::{Daemon, Job, ports, users};
use rustix::process::Signal;
use xshell::{Cmd, Shell};

use super::launch::{Launch, Program, Text, find_program};
use super::shared::{Shared, make_folder};
use super::state::{Phase, Revision};
use crate::suite::processes::{Piece, Readiness};

/// Between two looks at one that is not ready, and at one that is: as a kubelet's, but for the first.
const SOON: Duration = Duration::from_millis(25);
const NOW_AND_THEN: Duration = Duration::from_secs(1);
/// How long it may take over an answer, and how many it may owe until it counts as not ready.
const ANSWER: Duration = Duration::from_secs(2);
const MISSED_ANSWERS: u32 = 3;
/// Before it is started again; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What runs before the first instance may take.
const PREPARATION: Duration = Duration::from_secs(120);
/// At the end of the run, for those that leave something on the machine when they are killed.
const LAST_GRACE: Duration = Duration::from_secs(3);

/// Keeps the instance `name` running until it is told to end.
pub(super) fn keep(shared: &Arc<Shared>, launch: &Launch, name: &str) {
    let revision = match shared.list(&launch.workload) {
        Ok(all) => all.into_iter().find(|instance| instance.name == name).map(|instance| instance.revision),
        Err(_) => None,
    };
    let mut pause = FIRST_PAUSE;
    let one = One { shared, launch, name, revision: &revision.unwrap_or_default() };
    while let Err(error) = one.run() {
        shared.note(&launch.workload, name, |instance| {
            instance.phase = Phase::Failing;
            instance.said = Some(format!("{error:#}"));
        });
        if shared.is_ending(&launch.workload, name, pause) {
            break;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        shared.note(&launch.workload, name, |instance| {
            instance.phase = Phase::Starting;
            instance.restarts += 1;
        });
    }
    // Its files are nobody's any more; its log stays. What cannot be removed now goes with the run.
    let _ = crate::disk::remove_folder(&shared.folders.instance(name));
    shared.remove(&launch.workload, name);
}

struct One<'a> {
    shared: &'a Arc<Shared>,
    launch: &'a Launch,
    name: &'a str,
    revision: &'a Revision,
}

impl One<'_> {
    /// Starts it, and watches it until it is told to end, which is then done.
    fn run(&self) -> Result<()> {
        let Launch { workload, ready, .. } = self.launch;
        let ports: BTreeMap<String, u16> =
            self.launch.ports.iter().map(|port| Ok((port.name.clone(), ports::free()?))).collect::<Result<_>>()?;
        self.shared.note(workload, self.name, |instance| instance.ports = ports.clone());
        self.write_files(&ports)?;
        self.prepare(&ports)?;
        let program = self.program(&self.launch.program)?;
        let mut daemon = self.job(&program, &self.launch.args, &ports)?.stop_signal(self.launch.stop).daemon()?;
        let (mut missed, mut is_ready) = (0, false);
        let mut next = Instant::now();
        loop {
            let until_next = next.saturating_duration_since(Instant::now());
            // One that has ended is noticed as soon as one that is not ready yet.
            if self.shared.is_ending(workload, self.name, until_next.min(SOON)) {
                self.end(daemon);
                return Ok(());
            }
            daemon.check()?;
            if Instant::now() < next {
                continue;
            }
            let answers = ports.get(&ready.port).is_some_and(|port| answers(*port, ready));
            missed = if answers { 0 } else { missed + 1 };
            let was_ready = is_ready;
            is_ready = answers || (is_ready && missed < MISSED_ANSWERS);
            if is_ready != was_ready {
                let phase = if is_ready { Phase::Ready } else { Phase::Unready };
                self.shared.note(workload, self.name, |instance| {
                    instance.phase = phase;
                    instance.said = None;
                });
            }
            next = Instant::now() + if is_ready { NOW_AND_THEN } else { SOON };
        }
    }

    /// Tells it to end, and waits until it has; at the end of the run without its grace.
    fn end(&self, daemon: Daemon) {
        match (self.shared.over.is_cancelled(), self.launch.stop) {
            (true, Signal::TERM) => daemon.kill(),
            (true, _) => daemon.stop(LAST_GRACE),
            (false, _) => daemon.stop_or_kill(self.launch.grace, &self.shared.over),
        }
    }

    fn folder(&self) -> Utf8PathBuf {
        self.shared.folders.instance(self.name)
    }

    fn data(&self) -> Utf8PathBuf {
        self.shared.folders.data(&self.launch.workload)
    }

    /// Writes its files, those of the change in place of the suite's.
    fn write_files(&self, ports: &BTreeMap<String, u16>) -> Result<()> {
        let folder = self.folder();
        make_folder(&folder)?;
        make_folder(&self.data())?;
        let changed = &self.revision.change.files;
        let texts = self.launch.files.iter().filter(|file| !changed.contains_key(&file.path));
        let texts = texts.map(|file| (&file.path, self.text(&file.text, ports)));
        for (path, text) in texts.chain(changed.iter().map(|(path, text)| (path, text.clone()))) {
            // They may hold passwords.
            crate::disk::write_secret(&folder.join(path), text)?;
        }
        match self.user()? {
            Some((uid, gid)) => [folder, self.data()].iter().try_for_each(|folder| give(folder, uid, gid)),
            None => Ok(()),
        }
    }

    /// Runs what comes before the first instance, unless it has been done.
    fn prepare(&self, ports: &BTreeMap<String, u16>) -> Result<()> {
        let data = self.data();
        let is_prepared = self.shared.folders.work.join("prepared").join(&self.launch.workload);
        if self.launch.prepare.is_empty() || is_prepared.exists() {
            return Ok(());
        }
        // What an earlier try has left is in the way of the next.
        crate::disk::remove_folder(&data)?;
        make_folder(&data)?;
        if let Some((uid, gid)) = self.user()? {
            give(&data, uid, gid)?;
        }
        for one in &self.launch.prepare {
            let job = self.job(&self.program(&one.program)?, &one.args, ports)?.deadline(PREPARATION);
            let job = match &one.stdin {
                Some(text) => job.stdin(self.text(text, ports)),
                None => job,
            };
            job.cancel(&self.shared.over).run().with_context(|| format!("preparing {}", self.launch.workload))?;
        }
        crate::disk::write(&is_prepared, "")
    }

    fn program(&self, program: &Program) -> Result<Utf8PathBuf> {
        match program {
            Program::Package(package) => Ok(self.shared.folders.binary(package)),
            Program::OfHost { name, folders } => find_program(name, folders).with_context(|| {
                format!("there is no program {name} on PATH or in {folders:?}: `cargo xtask setup` installs it")
            }),
        }
    }

    /// A command of the workload: in the instance's folder, with its variables and no others, its output in its log.
    fn job(&self, program: &Utf8Path, args: &[Text], ports: &BTreeMap<String, u16>) -> Result<Job<'static>> {
        let shell = Shell::new().context("finding the current folder")?;
        let folder = self.folder();
        shell.change_dir(&folder);
        let mut command: Cmd<'_> = shell.cmd(program).quiet().env_clear();
        for (name, value) in [("PATH", std::env::var("PATH").ok()), ("TMPDIR", std::env::var("TMPDIR").ok())] {
            if let Some(value) = value {
                command = command.env(name, value);
            }
        }
        command = command.env("HOME", &folder).args(args.iter().map(|arg| self.text(arg, ports)));
        let own = self.launch.env.iter().map(|(name, value)| (name, self.text(value, ports)));
        for (name, value) in own {
            command = command.env(name, value);
        }
        command = command.envs(&self.revision.change.env);
        let job = Job::new(command).log(self.shared.folders.log(self.launch, self.name));
        Ok(match self.user()? {
            Some((uid, gid)) => job.user(uid, gid),
            None => job,
        })
    }

    /// Whom it runs as, where that is not this process's own user.
    fn user(&self) -> Result<Option<(u32, u32)>> {
        match &self.launch.user {
            Some(user) if rustix::process::getuid().is_root() => users::unprivileged(user).map(Some),
            _ => Ok(None),
        }
    }

    fn text(&self, text: &Text, ports: &BTreeMap<String, u16>) -> String {
        let account = self.shared.folders.account(&self.launch.workload);
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Folder => self.folder().into_string(),
            Piece::Data => self.data().into_string(),
            Piece::Name => self.name.to_owned(),
            // The suite was read with the names that there are.
            Piece::Port(name) => ports.get(name).map(u16::to_string).unwrap_or_default(),
            Piece::Address { workload, port } => self.shared.address(workload, port).unwrap_or_default(),
            Piece::Kubeconfig => account.join("kubeconfig").into_string(),
            Piece::Token(audience) => token_file(&account, audience).into_string(),
        };
        text.iter().map(piece).collect()
    }
}

/// Where the token for an audience lies among an account's credentials.
pub(super) fn token_file(account: &Utf8Path, audience: &str) -> Utf8PathBuf {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    account.join(format!("token-for-{}", audience.chars().map(fit).collect::<String>()))
}

/// Makes a folder and all in it a user's own.
fn give(path: &Utf8Path, uid: u32, gid: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).with_context(|| format!("giving {path} to user {uid}"))?;
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        for entry in path.read_dir_utf8().with_context(|| format!("listing {path}"))? {
            give(entry.with_context(|| format!("listing {path}"))?.path(), uid, gid)?;
        }
    }
    Ok(())
}

/// Whether the port of this machine takes a connection or, where a path is named, answers a request for it.
fn answers(port: u16, ready: &Readiness) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER)?;
        let Some(path) = &ready.http else { return Ok(true) };
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        let status = String::from_utf8_lossy(&status);
        let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)).and_then(|code| code.parse().ok());
        Ok(code.is_some_and(|code: u16| (200..400).contains(&code)))
    };
    ask().unwrap_or(false)
}
