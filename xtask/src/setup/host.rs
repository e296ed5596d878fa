//! What this machine is, as far as the set-up has to know.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

/// Facts about this machine that do not change while the program runs.
#[derive(Clone, Debug)]
pub struct Host {
    /// `linux` or `macos`.
    pub os: &'static str,
    /// As Go and Debian call it: `amd64` or `arm64`.
    pub arch: &'static str,
    pub root: bool,
    /// Whether the cgroup hierarchy is v1, or v1 beside v2.
    pub cgroup_v1: bool,
    /// Whether systemd runs this machine.
    pub systemd: bool,
    /// Whether limits may be raised beyond the hard ones (CAP_SYS_RESOURCE).
    pub raises_limits: bool,
    /// The hard limit of open files, where there is one.
    pub open_files: Option<u64>,
    /// The hard limit of processes, where there is one.
    pub processes: Option<u64>,
}

impl Host {
    /// Looks.
    pub fn look() -> Host {
        let limit = |resource| rustix::process::getrlimit(resource).maximum;
        Host {
            os: std::env::consts::OS,
            arch: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            root: rustix::process::getuid().is_root(),
            cgroup_v1: cfg!(target_os = "linux") && !Utf8Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            systemd: Utf8Path::new("/run/systemd/system").exists(),
            raises_limits: raises_limits(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()),
            open_files: limit(rustix::process::Resource::Nofile),
            processes: limit(rustix::process::Resource::Nproc),
        }
    }

    /// Whether recipes can build Debian images here, and if not, why.
    pub fn can_build(&self) -> Result<(), String> {
        if self.os != "linux" {
            return Err(format!("stand-in images are built on Debian, and this is {}", self.os));
        }
        if !matches!(self.arch, "amd64" | "arm64") {
            return Err(format!("there are no images for the architecture {}", self.arch));
        }
        if !super::packages::has_apt() {
            return Err("stand-in images are built with Debian's tools, and this machine has no apt-get".into());
        }
        Ok(())
    }

    /// Whether packages can be installed here without more rights than there are.
    pub fn can_install(&self) -> bool {
        super::packages::has_apt() && (self.root || which::which("sudo").is_ok())
    }
}

/// Whether CAP_SYS_RESOURCE, number 24, is among the effective capabilities in the text of
/// /proc/self/status. <https://man7.org/linux/man-pages/man7/capabilities.7.html>
fn raises_limits(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << 24) != 0)
}

/// Free space, in MB, of the file system that `path`, or the nearest folder above it, lies on.
///
/// # Errors
/// When the file system does not answer.
pub fn free_mb(path: &Utf8Path) -> Result<u64> {
    let at = existing(path)?;
    let stat = rustix::fs::statvfs(at.as_std_path()).with_context(|| format!("asking for the free space of {at}"))?;
    Ok(stat.f_bavail * stat.f_frsize / 1_000_000)
}

/// The file system that `path`, or the nearest folder above it, lies on: equal numbers, equal file systems.
///
/// # Errors
/// When no folder of the path can be looked at.
pub fn device(path: &Utf8Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let at = existing(path)?;
    Ok(at.metadata().with_context(|| format!("looking at {at}"))?.dev())
}

/// `path`, or the nearest folder above it that is there.
fn existing(path: &Utf8Path) -> Result<Utf8PathBuf> {
    let found = path.ancestors().find(|folder| folder.exists());
    Ok(found.with_context(|| format!("no folder of {path} exists"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capability_is_bit_24() {
        assert!(raises_limits("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!raises_limits("CapEff:\t000001fffeffffff\n"));
        assert!(!raises_limits(""));
    }
}
