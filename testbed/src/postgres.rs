//! A real PostgreSQL as a plain process, with a database of its own, that a test may stop and kill.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e_support::{Daemon, Job, ports, users};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use crate::server::{children, find_program, forget_at_exit, kill_and_wait, write_secret};
use crate::tls::Tls;

/// The environment variable that names the folder with `initdb` and `postgres`.
pub const BIN_ENV: &str = "E2E_POSTGRES_BIN";
pub const DATABASE: &str = "action_history";
/// The owner of the database, with every right on the server.
pub const USER: &str = "slm_user";
pub const PASSWORD: &str = "a password of tests";

const READY_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// A port that was free a moment ago may be taken when the server binds it.
const START_ATTEMPTS: usize = 3;

/// A running PostgreSQL on 127.0.0.1. Dropped, it ends at once and its data is removed.
pub struct Postgres {
    daemon: Option<Daemon>,
    dir: TempDir,
    program: PathBuf,
    /// The user and group that it runs as: it refuses to run as root.
    user: Option<(u32, u32)>,
    port: u16,
    tls: Option<Tls>,
}

impl Postgres {
    /// Makes a data folder and a database, starts the server, and waits until it takes connections.
    ///
    /// # Errors
    /// When a program is missing or fails, with the last lines that it printed.
    pub fn start() -> Result<Postgres> {
        let mut postgres = Postgres::make()?;
        for _ in 1..START_ATTEMPTS {
            match postgres.restart() {
                Err(error) if format!("{error:#}").contains("Address already in use") => postgres.port = ports::free()?,
                result => return result.map(|()| postgres),
            }
        }
        postgres.restart().map(|()| postgres)
    }

    /// As [`Postgres::start`], but the server is not started yet: see [`Postgres::restart`].
    ///
    /// # Errors
    /// When a program is missing or fails, with the last lines that it printed.
    pub fn make() -> Result<Postgres> {
        let program = find_program(BIN_ENV, "postgres", usual_places())?;
        let initdb = program.with_file_name("initdb");
        let dir = tempfile::Builder::new().prefix("postgres-").tempdir().context("making a temporary folder")?;
        forget_at_exit(dir.path());
        let user = if rustix::process::getuid().is_root() { Some(users::unprivileged("postgres")?) } else { None };
        let postgres = Postgres { daemon: None, dir, program, user, port: ports::free()?, tls: None };
        let password = postgres.password_file();
        write_secret(&password, PASSWORD)?;
        if let Some((uid, gid)) = user {
            for path in [postgres.dir.path(), &password] {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))
                    .with_context(|| format!("giving {} to user {uid}", path.display()))?;
            }
        }
        let (shell, data) = (postgres.shell()?, postgres.data());
        let make = cmd!(
            shell,
            "{initdb} -D {data} -U {USER} --pwfile {password} --auth scram-sha-256 --encoding UTF8 --no-locale --no-sync"
        );
        postgres.job(make).run().context("making a PostgreSQL data folder")?;
        let program = &postgres.program;
        let single = cmd!(shell, "{program} --single -D {data} postgres");
        postgres
            .job(single)
            .stdin(format!("CREATE DATABASE {DATABASE};\n"))
            .run()
            .with_context(|| format!("making the database {DATABASE}"))?;
        Ok(postgres)
    }

    /// Has the server speak TLS, too, from its next start on; returns the file with the authority that clients trust.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn use_tls(&mut self) -> Result<PathBuf> {
        let tls = Tls::write(self.dir.path(), self.user)?;
        Ok(self.tls.insert(tls).ca.clone())
    }

    /// `host:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection URL of the database.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{}@{}/{DATABASE}", PASSWORD.replace(' ', "%20"), self.address())
    }

    /// A file that holds the password.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Kills the server and all its processes at once, as a failing machine does.
    ///
    /// # Errors
    /// When a process is not gone after a while.
    pub fn kill9(&mut self) -> Result<()> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        let workers = children(daemon.pid());
        daemon.kill();
        kill_and_wait(&workers)
    }

    /// Ends the server in good order: open transactions are aborted.
    ///
    /// # Errors
    /// When it does not end within half a minute.
    pub fn stop(&mut self) -> Result<()> {
        // SIGTERM would wait for clients to leave.
        self.end_by(Signal::INT)
    }

    fn end_by(&mut self, signal: Signal) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let pid =
            i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).context("reading PostgreSQL's process id")?;
        kill_process(pid, signal).context("asking PostgreSQL to stop")?;
        let end = Instant::now() + STOP_DEADLINE;
        while daemon.check().is_ok() {
            if Instant::now() > end {
                bail!("PostgreSQL still runs {} s after {signal:?}", STOP_DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts the server on its data and its port, if it does not run, and waits until it takes
    /// connections.
    ///
    /// # Errors
    /// When it ends at once, or is not ready after a minute, with the last lines that it printed.
    pub fn restart(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let (shell, data, program, port) = (self.shell()?, self.data(), &self.program, self.port.to_string());
        let tls: Vec<String> = self
            .tls
            .iter()
            .flat_map(|tls| {
                let file = |setting: &str, path: &PathBuf| format!("{setting}={}", path.display());
                let settings =
                    ["ssl=on".to_owned(), file("ssl_cert_file", &tls.certificate), file("ssl_key_file", &tls.key)];
                settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting])
            })
            .collect();
        // In a file among its data, so that one that is killed leaves nothing in /dev/shm.
        let memory = ["-c", "dynamic_shared_memory_type=mmap"];
        let start =
            cmd!(shell, "{program} -D {data} -p {port} -h 127.0.0.1 -k '' -c max_connections=60 {memory...} {tls...}");
        let mut daemon = self.job(start).daemon().context("starting PostgreSQL")?;
        let status = data.join("postmaster.pid");
        let pid = daemon.pid().to_string();
        daemon.wait_until("PostgreSQL to take connections", READY_DEADLINE, || {
            // First line: the process; eighth: its state. An old file may be left by one that was killed.
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            lines.first() == Some(&pid.as_str()) && lines.get(7) == Some(&"ready")
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A shell in a folder that the server's user may enter.
    fn shell(&self) -> Result<Shell> {
        let shell = Shell::new().context("finding the current folder")?;
        shell.change_dir(self.dir.path());
        Ok(shell)
    }

    fn job(&self, command: xshell::Cmd<'_>) -> Job<'static> {
        let job = Job::new(command.env("LC_ALL", "C").quiet())
            .deadline(READY_DEADLINE)
            .log(self.log().to_string_lossy().into_owned());
        match self.user {
            Some((uid, gid)) => job.user(uid, gid),
            None => job,
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, as by a kill, but without leaving the machine its shared memory.
        if let Err(error) = self.end_by(Signal::QUIT) {
            eprintln!("stopping PostgreSQL: {error:#}");
        }
    }
}

/// Where distributions put programs that are not meant for the PATH, the newest version first.
fn usual_places() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}
