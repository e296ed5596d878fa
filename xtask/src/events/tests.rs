//! A run from its first event to what a reader makes of it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use anyhow::{anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;

use super::*;
use crate::error::WrongUsage;
use crate::execute::{Outcome, StepContext, execute};
use crate::plan::{BuildMode, Plan, Schedule, StepKind, derive};
use crate::suite::yaml::Source;
use crate::suite::{Keep, Suite};
use crate::target::kind::LAYOUT;
use crate::target::processes;

const SUITE: &str = "\
name: s
phases: [a, b]
cluster: {name: s, config: k, node: n, phase: a}
build: {packages: [p]}
specs: {package: p, binary: s, phase: b}
";

/// A folder that goes when the test ends.
struct Root {
    _folder: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        Self { _folder: folder, path }
    }

    fn runs(&self) -> Runs {
        Runs::of(&self.path)
    }
}

fn plan() -> Plan {
    let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
    derive(&suite, &BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap()
}

fn is_part(kind: &StepKind, name: &str) -> bool {
    matches!(kind, StepKind::Part { part, .. } if part == name)
}

/// Runs the plan; `work` gets the kind and the context.
fn go(
    runs: &Runs,
    cancel: &Cancel,
    work: impl Fn(&StepKind, &StepContext<'_>) -> anyhow::Result<()> + Sync,
) -> (RunFolder, Outcome, Timeline) {
    go_until(runs, &Stop::new(cancel), work)
}

fn go_until(
    runs: &Runs,
    stop: &Stop,
    work: impl Fn(&StepKind, &StepContext<'_>) -> anyhow::Result<()> + Sync,
) -> (RunFolder, Outcome, Timeline) {
    let plan = plan();
    let folder = runs.create("s").unwrap();
    let slots = Slots::for_cores(2);
    let info = RunInfo { folders: vec![("/some/where".into(), "{there}")], ..RunInfo::default() };
    let mut recorder = Recorder::start(folder.clone(), &plan, slots, info, Vec::new()).unwrap();
    let outcome = execute(&plan, slots, stop, &mut recorder, |step, context| work(&step.kind, context)).unwrap();
    recorder.record(What::RunFinished { result: outcome.result, reason: outcome.reason.clone() });
    let (timeline, written) = recorder.close();
    written.unwrap();
    (folder, outcome, timeline)
}

#[test]
fn what_is_read_back_is_what_happened() {
    let root = Root::new();
    let (folder, outcome, timeline) = go(&root.runs(), &Cancel::new(), |kind, context| {
        context.progress("on it");
        context.fact("command", "true");
        context.add_cpu(std::time::Duration::from_millis(1500));
        context.add_cpu(std::time::Duration::from_millis(500));
        context.add_bytes(7);
        context.note_peak_rss(9);
        context.note_peak_rss(3);
        if *kind == StepKind::Specs {
            let spec = || "one".to_owned();
            context.tell(What::SpecsListed {
                specs: ["one", "two", "three"].map(str::to_owned).to_vec(),
                alone: vec!["two".to_owned()],
            });
            context.tell(What::SpecStarted { spec: spec() });
            context.tell(What::SpecPassed { spec: spec(), attempts: 2 });
            context.tell(What::SpecIgnored { spec: "two".into() });
            context.tell(What::SpecUnfinished { spec: "three".into(), reason: "no".into(), attempts: 0 });
        }
        Ok(())
    });
    assert_eq!((outcome.result, outcome.reason.as_str()), (RunResult::Passed, ""));
    let events = read(&folder.events()).unwrap();
    assert_eq!(Timeline::of(&events), timeline);
    assert!(events.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us), "times never go back");
    for state in &timeline.steps {
        assert_eq!(state.status, StepStatus::Finished, "{}", state.step.id);
        assert_eq!(state.usage, Usage { cpu_s: 2.0, bytes: 7, peak_rss_bytes: 9 }, "{}", state.step.id);
        assert_eq!((state.note.as_str(), state.facts["command"].as_str()), ("on it", "true"));
        assert!(state.ready_us <= state.started_us && state.started_us <= state.ended_us);
    }
    assert!(timeline.specs[0].is_flaky() && timeline.specs[1].status == SpecStatus::Ignored);
    assert_eq!(timeline.specs[2].status, SpecStatus::Unfinished("no".into()));
    assert_eq!(timeline.specs[2].unended(), "did not run");
    // Every line is an object of its own, with its time and its name.
    let text = fs::read_to_string(folder.events()).unwrap();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["at_us"].is_u64() && value["event"].is_string(), "{line}");
    }
}

