//! Made-up runs, and what is said about them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::compare::compare;
use super::contender::{Contender, Order, contenders};
use super::measure::{INPUTS, PathPart, Phase, Run, Specs, Step};
use super::report::{self, Reports};
use super::scenario::Scenario;
use super::state::{SCHEMA, Settings, State};
use super::stats::Verdict;
use super::void::void;
use crate::events::{COMMANDS, RunResult};
use crate::plan::Slots;
use crate::suite::Suite;
use crate::suite::yaml::Source;

const SUITE: &str = "\
name: s
phases: [ground, check]
cluster: {name: s, config: k, node: n, phase: ground}
build: {packages: [p]}
specs: {package: p, binary: s, phase: check}
bench: {estimates_s: {ground: 60}}
";

/// A run in which everything takes `scale` times as long as usual. `steps`: seconds, one after the other.
fn run(contender: &str, round: u32, scale: f64, steps: &[(&str, f64)]) -> Run {
    let mut end_s = 0.0;
    let mut made = Vec::new();
    for (id, seconds) in steps {
        let begin_s = end_s;
        end_s += seconds * scale;
        let conditions = [(COMMANDS, "c0ffee"), (INPUTS, "1"), ("asks for peace", "every 250 ms")];
        let conditions = conditions.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let id = (*id).into();
        let (waited_s, cpu_s) = (0.0, seconds * 0.5);
        made.push(Step { id, begin_s, end_s, waited_s, cpu_s, peak_rss_bytes: 9, moved_bytes: 5, conditions });
    }
    let path = made.iter().map(|step| PathPart { step: step.id.clone(), seconds: step.seconds(), waited_s: 0.0 });
    Run {
        round,
        place: 1,
        contender: contender.to_owned(),
        folder: format!("runs/{round}-{contender}"),
        started_at: "2030-01-01T00:00:00Z".to_owned(),
        result: RunResult::Passed,
        reason: String::new(),
        edit: None,
        busy_cores_before: Some(0.05),
        slots: Slots::for_cores(2),
        cores: 2,
        set_up_s: Some(end_s * 0.75),
        tests_s: Some(end_s * 0.25),
        total_s: end_s,
        machine_cpu_s: Some(40.0),
        children_cpu_s: 20.0,
        peak_memory_bytes: Some(3_000_000_000),
        moved_bytes: 7_000_000,
        longest_way_s: Some(end_s * 0.5),
        critical_path: path.collect(),
        phases: vec![Phase { name: "ground".to_owned(), busy_s: end_s }],
        steps: made,
        specs: Specs { passed: 48, flaky: 0, failed: 0 },
    }
}

