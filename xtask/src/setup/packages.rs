//! Debian packages on this machine.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

/// How long apt may take in all.
const DEADLINE: Duration = Duration::from_secs(900);

/// How long apt has that is to stop: dpkg comes to the end of the package that it is at. What is left half-way all the
/// same is finished by the next set-up.
const GRACE: Duration = Duration::from_secs(6);

/// Whether this machine is one that apt serves.
pub fn has_apt() -> bool {
    which::which("apt-get").is_ok() && which::which("dpkg-query").is_ok()
}

/// Those of `wanted` that are not installed, in their order.
///
/// # Errors
/// When dpkg-query cannot be run.
pub fn missing(wanted: &[String]) -> Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let sh = Shell::new()?;
    let format = "${db:Status-Abbrev} ${binary:Package}\n";
    // It exits with 1 when it does not know one of them, and lists the others.
    let out = Job::new(cmd!(sh, "dpkg-query --show --showformat {format}").args(wanted)).output()?;
    let installed: Vec<&str> = out
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("ii"))
        .map(|line| line.trim().split(':').next().unwrap_or_default())
        .collect();
    Ok(wanted.iter().filter(|name| !installed.contains(&name.as_str())).cloned().collect())
}

/// There while packages are installed: where it stays, that was stopped half-way.
fn marker(cache: &Utf8Path) -> Utf8PathBuf {
    cache.join("apt-unfinished")
}

/// Whether an installation of ours was stopped half-way. dpkg refuses further work until it is finished.
pub fn unfinished(cache: &Utf8Path) -> bool {
    marker(cache).exists()
}

/// Installs packages, and finishes what was stopped before; as root, else with sudo, which may ask for a password.
///
/// # Errors
/// When apt fails, with its last lines.
pub fn install(names: &[String], root: bool, cache: &Utf8Path, cancel: &Cancel) -> Result<()> {
    let doing = || format!("installing the Debian packages {}", names.join(", "));
    let log = cache.join("logs/apt.log");
    let marker = marker(cache);
    std::fs::create_dir_all(cache)
        .and_then(|()| std::fs::write(&marker, ""))
        .with_context(|| format!("writing {marker}"))?;
    let sh = Shell::new()?;
    if !root {
        Job::new(cmd!(sh, "sudo --validate")).foreground().run().with_context(doing)?;
    }
    // A set-up that was killed in the middle of apt leaves dpkg half-way. RUNLEVEL keeps packages
    // from starting daemons on the machine.
    let steps: [&[&str]; 3] = [
        &["dpkg", "--configure", "-a"],
        &["apt-get", "update", "--quiet"],
        &["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"],
    ];
    let steps = if names.is_empty() { &steps[..1] } else { &steps[..] };
    for (nth, step) in steps.iter().enumerate() {
        let env = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"];
        let mut words: Vec<&str> = if root { Vec::new() } else { vec!["sudo", "--non-interactive"] };
        words.extend(env);
        words.extend(*step);
        if nth == 2 {
            words.extend(names.iter().map(String::as_str));
        }
        let (program, args) = words.split_first().context("an empty command")?;
        let job = Job::new(cmd!(sh, "{program} {args...}")).deadline(DEADLINE).log(&log).cancel(cancel).grace(GRACE);
        let job = if root { job } else { job.as_root() };
        job.run().with_context(doing)?;
    }
    std::fs::remove_file(&marker).with_context(|| format!("removing {marker}"))
}
