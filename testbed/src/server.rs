//! What the servers have in common: where their programs are, which ports are free, how they die.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process};

const GONE_DEADLINE: Duration = Duration::from_secs(10);

/// The folder or file that `variable` names, else the first of `usual` that holds `program`.
pub(crate) fn find_program(variable: &str, program: &str, usual: Vec<PathBuf>) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(variable).map(PathBuf::from) {
        let file = if named.is_dir() { named.join(program) } else { named };
        if !file.is_file() {
            bail!("{variable} names {}, but there is no such program: run `cargo xtask test`", file.display());
        }
        return Ok(file);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("no program {program} here: run the tests with `cargo xtask test`, which finds or installs it")
        })
}

/// The processes that a process has started and that are still there.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Kills processes that are not this one's own children, and waits until they are gone.
pub(crate) fn kill_and_wait(pids: &[u32]) -> Result<()> {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // Fails only if it has already ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let end = Instant::now() + GONE_DEADLINE;
    while let Some(pid) = pids.iter().find(|pid| is_running(**pid)) {
        if Instant::now() > end {
            bail!("process {pid} is still there {} s after SIGKILL", GONE_DEADLINE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_running(pid: u32) -> bool {
    // The state follows the name, which is in parentheses and may itself hold any character.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Writes a file with a secret that a service under test reads.
pub(crate) fn write_secret(path: &Path, secret: &str) -> Result<()> {
    std::fs::write(path, format!("{secret}\n")).with_context(|| format!("writing {}", path.display()))
}

/// Removes a folder at the end of this process even if its guard is never dropped, as that of a static.
pub(crate) fn forget_at_exit(dir: &Path) {
    if let Some(dir) = Utf8Path::from_path(dir) {
        e2e_support::process::remove_dir_at_exit(dir);
    }
}
