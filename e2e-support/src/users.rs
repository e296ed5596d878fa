//! Users of this machine.

use anyhow::{Context, Result, anyhow};

/// User and group id of the user `preferred`, or of `nobody`, for programs that refuse to run as root.
///
/// # Errors
/// When there is neither.
pub fn unprivileged(preferred: &str) -> Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let find = |name: &str| {
        let fields: Vec<&str> =
            users.lines().map(|line| line.split(':').collect()).find(|fields: &Vec<&str>| fields[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let found = find(preferred).or_else(|| find("nobody"));
    found.ok_or_else(|| anyhow!("this machine has neither a user {preferred} nor one nobody: which one is not root?"))
}
