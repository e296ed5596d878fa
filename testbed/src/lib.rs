//! For tests: real PostgreSQL, Redis, etcd and kube-apiserver as plain processes, and programs that only play a container
//! engine, kind and kubectl ([`fakes`]).

use anyhow::Context as _;

pub mod fakes;
pub mod fuzz;
pub mod hostile;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod postgres;
pub mod random;
pub mod redis;
mod server;
pub mod tls;

/// What a process holds in memory, in MiB.
///
/// # Errors
/// When there is no such process, or the kernel does not tell.
pub fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    memory_mib(pid, "VmRSS")
}

/// The most that a process has held in memory so far, in MiB.
///
/// # Errors
/// As [`resident_mib`].
pub fn peak_mib(pid: u32) -> anyhow::Result<u64> {
    memory_mib(pid, "VmHWM")
}

/// A figure of proc_pid_status(5), rounded up.
fn memory_mib(pid: u32, field: &str) -> anyhow::Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let figure = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let figure = figure.with_context(|| format!("{file} has no {field}"))?.trim();
    let kib: u64 = figure.trim_end_matches(" kB").parse().with_context(|| format!("{field} in {file} is {figure}"))?;
    Ok(kib.div_ceil(1024))
}