#[test]
fn the_result_tells_who_is_to_blame() {
    let root = Root::new();
    let red = || SpecsFailed("of 2 specs 1 failed".to_owned());
    for (fail, error, expected, reason) in [
        ("cluster", anyhow!("no\nat all"), RunResult::SetupFailed, "cluster: no"),
        ("specs", red().into(), RunResult::SpecsFailed, "specs: of 2 specs 1 failed"),
        ("specs", anyhow!(red()).context("specs"), RunResult::SpecsFailed, "specs: specs: of 2 specs 1 failed"),
        // Something took the cluster away: not the specs' fault, although they are red.
        (
            "specs",
            anyhow!("the node ended; {}", red()),
            RunResult::SetupFailed,
            "specs: the node ended; of 2 specs 1 failed",
        ),
        // Their program lists nothing, or not what was asked for.
        ("compile", SpecsFailed("none".to_owned()).into(), RunResult::SpecsFailed, "compile: none"),
        ("compile", WrongUsage("--filter x".to_owned()).into(), RunResult::WrongUsage, "compile: --filter x"),
    ] {
        let error = std::sync::Mutex::new(Some(error));
        let (_, outcome, timeline) = go(&root.runs(), &Cancel::new(), |kind, _| {
            let name = match kind {
                StepKind::Part { part, .. } => part,
                StepKind::Specs => "specs",
                StepKind::Compile { .. } => "compile",
                _ => "",
            };
            if name == fail { Err(error.lock().unwrap().take().unwrap()) } else { Ok(()) }
        });
        assert_eq!((outcome.result, outcome.reason.as_str()), (expected, reason));
        assert!(timeline.steps.iter().all(StepState::is_over));
        assert_eq!(outcome.failed.unwrap().0.as_str(), fail);
    }
    let cancel = Cancel::new();
    cancel.cancel("Ctrl-C");
    let (_, outcome, timeline) = go(&root.runs(), &cancel, |_, _| Ok(()));
    assert_eq!((outcome.result, outcome.reason.as_str()), (RunResult::Interrupted, "Ctrl-C"));
    assert!(timeline.steps.iter().all(|state| matches!(state.status, StepStatus::Skipped { because: None, .. })));
}

#[test]
fn what_runs_when_the_time_is_over_has_failed() {
    let root = Root::new();
    let stop = || Stop::within(&Cancel::new(), std::time::Duration::ZERO, "--timeout".to_owned());
    let wait = |context: &StepContext<'_>| {
        context.cancel().sleep(std::time::Duration::from_secs(600));
        bail!("stopped")
    };
    let status = |timeline: &Timeline, step: &str| timeline.step(&step.into()).unwrap().status.clone();
    let (_, outcome, timeline) = go_until(&root.runs(), &stop(), |_, context| wait(context));
    assert_eq!(outcome.result, RunResult::SetupFailed);
    let begun = timeline.steps.iter().any(|state| state.started_us.is_some());
    assert!(!begun || outcome.reason.starts_with("--timeout; what still ran then: "), "{}", outcome.reason);
    // The specs' own time is over while they run.
    let stop = Stop::within(&Cancel::new(), std::time::Duration::from_millis(300), "--timeout".to_owned());
    let (_, outcome, timeline) =
        go_until(&root.runs(), &stop, |kind, context| if *kind == StepKind::Specs { wait(context) } else { Ok(()) });
    assert_eq!(
        (outcome.result, outcome.reason.as_str()),
        (RunResult::SpecsFailed, "--timeout; what still ran then: specs")
    );
    assert_eq!(status(&timeline, "specs"), StepStatus::Failed("--timeout: stopped".to_owned()));
    // What fails by itself before is to blame, and what it stops is not.
    let stop = Stop::within(&Cancel::new(), std::time::Duration::from_secs(600), "--timeout".to_owned());
    let (_, outcome, timeline) = go_until(&root.runs(), &stop, |kind, context| match kind {
        kind if is_part(kind, "cluster") => bail!("no"),
        _ => wait(context),
    });
    assert_eq!((outcome.result, outcome.reason.as_str()), (RunResult::SetupFailed, "cluster: no"));
    assert!(!matches!(status(&timeline, "compile"), StepStatus::Failed(_)));
    // Whoever ends it by hand is told so, whatever the time is.
    let by_hand = Cancel::new();
    by_hand.cancel("Ctrl-C");
    let stop = Stop::within(&by_hand, std::time::Duration::ZERO, "--timeout".to_owned());
    let (_, outcome, _) = go_until(&root.runs(), &stop, |_, context| wait(context));
    assert_eq!((outcome.result, outcome.reason.as_str()), (RunResult::Interrupted, "Ctrl-C"));
}

