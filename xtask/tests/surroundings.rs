//! The program itself in surroundings that it did not choose: what is set, what is closed, who signals.

use std::fs::OpenOptions;
use std::process::{Output, Stdio};

use anyhow::{Context, Result};

/// A command of the program, with a cache of its own.
#[expect(clippy::disallowed_methods, reason = "the streams are what is tried; a job has its own")]
fn xtask(cache: &tempfile::TempDir, words: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).env("XDG_CACHE_HOME", cache.path()).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[test]
fn an_empty_variable_is_as_if_unset() -> Result<()> {
    let cache = tempfile::tempdir()?;
    for command in ["e2e", "up", "down", "setup", "bench-setup"] {
        let output = xtask(&cache, &[command, "no-such-suite"]).env("E2E_ENGINE", "").output()?;
        assert!(text(&output).contains("no-such-suite"), "{command}: {}", text(&output));
    }
    let output = xtask(&cache, &["e2e", "no-such-suite"]).env("E2E_ENGINE", "rkt").output()?;
    assert!(text(&output).contains("rkt"), "{}", text(&output));
    Ok(())
}

#[test]
fn output_that_cannot_be_written_is_no_reason_to_die() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let full = || OpenOptions::new().write(true).open("/dev/full").context("opening /dev/full");
    for words in [&["check", "gateway"][..], &["plan", "gateway"]] {
        let output = xtask(&cache, words).stdout(full()?).output()?;
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        assert!(text(&output).contains("could not be written"), "{words:?}: {}", text(&output));
    }
    // Not even the error can be told.
    let status = xtask(&cache, &["plan", "no-such-suite"]).stdout(full()?).stderr(full()?).status()?;
    assert_eq!(status.code(), Some(2), "{status}");
    Ok(())
}

#[test]
fn a_reader_that_has_gone_is_no_error() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = xtask(&cache, &["plan", "gateway"]).stdout(writer).output()?;
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(141), ""));
    Ok(())
}