/// Five rounds of everyone; how slow each round is as a whole differs.
fn rounds(all: &[Contender], steps: impl Fn(&Contender) -> Vec<(&'static str, f64)>) -> Vec<Run> {
    let mut runs = vec![run("dag", 0, 3.0, &[("build", 10.0)])];
    for (round, scale) in (1..).zip([1.0, 1.3, 0.9, 1.05, 1.0]) {
        for (place, contender) in (1..).zip(all) {
            // No two runs of the same are alike.
            let noise = 1.0 + 0.001 * f64::from((round * 7 + place * 3) % 5);
            runs.push(run(&contender.name, round, scale * noise, &steps(contender)));
        }
    }
    runs
}

fn usual(contender: &Contender) -> Vec<(&'static str, f64)> {
    match contender.order {
        Order::Sequential => vec![("build", 20.0), ("load", 20.0), ("specs", 20.0)],
        Order::Script => vec![("build", 60.0), ("load", 30.0), ("specs", 20.0)],
        _ => vec![("build", 10.0), ("load", 10.0), ("specs", 20.0)],
    }
}

#[test]
fn the_same_twice_makes_no_difference_and_a_slowed_step_is_named() {
    let all = contenders(&[Order::Dag, Order::Dag], &["load=3".parse().unwrap()]).unwrap();
    let runs = rounds(&all, |contender| {
        let mut steps = usual(contender);
        steps[1].1 += contender.slowed.as_ref().map_or(0.0, |slow| slow.seconds);
        steps
    });
    let comparison = compare(&all, &runs, &BTreeMap::new(), 1).unwrap();
    let [same, slowed] = &comparison.copies[..] else { panic!("{:?}", comparison.copies) };
    assert_eq!((same.of.as_str(), same.against.as_str()), ("dag#2", "dag"));
    assert_eq!(same.time.verdict, Verdict::NoDifference);
    assert!(same.slower_steps.is_empty() && same.faster_steps.is_empty(), "{same:?}");
    assert_eq!(slowed.of, "dag+load=3");
    assert_eq!(slowed.time.verdict, Verdict::Slower);
    let named: Vec<&str> = slowed.slower_steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(named, ["load"]);
    assert!((slowed.slower_steps[0].seconds - 3.0).abs() < 0.2, "{slowed:?}");
    assert!(comparison.void.is_empty(), "{:?}", comparison.void);
}

#[test]
fn a_gain_stands_beside_its_ceiling_and_its_causes() {
    let all = contenders(&[Order::Sequential, Order::Dag], &[]).unwrap();
    let mut runs = rounds(&all, usual);
    for run in runs.iter_mut().filter(|run| run.contender == "sequential") {
        // Half of the machine was busy, and a fifth of that with work that dag does not do.
        run.machine_cpu_s = Some(run.total_s);
    }
    for run in runs.iter_mut().filter(|run| run.contender == "dag") {
        run.machine_cpu_s = Some(run.total_s * 1.2);
    }
    let comparison = compare(&all, &runs, &BTreeMap::new(), 1).unwrap();
    let [pair] = &comparison.subject_against[..] else { panic!("{:?}", comparison.subject_against) };
    assert_eq!((pair.of.as_str(), pair.against.as_str(), pair.time.verdict), ("dag", "sequential", Verdict::Faster));
    let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 0.02;
    assert!(near(Some(pair.time.value), 40.0 / 60.0), "{pair:?}");
    assert!(near(pair.ceiling, 2.0) && near(pair.reached, 0.75), "{pair:?}");
    assert!(near(pair.less_work, 1.25) && near(pair.overlap, 1.2), "{pair:?}");
    assert!(near(Some(pair.less_work.unwrap() * pair.overlap.unwrap()), 1.0 / pair.time.value), "{pair:?}");
    let faster: Vec<&str> = pair.faster_steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(faster, ["build", "load"]);
    let dag = &comparison.contenders[1];
    assert_eq!((dag.passed, dag.failed.len(), dag.steps.len(), dag.critical_path.len()), (5, 0, 3, 3));
    // The warm-up counts for nothing.
    assert!(dag.total_s.unwrap().max < 60.0, "{:?}", dag.total_s);
}

#[test]
fn a_comparison_of_different_work_is_void_with_the_reason() {
    let all = contenders(&[Order::Sequential, Order::Dag, Order::Script], &[]).unwrap();
    let whole = rounds(&all, usual);
    assert_eq!(void(&all, &whole), [""; 0]);
    let changed = |change: &dyn Fn(&mut Run)| {
        let mut runs = whole.clone();
        runs.iter_mut().filter(|run| run.contender == "dag" && run.round == 3).for_each(change);
        void(&all, &runs).join("\n")
    };
    let set = |key: &'static str, value: &'static str| {
        move |run: &mut Run| {
            run.steps[1].conditions.insert(key.to_owned(), value.to_owned());
        }
    };
    for (reasons, expected) in [
        (changed(&set(COMMANDS, "bad")), "step load: the commands differ: bad (dag); c0ffee (dag, sequential)"),
        (changed(&set(INPUTS, "2")), "step load: what goes in differ: 1 (dag, sequential); 2 (dag)"),
        (
            changed(&set("asks for peace", "every 9000 ms")),
            "step load: how often it asks for peace differ: every 250 ms (dag, sequential); every 9000 ms (dag)",
        ),
        (changed(&|run| run.slots.cpu = 7), "the slots for steps differ"),
        (changed(&|run| drop(run.steps.pop())), "the list of steps differ"),
    ] {
        assert!(reasons.contains(expected), "{expected}\n{reasons}");
    }
    // A script is another way by its nature, and a run that failed says nothing.
    let mut runs = whole.clone();
    runs.iter_mut().filter(|run| run.contender == "script").for_each(|run| set(COMMANDS, "other")(run));
    runs.iter_mut().filter(|run| run.contender == "dag" && run.round == 2).for_each(|run| {
        run.result = RunResult::SetupFailed;
        set(COMMANDS, "cut short")(run);
    });
    assert_eq!(void(&all, &runs), [""; 0]);
}

struct Folder {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("out");
    Folder { _dir: dir, path }
}

fn settings(all: &[Contender]) -> Settings {
    Settings {
        schema: SCHEMA,
        suite: "s".to_owned(),
        scenario: Scenario::Edit,
        contenders: all.to_vec(),
        seed: 7,
        build: "host".to_owned(),
        engine: "podman 5".to_owned(),
        git_revision: "abc".to_owned(),
        inputs: "0123456789abcdef".to_owned(),
    }
}

#[test]
fn a_bench_that_was_killed_goes_on_and_mixes_nothing() {
    let folder = folder();
    let all = contenders(&[Order::Sequential, Order::Dag], &[]).unwrap();
    let settings = settings(&all);
    let mut state = State::open(&folder.path, &settings).unwrap();
    for run in rounds(&all, usual).into_iter().take(3) {
        state.add(run).unwrap();
    }
    drop(state);
    // The mark of a call that was killed while it wrote.
    let file = folder.path.join("runs.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{whole}{{\"round\":1,\"pla")).unwrap();
    let mut state = State::open(&folder.path, &settings).unwrap();
    assert_eq!(state.runs, rounds(&all, usual)[..3]);
    let has: Vec<bool> =
        [(0, "dag"), (1, "sequential"), (1, "dag"), (2, "dag")].map(|(round, who)| state.has(round, who)).into();
    assert_eq!(has, [true, true, true, false]);
    state.add(run("dag", 2, 1.0, &[("build", 1.0)])).unwrap();
    assert_eq!(State::open(&folder.path, &settings).unwrap().runs.len(), 4);

    for (other, difference) in [
        (Settings { git_revision: "def".to_owned(), ..settings.clone() }, "git revision: abc there, def now"),
        (Settings { inputs: "fedcba9876543210".to_owned(), ..settings.clone() }, "sources: 0123456789ab there"),
        (Settings { scenario: Scenario::Cold, ..settings.clone() }, "scenario: edit there, cold now"),
        (
            Settings { contenders: all[..1].to_vec(), ..settings.clone() },
            "contenders: sequential,dag there, sequential",
        ),
        (Settings { seed: 8, ..settings.clone() }, "seed: 7 there, 8 now"),
    ] {
        let error = State::open(&folder.path, &other).unwrap_err().to_string();
        assert!(error.contains(difference) && error.contains("to begin anew"), "{error}");
    }
    assert_eq!(State::open(&folder.path, &settings).unwrap().runs.len(), 4, "what was refused has changed nothing");
}

