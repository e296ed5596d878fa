//! What comes from outside of this process: signals, a process that is stopped, variables. Where a test needs a process
//! of its own it runs the test program again, with the variable [`HELPER`] set to a folder.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::signals::{self, First};
use e2e_support::{Cancel, Daemon, Ended, Job, ProcessError};
use rustix::process::{Pid, Signal, kill_process};
use xshell::{Shell, cmd};

const HELPER: &str = "E2E_SUPPORT_HELPER";
/// Set for a helper that has nothing to clean up.
const HOLDS_NOTHING: &str = "E2E_SUPPORT_HOLDS_NOTHING";
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of this process, where it is a helper.
fn helpers_folder() -> Option<Utf8PathBuf> {
    std::env::var(HELPER).ok().map(Utf8PathBuf::from)
}

/// A helper for the test of this name. `start` goes before its command line.
fn helper(test: &str, folder: &Utf8Path, start: &[&str], env: &[(&str, &str)]) -> Result<Daemon> {
    signals::restore_defaults();
    let sh = Shell::new()?;
    let exe = std::env::current_exe()?;
    let words: Vec<&OsStr> = start.iter().map(OsStr::new).chain([exe.as_os_str()]).collect();
    let (program, words) = words.split_first().context("no program")?;
    let command = cmd!(sh, "{program}").args(words).args(["--exact", test, "--nocapture"]);
    Job::new(command.env(HELPER, folder).envs(env.iter().copied())).daemon()
}

/// Waits for the helper's exit code 0.
fn wait_well(helper: &mut Daemon) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match helper.check() {
            Ok(()) => ensure!(Instant::now() < end, "the helper is still running"),
            Err(error) if error.downcast_ref::<ProcessError>().is_some_and(|e| e.ended == Ended::Exited(0)) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        std::thread::yield_now();
    }
}

fn wait_for(file: &Utf8Path) {
    let end = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < end, "{file} never came");
        std::thread::yield_now();
    }
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
    Ok(kill_process(pid, signal)?)
}

fn folder(dir: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("a path in UTF-8")
}

#[test]
fn a_process_that_is_stopped_does_not_use_up_its_deadlines() -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(2);
    if let Some(folder) = helpers_folder() {
        let sh = Shell::new()?;
        let script =
            format!("touch {folder}/begun; while [ -d {folder} ] && [ ! -e {folder}/end ]; do sleep 0.05; done");
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let slept = scope.spawn(|| {
                let slept = !cancel.sleep(DEADLINE);
                slept && !folder.join("end").exists()
            });
            Job::new(cmd!(sh, "sh -c {script}")).deadline(DEADLINE).run()?;
            cancel.cancel("the job has ended");
            ensure!(!slept.join().expect("the sleeping thread"), "a sleep has ended before its time");
            Ok(())
        })?;
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let folder = folder(&dir);
    let test = "a_process_that_is_stopped_does_not_use_up_its_deadlines";
    let mut helper = helper(test, &folder, &[], &[])?;
    wait_for(&folder.join("begun"));
    send(helper.pid(), Signal::STOP)?;
    // It is the passing of time itself that is tried.
    std::thread::sleep(DEADLINE + Duration::from_millis(1500));
    send(helper.pid(), Signal::CONT)?;
    std::fs::write(folder.join("end"), "")?;
    wait_well(&mut helper)
}

#[test]
fn what_cleans_up_itself_is_given_the_time_also_by_a_process_that_was_killed() -> Result<()> {
    // Longer than those get that clean up nothing. It ends with its folder in any case.
    const CLEANS_UP: &str = "trap 'echo told >> $0/told; sleep 3.5; touch $0/clean; exit' TERM; touch $0/begun; \
                             while [ -d $0 ]; do sleep 0.05; done";
    let sh = Shell::new()?;
    if let Some(folder) = helpers_folder() {
        let _running = Job::new(cmd!(sh, "sh -c {CLEANS_UP} {folder}")).grace(PATIENCE).daemon()?;
        std::fs::write(folder.join("watched"), "")?;
        loop {
            std::thread::park();
        }
    }
    let (dir, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (first, second) = (folder(&dir), folder(&other));
    let test = "what_cleans_up_itself_is_given_the_time_also_by_a_process_that_was_killed";
    let helper = helper(test, &second, &[], &[])?;
    wait_for(&second.join("begun"));
    wait_for(&second.join("watched"));
    helper.kill();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(&first.join("begun"));
            cancel.cancel("enough");
        });
        let stopped = Job::new(cmd!(sh, "sh -c {CLEANS_UP} {first}")).grace(PATIENCE).cancel(&cancel).run();
        assert!(stopped.is_err());
    });
    assert!(first.join("clean").exists());
    wait_for(&second.join("clean"));
    assert_eq!(std::fs::read_to_string(second.join("told"))?, "told\n");
    Ok(())
}

