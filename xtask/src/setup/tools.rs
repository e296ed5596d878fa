//! Programs that recipes find on PATH.

use std::time::Duration;

use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

/// A program that takes longer to tell its version does not work.
const ANSWER: Duration = Duration::from_secs(20);

/// Whether the tool is on PATH, in the version `oldest` or a newer one; else what is wrong, and what to do.
pub(super) fn check(tool: &str, oldest: Option<&str>, cancel: &Cancel) -> Result<(), String> {
    let get = how_to_get(tool);
    let Ok(path) = which::which(tool) else {
        return Err(format!("{tool} is not on PATH ({get})"));
    };
    let Some(oldest) = oldest else { return Ok(()) };
    let path = path.display();
    // The one tool that has a command for it in place of an option.
    let ask = if tool == "go" { "version" } else { "--version" };
    let ask = || -> anyhow::Result<String> {
        let sh = Shell::new()?;
        Job::new(cmd!(sh, "{tool} {ask}")).deadline(ANSWER).cancel(cancel).read()
    };
    let said = ask().map_err(|error| format!("{path} does not tell its version: {}", super::fetch::said(&error)))?;
    match version(&said) {
        Some(found) if found >= numbers(oldest) => Ok(()),
        _ => {
            let first = said.lines().next().unwrap_or_default();
            Err(format!("{path} says {first:?}, and {oldest} or later is needed ({get})"))
        }
    }
}

/// The first version in what a tool says of itself.
fn version(said: &str) -> Option<Vec<u32>> {
    said.split_whitespace()
        .map(|word| word.trim_start_matches(|c: char| c.is_ascii_alphabetic()))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(numbers)
}

/// The numbers of a version, up to where it is no longer made of numbers: `1.24rc1` is 1.24.
fn numbers(version: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in version.split('.') {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let Ok(number) = part[..digits].parse() else { break };
        numbers.push(number);
        if digits < part.len() {
            break;
        }
    }
    numbers
}

fn how_to_get(tool: &str) -> &'static str {
    match tool {
        "go" => "install Go from https://go.dev/dl/",
        "rustc" | "cargo" => "install Rust by https://rustup.rs",
        _ => "install it with the system's package manager",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_tools_tell_them() {
        for (said, found) in [
            ("go version go1.24.4 linux/amd64", Some(vec![1, 24, 4])),
            ("go version go1.9 darwin/arm64", Some(vec![1, 9])),
            ("go version go1.25rc1 linux/amd64", Some(vec![1, 25])),
            ("rustc 1.95.0 (abc 2026-01-01)", Some(vec![1, 95, 0])),
            ("go version devel +abc", None),
        ] {
            assert_eq!(version(said), found, "{said}");
        }
        assert!(version("go1.9") < Some(numbers("1.24")), "numbers, not letters");
        assert!(version("go1.24") >= Some(numbers("1.24")));
    }
}
