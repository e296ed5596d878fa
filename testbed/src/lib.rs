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
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("VmRSS is {line}"))?;
    Ok(kib / 1024)
}
