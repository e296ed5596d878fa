//! Child processes against the real shell.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8PathBuf;
use e2e_support::{Cancel, Ended, Job, Meter, ProcessError, clock};
use rustix::process::Signal;
use xshell::{Shell, cmd};

fn failure(result: Result<()>) -> ProcessError {
    result.expect_err("the command should have failed").downcast().expect("a ProcessError")
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::test_kill_process(pid).is_ok()
}

fn wait_gone(pid: u32) {
    let end = Instant::now() + Duration::from_secs(20);
    while is_running(pid) {
        assert!(Instant::now() < end, "process {pid} is still running");
        std::thread::yield_now();
    }
}

#[test]
fn reads_standard_output() -> Result<()> {
    let sh = Shell::new()?;
    assert_eq!(Job::new(cmd!(sh, "printf 'a b\n\n'")).read()?, "a b");
    Ok(())
}

#[test]
fn an_error_shows_command_code_and_last_lines_of_both_streams() -> Result<()> {
    let sh = Shell::new()?;
    let script = "echo to stdout; echo to stderr >&2; exit 3";
    let error = failure(Job::new(cmd!(sh, "sh -c {script}")).read().map(drop));
    assert_eq!(error.ended, Ended::Exited(3));
    let text = error.to_string();
    for part in ["sh -c 'echo to stdout", "exit code 3: to stderr\n", "    to stdout", "    to stderr"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    Ok(())
}

#[test]
fn a_missing_program_is_named() -> Result<()> {
    let sh = Shell::new()?;
    let error = Job::new(cmd!(sh, "no-such-program --flag")).run().expect_err("it does not exist");
    assert!(error.to_string().contains("no-such-program"), "{error}");
    Ok(())
}

#[test]
fn the_deadline_stops_the_whole_group() -> Result<()> {
    let sh = Shell::new()?;
    let dir = tempfile::tempdir()?;
    let pid_file = Utf8PathBuf::try_from(dir.path().join("pid"))?;
    let script = format!("sleep 600 & echo $! > {pid_file}; wait");
    let error = failure(Job::new(cmd!(sh, "sh -c {script}")).deadline(Duration::from_millis(300)).run());
    assert_eq!(error.ended, Ended::DeadlinePassed { deadline_ms: 300 });
    wait_gone(std::fs::read_to_string(pid_file)?.trim().parse()?);
    Ok(())
}

#[test]
fn a_child_that_ignores_sigterm_is_killed() -> Result<()> {
    let sh = Shell::new()?;
    let script = "trap '' TERM; while :; do sleep 1; done";
    let error = failure(Job::new(cmd!(sh, "sh -c {script}")).deadline(Duration::from_millis(100)).run());
    assert_eq!(error.ended, Ended::DeadlinePassed { deadline_ms: 100 });
    Ok(())
}

#[test]
fn cancelling_stops_it_and_starts_nothing_new() -> Result<()> {
    let sh = Shell::new()?;
    let cancel = Cancel::new();
    let stopper = cancel.clone();
    let stopping = std::thread::spawn(move || stopper.cancel("enough"));
    let error = failure(Job::new(cmd!(sh, "sleep 600")).cancel(&cancel).run());
    assert_eq!(error.ended, Ended::Cancelled);
    stopping.join().expect("the stopping thread");
    let error = failure(Job::new(cmd!(sh, "no-such-program")).cancel(&cancel).run());
    assert_eq!(error.ended, Ended::Cancelled);
    Ok(())
}

#[test]
fn the_log_is_appended_to_and_the_tail_is_of_this_child_alone() -> Result<()> {
    let sh = Shell::new()?;
    let dir = tempfile::tempdir()?;
    let log = Utf8PathBuf::try_from(dir.path().join("deep/step.log"))?;
    Job::new(cmd!(sh, "echo first")).log(&log).run()?;
    let error = failure(Job::new(cmd!(sh, "sh -c 'echo second; exit 1'")).log(&log).run());
    assert_eq!(error.tail, "second");
    assert_eq!(std::fs::read_to_string(&log)?, "first\nsecond\n");
    Ok(())
}

#[test]
fn standard_input_is_fed_and_a_child_that_does_not_read_it_is_no_error() -> Result<()> {
    let sh = Shell::new()?;
    assert_eq!(Job::new(cmd!(sh, "cat")).stdin("hello").read()?, "hello");
    Job::new(cmd!(sh, "true")).stdin(vec![0; 1 << 20]).run()?;
    Ok(())
}

#[test]
fn lines_arrive_while_it_runs_and_a_break_stops_it() -> Result<()> {
    let sh = Shell::new()?;
    let script = "echo one; echo two; sleep 600";
    let found = Job::new(cmd!(sh, "sh -c {script}")).lines(|line| match line {
        "two" => ControlFlow::Break("found two"),
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!(found, Some("found two"));
    assert_eq!(Job::new(cmd!(sh, "echo only")).lines(|_| ControlFlow::<()>::Continue(()))?, None);
    Ok(())
}

#[test]
fn a_daemon_stops_when_dropped_and_says_how_it_ended() -> Result<()> {
    let sh = Shell::new()?;
    let daemon = Job::new(cmd!(sh, "sleep 600")).daemon()?;
    let pid = daemon.pid();
    assert!(is_running(pid));
    drop(daemon);
    wait_gone(pid);
    let mut daemon = Job::new(cmd!(sh, "sh -c 'echo oops; exit 7'")).daemon()?;
    let error = daemon.wait_until("a port", Duration::from_secs(20), || false).expect_err("it has ended");
    let text = format!("{error:#}");
    assert!(text.contains("waiting for a port") && text.contains("exit code 7") && text.contains("oops"), "{text}");
    Ok(())
}

#[test]
fn a_daemon_is_stopped_by_its_own_signal_and_its_grace_ends_at_once_when_that_is_wanted() -> Result<()> {
    let sh = Shell::new()?;
    let dir = tempfile::tempdir()?;
    let mark = Utf8PathBuf::try_from(dir.path().join("mark"))?;
    let start = |signal: Signal| {
        let script = format!(
            "trap 'echo int > {mark}; exit' INT; trap '' TERM; echo > {mark}.traps; while :; do sleep 0.05; done"
        );
        let mut daemon = Job::new(cmd!(sh, "sh -c {script}")).stop_signal(signal).daemon()?;
        let traps = Utf8PathBuf::from(format!("{mark}.traps"));
        daemon.wait_until("the traps", Duration::from_secs(20), || traps.exists())?;
        std::fs::remove_file(traps)?;
        anyhow::Ok(daemon)
    };
    start(Signal::INT)?.stop(Duration::from_secs(60));
    assert_eq!(std::fs::read_to_string(&mark)?, "int\n");
    let now = Cancel::new();
    now.cancel("the run is over");
    let daemon = start(Signal::TERM)?;
    let (pid, begin) = (daemon.pid(), Instant::now());
    daemon.stop_or_kill(Duration::from_secs(600), &now);
    assert!(begin.elapsed() < Duration::from_secs(300));
    wait_gone(pid);
    Ok(())
}

#[test]
fn what_a_leader_has_started_comes_to_its_end_unless_it_takes_too_long() -> Result<()> {
    /// Half of the grace: before it has passed nobody but the leader is told to stop.
    const OTHERS_ARE_SPARED: Duration = Duration::from_millis(1500);
    let sh = Shell::new()?;
    let dir = tempfile::tempdir()?;
    let done = Utf8PathBuf::try_from(dir.path().join("done"))?;
    let stop_when = |seconds: &str| {
        let cancel = Cancel::new();
        let script = format!(
            "sh -c 'echo $$ > {done}.new; mv {done}.new {done}.pid; sleep {seconds}; echo done > {done}'; true"
        );
        let pid_file = Utf8PathBuf::from(format!("{done}.pid"));
        let (error, took) = std::thread::scope(|scope| {
            let stopper = scope.spawn(|| {
                while !pid_file.exists() {
                    std::thread::yield_now();
                }
                let told = Instant::now();
                cancel.cancel("enough");
                told
            });
            let error = failure(Job::new(cmd!(sh, "sh -c {script}")).cancel(&cancel).leader_first().run());
            (error, stopper.join().expect("the stopping thread").elapsed())
        });
        assert_eq!(error.ended, Ended::Cancelled);
        let pid = std::fs::read_to_string(&pid_file)?.trim().parse()?;
        std::fs::remove_file(&pid_file)?;
        anyhow::Ok((pid, took))
    };
    let (_, took) = stop_when("0.3")?;
    // A machine that stands still for a second says nothing.
    assert!(done.exists() || took >= OTHERS_ARE_SPARED, "it was stopped on its way, after {took:?}");
    let _ = std::fs::remove_file(&done);
    wait_gone(stop_when("600")?.0);
    assert!(!done.exists());
    Ok(())
}

/// Runs the test program itself again, which starts a daemon and is then killed with SIGKILL.
#[test]
fn nothing_outlives_a_killed_process() -> Result<()> {
    const CHILD: &str = "E2E_SUPPORT_REAPER_CHILD";
    if let Ok(pid_file) = std::env::var(CHILD) {
        let dir = Utf8PathBuf::from(format!("{pid_file}.dir"));
        std::fs::create_dir(&dir)?;
        e2e_support::process::remove_dir_at_exit(&dir);
        let sh = Shell::new()?;
        // Of this group only the leader is told to stop: the other one would make a folder.
        let other = format!("trap \"mkdir {pid_file}.told\" TERM; echo $$ > {pid_file}.other; sleep 1; sleep 0");
        let leader = format!("sh -c '{other}'; true");
        let _orderly = Job::new(cmd!(sh, "sh -c {leader}")).leader_first().daemon()?;
        while std::fs::read_to_string(format!("{pid_file}.other")).map_or(true, |pid| pid.is_empty()) {
            std::thread::yield_now();
        }
        // One that is told to end by a signal of its own, after another that has ended.
        drop(Job::new(cmd!(sh, "sleep 600")).stop_signal(Signal::INT).daemon()?);
        let quitting =
            format!("trap \"echo > {pid_file}.quit; exit\" QUIT; echo > {pid_file}.traps; while :; do sleep 0.1; done");
        let _quitting = Job::new(cmd!(sh, "sh -c {quitting}")).stop_signal(Signal::QUIT).daemon()?;
        while !Utf8PathBuf::from(format!("{pid_file}.traps")).exists() {
            std::thread::yield_now();
        }
        let daemon = Job::new(cmd!(sh, "sleep 600")).daemon()?;
        std::fs::write(format!("{pid_file}.new"), daemon.pid().to_string())?;
        std::fs::rename(format!("{pid_file}.new"), pid_file)?;
        loop {
            std::thread::park();
        }
    }
    let sh = Shell::new()?;
    let dir = tempfile::tempdir()?;
    let pid_file = Utf8PathBuf::try_from(dir.path().join("pid"))?;
    let exe = std::env::current_exe()?;
    let test = "nothing_outlives_a_killed_process";
    let child = Job::new(cmd!(sh, "{exe} --exact {test}").env(CHILD, &pid_file)).daemon()?;
    let end = Instant::now() + Duration::from_secs(20);
    while !pid_file.exists() {
        assert!(Instant::now() < end, "the child never wrote {pid_file}");
        std::thread::yield_now();
    }
    let pid = std::fs::read_to_string(&pid_file)?.parse()?;
    assert!(is_running(pid));
    let other = std::fs::read_to_string(format!("{pid_file}.other"))?.trim().parse()?;
    child.kill();
    wait_gone(pid);
    wait_gone(other);
    assert!(!Utf8PathBuf::from(format!("{pid_file}.told")).exists(), "what a leader had started was told to stop");
    let quit = Utf8PathBuf::from(format!("{pid_file}.quit"));
    while !quit.exists() {
        assert!(Instant::now() < end, "the signal of its own did not come");
        std::thread::yield_now();
    }
    let dir = Utf8PathBuf::from(format!("{pid_file}.dir"));
    while dir.exists() {
        assert!(Instant::now() < end, "{dir} is still there");
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_meter_counts_its_own_jobs_with_their_descendants() -> Result<()> {
    let sh = Shell::new()?;
    let spin = "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done";
    let (meter, other) = (Meter::new(), Meter::new());
    meter.run(|| -> Result<()> {
        // The inner shell works, and the outer one waits for it.
        Job::new(cmd!(sh, "sh -c {spin}")).run()?;
        let nested = format!("sh -c '{spin}'; true");
        Job::new(cmd!(sh, "sh -c {nested}")).run()?;
        other.run(|| Job::new(cmd!(sh, "true")).run())
    })?;
    Job::new(cmd!(sh, "sh -c {spin}")).run()?;
    let (used, other) = (meter.used(), other.used());
    assert_eq!((used.commands.len(), other.commands.len()), (2, 1), "{used:?}");
    assert!(used.cpu > other.cpu && used.peak_rss_bytes > 100_000, "{used:?} {other:?}");
    // A thread takes the meter of its maker along if it is told to.
    let spawned = meter.run(|| {
        let here = Meter::here();
        std::thread::spawn(move || {
            here.run(|| {
                let sh = Shell::new()?;
                Job::new(cmd!(sh, "echo from-a-thread")).run()
            })
        })
    });
    spawned.join().expect("the thread ends")?;
    assert!(meter.used().commands.contains("echo from-a-thread"));
    Ok(())
}

#[test]
fn the_limit_of_a_meter_ends_jobs_that_know_nothing_of_it() -> Result<()> {
    let begun = clock::Instant::now();
    let limited = Meter::new().until(begun + Duration::from_millis(200), &Cancel::new());
    limited.run(|| {
        let sh = Shell::new().expect("a shell");
        let ran = failure(Job::new(cmd!(sh, "sleep 60")).deadline(Duration::from_secs(50)).run());
        assert!(matches!(ran.ended, Ended::DeadlinePassed { deadline_ms: 0..=200 }), "{ran}");
        let read = Job::new(cmd!(sh, "sleep 60")).lines(|_| ControlFlow::<()>::Continue(()));
        assert!(matches!(failure(read.map(drop)).ended, Ended::DeadlinePassed { .. }));
        // What has to be put in order afterwards still can be.
        Meter::here().unlimited().run(|| Job::new(cmd!(sh, "true")).run()).expect("it is not limited");
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

    let cancel = Cancel::new();
    cancel.cancel("enough");
    let sh = Shell::new()?;
    let stopped = Meter::new().until(begun + Duration::from_secs(600), &cancel);
    let ran = failure(stopped.run(|| Job::new(cmd!(sh, "sleep 60")).run()));
    assert_eq!(ran.ended, Ended::Cancelled);
    Ok(())
}
