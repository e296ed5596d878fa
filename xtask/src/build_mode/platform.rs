//! What binaries depend on: this machine, and what images run.

use super::library::{Glibc, glibc_here};
use crate::setup::host::Host;

/// This machine, as far as its binaries depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    /// `linux` or `macos`.
    pub(super) os: &'static str,
    /// `amd64` or `arm64`.
    pub(super) arch: &'static str,
    /// None where it has another C library, or does not tell.
    pub(super) glibc: Option<Glibc>,
}

/// What images run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `amd64` or `arm64`.
    pub arch: &'static str,
    /// The oldest that a binary has to run with.
    pub glibc: Glibc,
}

impl Here {
    pub(super) fn look() -> Here {
        let host = Host::look();
        let glibc = (host.os == "linux").then(|| glibc_here().ok()).flatten();
        Here { os: host.os, arch: host.arch, glibc }
    }

    /// Whether what is linked for the target runs on this machine, too.
    pub(super) fn runs(&self, target: &Platform) -> bool {
        self.os == "linux" && self.arch == target.arch && self.glibc.is_some_and(|here| here >= target.glibc)
    }

    /// Whether what this machine's own linker makes runs on that target; if not, why.
    pub(super) fn fits(&self, target: &Platform) -> Result<(), String> {
        let Platform { arch, glibc } = target;
        if self.os != "linux" {
            return Err(format!("this machine is {}", self.os));
        }
        if self.arch != *arch {
            return Err(format!("it is for {arch}, and this machine is {}", self.arch));
        }
        match self.glibc {
            Some(here) if here <= *glibc => Ok(()),
            Some(here) => Err(format!("its glibc is {glibc}, and this machine's {here}")),
            None => Err(format!("its C library is glibc {glibc}, and this machine's is not known")),
        }
    }
}

impl Platform {
    pub(super) fn cpu(&self) -> &'static str {
        if self.arch == "arm64" { "aarch64" } else { "x86_64" }
    }

    /// As Rust calls it.
    pub fn triple(&self) -> String {
        format!("{}-unknown-linux-gnu", self.cpu())
    }

    /// As zig calls it.
    pub(super) fn of_zig(&self) -> String {
        format!("{}-linux-gnu.{}", self.cpu(), self.glibc)
    }
}
