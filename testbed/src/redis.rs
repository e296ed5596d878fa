//! A real Redis as a plain process, as durable as the service requires it, that a test may stop and kill.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e_support::{Daemon, Job, ports};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use crate::server::{find_program, forget_at_exit, write_secret};
use crate::tls::Tls;

/// The environment variable that names the program.
pub const SERVER_ENV: &str = "E2E_REDIS_SERVER";
pub const PASSWORD: &str = "a-password-of-tests";

const READY_DEADLINE: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// A port that was free a moment ago may be taken when the server binds it.
const START_ATTEMPTS: usize = 3;

/// A running Redis on 127.0.0.1. Dropped, it is killed and its data removed.
pub struct Redis {
    daemon: Option<Daemon>,
    dir: TempDir,
    program: PathBuf,
    port: u16,
    tls: Option<(Tls, u16)>,
}

impl Redis {
    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// When the program is missing or fails, with the last lines that it printed.
    pub fn start() -> Result<Redis> {
        let mut redis = Redis::make()?;
        for _ in 1..START_ATTEMPTS {
            match redis.restart() {
                Err(error) if format!("{error:#}").contains("Address already in use") => redis.port = ports::free()?,
                result => return result.map(|()| redis),
            }
        }
        redis.restart().map(|()| redis)
    }

    /// As [`Redis::start`], but the server is not started yet: see [`Redis::restart`].
    ///
    /// # Errors
    /// When the program is missing.
    pub fn make() -> Result<Redis> {
        let program = find_program(SERVER_ENV, "redis-server", vec!["/usr/sbin".into(), "/usr/local/bin".into()])?;
        let dir = tempfile::Builder::new().prefix("redis-").tempdir().context("making a temporary folder")?;
        forget_at_exit(dir.path());
        let redis = Redis { daemon: None, dir, program, port: ports::free()?, tls: None };
        write_secret(&redis.password_file(), PASSWORD)?;
        Ok(redis)
    }

    /// Has the server speak TLS, on a port of its own, from its next start on; returns its `host:port`, and the file with
    /// the authority that clients trust.
    ///
    /// # Errors
    /// When there is no port, or a file cannot be written.
    pub fn use_tls(&mut self) -> Result<(String, PathBuf)> {
        let (tls, port) = self.tls.insert((Tls::write(self.dir.path(), None)?, ports::free()?));
        Ok((format!("127.0.0.1:{port}"), tls.ca.clone()))
    }

    /// `host:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection URL.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address())
    }

    /// A file that holds the password.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// Kills the server, as a failing machine does.
    pub fn kill9(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// Ends the server in good order.
    pub fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop(STOP_GRACE);
        }
    }

    /// Starts the server on its data and its port, if it does not run, and waits until it answers.
    ///
    /// # Errors
    /// When it ends at once, or does not answer after a while, with the last lines that it printed.
    pub fn restart(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let shell = Shell::new().context("finding the current folder")?;
        let (program, dir, port) = (&self.program, self.dir.path(), self.port.to_string());
        let durable =
            ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"];
        let tls: Vec<String> = self
            .tls
            .iter()
            .flat_map(|(tls, port)| {
                let file = |path: &PathBuf| path.display().to_string();
                let (port, certificate, key, ca) =
                    (port.to_string(), file(&tls.certificate), file(&tls.key), file(&tls.ca));
                [
                    ("--tls-port", port),
                    ("--tls-cert-file", certificate),
                    ("--tls-key-file", key),
                    ("--tls-ca-cert-file", ca),
                    ("--tls-auth-clients", "no".to_owned()),
                ]
            })
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect();
        let start = cmd!(
            shell,
            "{program} --bind 127.0.0.1 --port {port} --dir {dir} --requirepass {PASSWORD} {durable...} {tls...}"
        );
        let mut daemon = Job::new(start.quiet()).daemon().context("starting Redis")?;
        daemon.wait_until("Redis to answer", READY_DEADLINE, || answers(self.port).unwrap_or(false))?;
        self.daemon = Some(daemon);
        Ok(())
    }
}

/// Whether it has read its file: before, it takes connections but answers with an error.
fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ASK_TIMEOUT))?;
    stream.write_all(format!("AUTH {PASSWORD}\r\nPING\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("+PONG"))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill9();
    }
}
