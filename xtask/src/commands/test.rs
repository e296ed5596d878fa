//! `test`: all tests but those that need a cluster, with the real servers that they need.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use e2e_support::{Cancel, Job};
use xshell::{Cmd, Shell, cmd};

use crate::paths::Paths;
use crate::setup::make::Workshop;
use crate::setup::run::{Consent, ensure};
use crate::setup::survey::Wanted;

/// How long all tests may take, compiling included.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Most of the tests' time they wait for servers: so many at once for each core.
const THREADS_PER_CORE: usize = 2;
/// Debian's places for what it does not put on PATH.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// Run all tests but those that need a cluster; puts PostgreSQL, Redis, etcd, kube-apiserver, kubectl, Python, fish and
/// zsh in place first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Set the machine up without asking, if something is missing
    #[arg(long)]
    pub yes: bool,
    /// Handed on to `cargo test`: a filter, -p PACKAGE, -- --nocapture and so on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When something is missing and cannot be put in place, or a test fails.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let mut packages = BTreeMap::new();
    if find_postgresql().is_none() {
        packages.insert("postgresql".to_owned(), "the tests' PostgreSQL".to_owned());
    }
    if which::which("redis-server").is_err() {
        packages.insert("redis-server".to_owned(), "the tests' Redis".to_owned());
    }
    for shell in ["fish", "zsh"] {
        if which::which(shell).is_err() {
            packages.insert(shell.to_owned(), "the tests of completions".to_owned());
        }
    }
    if which::which("python3").is_err() {
        packages.insert("python3".to_owned(), "the example's specs".to_owned());
    }
    let wanted = Wanted {
        engine: None,
        any_engine: true,
        pieces: ["kubernetes", "etcd", "kubectl"].map(str::to_owned).into(),
        packages,
        kubernetes: None,
    };
    let workshop = ensure(paths, &wanted, Consent::of(args.yes), cancel)?;
    let sh = Shell::new()?;
    sh.change_dir(&paths.root);
    let cargo = paths.cargo();
    let all: &[&str] =
        if args.args.iter().any(|arg| arg == "-p" || arg.starts_with("--package")) { &[] } else { &["--workspace"] };
    let words = &args.args;
    let tests = cmd!(sh, "{cargo} test --locked --no-fail-fast {all...} {words...}").envs(paths.of_cargo());
    let mut tests = without_proxy(tests, |name| std::env::var(name).ok()).envs(servers(&workshop)?);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tests = tests.env("RUST_TEST_THREADS", (cores * THREADS_PER_CORE).to_string());
    }
    Job::new(tests).deadline(DEADLINE).cancel(cancel).inherit_output().run().context("running the tests")
}

/// Tests speak to servers of this machine alone, which no proxy reaches; cargo itself is told of the proxy in a way of
/// its own. <https://doc.rust-lang.org/cargo/reference/config.html#httpproxy>
fn without_proxy<'sh>(mut tests: Cmd<'sh>, variable: impl Fn(&str) -> Option<String>) -> Cmd<'sh> {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];
    let proxy = names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    if let Some(proxy) = proxy.filter(|_| variable("CARGO_HTTP_PROXY").is_none()) {
        tests = tests.env("CARGO_HTTP_PROXY", proxy);
    }
    names.iter().fold(tests, |tests, name| tests.env_remove(name))
}

/// Where the tests find the servers that they start.
fn servers(workshop: &Workshop) -> Result<Vec<(String, String)>> {
    let postgresql = find_postgresql().with_context(|| format!("no initdb on PATH or below {POSTGRESQL}"))?;
    let redis = which::which("redis-server").context("no redis-server on PATH")?;
    let mut env = vec![
        ("E2E_KUBE_APISERVER".to_owned(), workshop.folder("kubernetes")?.join("bin/kube-apiserver").into_string()),
        ("E2E_ETCD".to_owned(), workshop.folder("etcd")?.join("bin/etcd").into_string()),
        ("E2E_POSTGRES_BIN".to_owned(), postgresql.into_string()),
        ("E2E_REDIS_SERVER".to_owned(), redis.to_string_lossy().into_owned()),
    ];
    if let Some(engine) = &workshop.engine {
        env.extend(engine.env().iter().cloned());
    }
    Ok(env)
}

/// The folder with initdb and postgres: that on PATH, else the newest of Debian's.
fn find_postgresql() -> Option<Utf8PathBuf> {
    if let Some(initdb) = which::which("initdb").ok().and_then(|path| Utf8PathBuf::try_from(path).ok()) {
        return initdb.parent().map(camino::Utf8Path::to_owned);
    }
    let versions = camino::Utf8Path::new(POSTGRESQL).read_dir_utf8().ok()?.flatten();
    let with_server = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    with_server.max_by_key(|bin| bin.parent().and_then(|version| version.file_name()?.parse::<u32>().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_for_cargo_alone() {
        let sh = Shell::new().unwrap();
        let proxied = |name: &str| (name == "https_proxy").then(|| "http://proxy:3128".to_owned());
        let env =
            Job::new(without_proxy(cmd!(sh, "env").env("https_proxy", "http://proxy:3128"), proxied)).read().unwrap();
        assert!(env.contains("CARGO_HTTP_PROXY=http://proxy:3128"), "{env}");
        assert!(!env.lines().any(|line| line.starts_with("https_proxy=")), "{env}");
    }
}