#[test]
fn what_runs_as_root_is_stopped_as_root() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = folder(&dir);
    let sudo = folder.join("sudo");
    // As sudo does, it stays beside what it starts, which has a session of its own and is deaf to SIGTERM.
    let play = "shift\n[ \"$1\" = kill ] && exec \"$@\"\ntrap '' TERM\nsetsid \"$@\" & echo $! > $0.child\nwait $!\n";
    std::fs::write(&sudo, format!("#!/bin/sh\necho \"$@\" >> {folder}/asked\n{play}"))?;
    std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let sh = Shell::new()?;
    let script = format!("touch {folder}/begun; while [ -d {folder} ]; do sleep 0.05; done");
    let cancel = Cancel::new();
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(&folder.join("begun"));
            cancel.cancel("enough");
        });
        let job = Job::new(cmd!(sh, "{sudo} --non-interactive sh -c {script}")).as_root();
        job.grace(Duration::from_millis(300)).cancel(&cancel).run()
    });
    assert!(stopped.is_err());
    let asked = std::fs::read_to_string(folder.join("asked"))?;
    let child = std::fs::read_to_string(folder.join("sudo.child"))?;
    assert!(asked.contains("--non-interactive kill -s 15 -- -"), "{asked}");
    assert!(asked.contains(&format!("--non-interactive kill -s 9 -- {}", child.trim())), "{asked}");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    assert!(state.as_ref().map_or(true, |state| state.contains(") Z ")), "it runs still: {state:?}");
    Ok(())
}

#[test]
fn a_signal_that_is_ignored_stays_so_and_the_others_end_what_holds_nothing() -> Result<()> {
    if let Some(folder) = helpers_folder() {
        let cancel = Cancel::new();
        let first = if std::env::var_os(HOLDS_NOTHING).is_some() { First::Ends } else { First::Asks };
        signals::install(cancel.clone(), first, || {})?;
        std::fs::write(folder.join("begun"), "")?;
        let end = Instant::now() + PATIENCE;
        while !cancel.is_cancelled() {
            ensure!(Instant::now() < end, "no signal came");
            std::thread::yield_now();
        }
        std::fs::write(folder.join("reason"), cancel.reason().unwrap_or_default())?;
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let folder = folder(&dir);
    // As `nohup` starts it.
    let start = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    let test = "a_signal_that_is_ignored_stays_so_and_the_others_end_what_holds_nothing";
    let mut helper = helper(test, &folder, &start, &[])?;
    wait_for(&folder.join("begun"));
    send(helper.pid(), Signal::HUP)?;
    send(helper.pid(), Signal::INT)?;
    wait_well(&mut helper)?;
    assert_eq!(std::fs::read_to_string(folder.join("reason"))?, "interrupted by SIGINT");

    std::fs::remove_file(folder.join("begun"))?;
    let mut helper = self::helper(test, &folder, &[], &[(HOLDS_NOTHING, "1")])?;
    wait_for(&folder.join("begun"));
    send(helper.pid(), Signal::INT)?;
    let error = wait_well(&mut helper).expect_err("it holds nothing, and ends");
    assert_eq!(error.downcast::<ProcessError>()?.ended, Ended::Exited(130));
    Ok(())
}

#[test]
fn what_a_hook_or_a_shell_has_set_does_not_reach_the_tools() -> Result<()> {
    let names = ["GIT_DIR", "GIT_INDEX_FILE", "DOCKER_DEFAULT_PLATFORM"];
    let sh = Shell::new()?;
    if helpers_folder().is_some() {
        let env = Job::new(cmd!(sh, "env").env("GIT_INDEX_FILE", "own")).read()?;
        ensure!(!env.contains("outer"), "{env}");
        ensure!(env.contains("GIT_INDEX_FILE=own\n"), "what a job sets itself stays: {env}");
        ensure!(env.contains("LC_ALL=C\n"), "{env}");
        ensure!(!env.contains("TMPDIR="), "there is no such folder: {env}");
        // No folder for temporary files is needed to tell what went wrong.
        let error = Job::new(cmd!(sh, "sh -c 'echo why >&2; exit 1'")).run().expect_err("exit code 1");
        ensure!(error.to_string().contains("why"), "{error}");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let env: Vec<(&str, &str)> = names.iter().map(|name| (*name, "outer")).collect();
    let env = [env, vec![("LC_ALL", "de_DE.UTF-8"), ("TMPDIR", "/there/is/no/such/folder")]].concat();
    let test = "what_a_hook_or_a_shell_has_set_does_not_reach_the_tools";
    // `env` itself is not started by a job's rules, or the variables would not be there.
    let assignments: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let start: Vec<&str> = std::iter::once("env").chain(assignments.iter().map(String::as_str)).collect();
    wait_well(&mut helper(test, &folder(&dir), &start, &[])?)
}
