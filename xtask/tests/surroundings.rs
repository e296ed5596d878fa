//! The program itself in surroundings that it did not choose: what is set, what is closed, who signals.

use std::fs::OpenOptions;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process};

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

/// Also what signals the shell alone reaches it: the run inside of a stage deletes its cluster before it ends.
#[test]
fn a_stage_of_ci_cleans_up_in_peace() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let folder = Utf8Path::from_path(cache.path()).context("a path in UTF-8")?;
    let cargo = folder.join("cargo");
    // Cleaning up takes longer than a child has that cleans up nothing.
    let script = "#!/bin/sh\n\
        [ \"$2\" = e2e ] || exit 0\n\
        trap 'sleep 3.5; touch $XDG_CACHE_HOME/clean; exit 130' TERM\n\
        touch $XDG_CACHE_HOME/begun\n\
        while [ -d $XDG_CACHE_HOME ]; do sleep 0.05; done\n";
    std::fs::write(&cargo, script)?;
    std::fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let log = std::fs::File::create(folder.join("log"))?;
    let mut ci = xtask(&cache, &["ci"]).env("CARGO", &cargo).stdout(log.try_clone()?).stderr(log).spawn()?;
    let end = Instant::now() + Duration::from_secs(30);
    while !folder.join("begun").exists() {
        ensure!(Instant::now() < end, "the stage never began: {}", std::fs::read_to_string(folder.join("log"))?);
        std::thread::yield_now();
    }
    let pid = i32::try_from(ci.id()).ok().and_then(Pid::from_raw).context("a process id")?;
    let told = Instant::now();
    // As GitHub's runner does it, in less time.
    kill_process(pid, Signal::INT)?;
    kill_process(pid, Signal::TERM)?;
    let status = ci.wait()?;
    assert_eq!(status.code(), Some(130), "{}", std::fs::read_to_string(folder.join("log"))?);
    assert!(folder.join("clean").exists(), "it was killed while it cleaned up");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    Ok(())
}