#[test]
fn a_torn_last_line_is_left_out_and_read_once_it_is_whole() {
    let root = Root::new();
    let (folder, _, timeline) = go(&root.runs(), &Cancel::new(), |_, _| Ok(()));
    let whole = fs::read_to_string(folder.events()).unwrap();
    let path = root.path.join("torn.jsonl");
    let cut = whole.len() - 10;
    fs::write(&path, &whole[..cut]).unwrap();
    let mut follower = Follower::open(&path).unwrap();
    let mut events = follower.more().unwrap();
    assert_eq!(events.len(), whole.lines().count() - 1);
    assert!(follower.more().unwrap().is_empty());
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole.as_bytes()[cut..]).unwrap();
    events.extend(follower.more().unwrap());
    assert_eq!(Timeline::of(&events), timeline);
}

#[test]
fn a_broken_line_in_the_middle_and_a_newer_version_are_errors() {
    let root = Root::new();
    let path = root.path.join("events.jsonl");
    fs::write(&path, "{\"at_us\":1,\"event\":\"note\",\"text\":\"x\"}\nrubbish\n").unwrap();
    let error = format!("{:#}", read(&path).unwrap_err());
    assert!(error.contains("line 2") && error.contains("events.jsonl"), "{error}");
    let (folder, ..) = go(&root.runs(), &Cancel::new(), |_, _| Ok(()));
    let newer = fs::read_to_string(folder.events())
        .unwrap()
        .replace(&format!("\"schema\":{SCHEMA}"), &format!("\"schema\":{}", SCHEMA + 1));
    fs::write(&path, newer).unwrap();
    let error = format!("{:#}", read(&path).unwrap_err());
    assert!(error.contains("newer version"), "{error}");
    // What it tells of needs is no longer understood.
    let older = fs::read_to_string(folder.events()).unwrap().replace("\"on\":\"finish\"", "\"on\":\"start\"");
    fs::write(&path, older.replace(&format!("\"schema\":{SCHEMA}"), &format!("\"schema\":{}", SCHEMA - 1))).unwrap();
    let error = format!("{:#}", read(&path).unwrap_err());
    assert!(error.contains("older version (schema 6"), "{error}");
}

#[test]
fn a_step_is_told_what_its_children_used_and_the_run_what_the_machine_did() {
    let root = Root::new();
    let (folder, _, timeline) = go(&root.runs(), &Cancel::new(), |kind, context| {
        if is_part(kind, "cluster") {
            context.asks_for("peace", std::time::Duration::from_millis(250));
            let sh = xshell::Shell::new()?;
            let log = context.log();
            let loops = "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done";
            for _ in 0..2 {
                e2e_support::Job::new(xshell::cmd!(sh, "sh -c {loops} /some/where/else {log}")).run()?;
            }
        }
        Ok(())
    });
    let cluster = timeline.step(&"cluster".into()).unwrap();
    assert!(cluster.usage.cpu_s > 0.0 && cluster.usage.peak_rss_bytes > 0, "{:?}", cluster.usage);
    assert_eq!(cluster.facts["asks for peace"], "every 250 ms");
    let commands = &cluster.facts[COMMANDS];
    assert_eq!(commands.lines().count(), 1, "each command stands there once: {commands}");
    assert!(
        commands.ends_with("{there}/else {run}/steps/cluster.log") && !commands.contains(folder.path().as_str()),
        "{commands}"
    );
    assert!(!timeline.step(&"dns".into()).unwrap().facts.contains_key(COMMANDS));
    if cfg!(target_os = "linux") {
        let (first, last) = (timeline.machine.first().unwrap(), timeline.machine.last().unwrap());
        assert!(first.cpu_s == 0.0 && last.cpu_s >= 0.0 && last.memory_bytes > 0, "{:?}", timeline.machine);
    }
}

#[test]
fn a_run_lives_as_long_as_its_recorder() {
    let root = Root::new();
    let folder = root.runs().create("s").unwrap();
    let recorder =
        Recorder::start(folder.clone(), &plan(), Slots::for_cores(1), RunInfo::default(), Vec::new()).unwrap();
    let follower = Follower::open(&folder.events()).unwrap();
    assert_eq!(follower.liveness().unwrap(), Liveness::Alive);
    // As when the process is killed: no last event is written.
    drop(recorder);
    assert_eq!(follower.liveness().unwrap(), Liveness::Gone);
}