fn reports(folder: &Folder, all: &[Contender], runs: &[Run]) -> Reports {
    std::fs::create_dir_all(&folder.path).unwrap();
    let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
    let environment = [("os".to_owned(), "<Debian> | 12".to_owned())].into();
    report::write(&folder.path, &suite, &settings(all), 5, environment, runs).unwrap()
}

#[test]
fn the_reports_tell_all_that_was_asked_for() {
    let all = contenders(&[Order::Sequential, Order::Phased, Order::Dag, Order::Script], &[]).unwrap();
    let mut runs = rounds(&all, usual);
    let failed = runs.iter_mut().find(|run| run.contender == "phased" && run.round == 4).unwrap();
    failed.result = RunResult::SpecsFailed;
    failed.reason = "specs: 1 of | them".to_owned();
    let folder = folder();
    let reports = reports(&folder, &all, &runs);
    let text = std::fs::read_to_string(&reports.markdown).unwrap();
    assert_eq!(text, reports.text);
    for part in [
        "# s: schedules compared",
        "seed 7",
        "**1 run failed**",
        "| phased | 4, 1 failed |",
        "dag takes 67 % of the time of sequential: **faster**.",
        "| Setup Time | 45.1 s | 30.1 s | -33 % |",
        "| Savings | – | 20.1 s | 33 % |",
        "## sequential and phased",
        "| ground | 60 s |",
        "| check | – | – |",
        "| dag | build 10.0 s → load 10.0 s → specs 20.1 s |",
        "| phased | 4 | specs failed: specs: 1 of \\| them | runs/4-phased |",
        "| os | <Debian> \\| 12 |",
        "| script than dag | build | 50.",
        "2.00 ×",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("Void") && !text.contains("Not finished"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&reports.json).unwrap()).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 21, "every run, warm-up and failures too");
    assert_eq!(json["comparison"]["contenders"][2]["steps"][0]["id"], "build");
    let page = std::fs::read_to_string(&reports.html).unwrap();
    for forbidden in ["<script", "http:", "https:", "url(", "<Debian>", "**"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for (open, close) in [("<div", "</div>"), ("<table", "</table>"), ("<tr>", "</tr>"), ("<strong>", "</strong>")] {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
}

#[test]
fn what_is_void_or_unfinished_is_said_first() {
    let all = contenders(&[Order::Sequential, Order::Dag], &[]).unwrap();
    let mut runs = rounds(&all, usual);
    runs.truncate(5);
    runs[1].steps[0].conditions.insert(COMMANDS.to_owned(), "other".to_owned());
    let folder = folder();
    let reports = reports(&folder, &all, &runs);
    for part in
        ["**Not finished**: 4 of 10 runs are there.", "**Void.**", "* step build: the commands differ", "too few"]
    {
        assert!(reports.text.contains(part), "{part}\n{}", reports.text);
    }
    assert!(!reports.text.contains("of the time of"), "{}", reports.text);
    assert!(std::fs::read_to_string(&reports.html).unwrap().contains("<strong>Void.</strong>"));
}