#[test]
fn the_newest_run_is_the_latest_and_a_second_user_is_told_who_is_first() {
    let root = Root::new();
    let runs = root.runs();
    assert!(runs.latest("s").is_none() && runs.suites().is_empty());
    let first = go(&runs, &Cancel::new(), |_, _| Ok(())).0;
    let second = go(&runs, &Cancel::new(), |_, _| Ok(())).0;
    assert_ne!(first, second);
    assert_eq!(runs.latest("s").as_ref(), Some(&second));
    assert_eq!(runs.suites(), ["s"]);
    let latest = || fs::read_link(runs.suite("s").join("latest")).unwrap();
    assert_eq!(latest().to_str(), Some(second.name()));
    // A run that never begins leaves neither its folder nor another latest one.
    let third = runs.create("s").unwrap();
    assert_eq!(latest().to_str(), Some(second.name()));
    third.remove_if_empty();
    assert!(!third.path().exists());
    second.remove_if_empty();
    assert!(second.events().exists());

    let lock = runs.lock("s", "cargo xtask e2e s").unwrap();
    let error = runs.lock("s", "another").unwrap_err().to_string();
    let pid = std::process::id();
    assert!(error.contains(&format!("process {pid} (cargo xtask e2e s)")), "{error}");
    drop(lock);
    runs.lock("s", "another").unwrap();
}

#[test]
fn history_takes_the_times_of_steps_that_ended_well() {
    let root = Root::new();
    let runs = root.runs();
    let step = |name: &str| crate::plan::StepId::from(name);
    go(&runs, &Cancel::new(), |kind, _| if is_part(kind, "dns") { bail!("no") } else { Ok(()) });
    go(&runs, &Cancel::new(), |_, _| Ok(()));
    // What a step did not do itself it does not time.
    go(&runs, &Cancel::new(), |kind, context| {
        if is_part(kind, "cluster") {
            context.already_there("cluster s");
        }
        if is_part(kind, "dns") {
            context.unusual("made from nothing");
        }
        Ok(())
    });
    // A run that nobody can read is passed over.
    fs::write(runs.create("s").unwrap().events(), "rubbish\n").unwrap();
    let load = |build, schedule| history::load(&runs, "s", build, schedule, &LAYOUT);
    let history = load(BuildMode::Host, Schedule::Dag);
    let count = |name: &str| history.expected(&step(name)).map(|expected| expected.source.to_string());
    assert_eq!(count("cluster").as_deref(), Some("measured in 2 runs"));
    assert_eq!(count("dns").as_deref(), Some("measured in 1 run"));
    assert!(load(BuildMode::Container, Schedule::Dag).is_empty());
    assert!(!load(BuildMode::Host, Schedule::Hybrid).is_empty(), "another schedule is better than nothing");
    assert!(history::load(&runs, "s", BuildMode::Host, Schedule::Dag, &processes::LAYOUT).is_empty(), "elsewhere");
    // Many runs on a cluster that is kept do not push out what was measured on new ones.
    for _ in 0..8 {
        go(&runs, &Cancel::new(), |_, context| {
            context.already_there("the cluster of an earlier run");
            Ok(())
        });
    }
    let history = load(BuildMode::Host, Schedule::Dag);
    let count = |name: &str| history.expected(&step(name)).map(|expected| expected.source.to_string());
    assert_eq!(count("cluster").as_deref(), Some("measured in 2 runs"));
}

#[test]
fn the_oldest_runs_go_and_the_newest_always_stays() {
    let root = Root::new();
    let runs = root.runs();
    let make = |bytes: usize| {
        let folder = runs.create("s").unwrap();
        fs::write(folder.events(), "").unwrap();
        fs::write(folder.path().join("log"), vec![1_u8; bytes]).unwrap();
        folder
    };
    let all: Vec<RunFolder> = (0..5).map(|_| make(400_000)).collect();
    let left = || runs.all("s");
    assert_eq!(runs.retain("s", Keep::default()).unwrap().runs, 0);
    let removed = runs.retain("s", Keep { runs: 4, ..Keep::default() }).unwrap();
    assert!(removed.runs == 1 && removed.bytes >= 400_000, "{removed:?}");
    assert_eq!(left(), all[1..]);
    assert_eq!(runs.retain("s", Keep { mb: 1, ..Keep::default() }).unwrap().runs, 2);
    assert_eq!(left(), all[3..]);
    runs.retain("s", Keep { runs: 0, mb: 0 }).unwrap();
    assert_eq!(left(), all[4..], "the newest stays");
}
