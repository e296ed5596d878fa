//! Reports of made-up runs.

use console::strip_ansi_codes;

use super::frame::{Size, frame, time_left_us};
use super::{analysis, github, html, junit, summary, trace};
use crate::events::{
    Event, Reporter as _, RunFolder, RunResult, RunStarted, SCHEMA, StepStatus, Timeline, Usage, What,
};
use crate::plan::{BuildMode, Plan, Schedule, Slots, StepId, derive};
use crate::suite::Suite;
use crate::suite::yaml::Source;
use crate::target::kind::LAYOUT;

const SUITE: &str = "\
name: s
phases: [ground, build, check]
cluster: {name: s, config: k, node: n, phase: ground}
build: {packages: [p]}
images: [{name: app, dockerfile: d, reference: app, package: p, phase: build}]
specs: {package: p, binary: s, phase: check}
steps: {cluster: {expected_s: 10}, dns: {expected_s: 2}, compile: {expected_s: 4}, specs: {expected_s: 5}}
";

fn plan() -> Plan {
    let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
    derive(&suite, &std::collections::BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap().with_schedule(Schedule::Dag)
}

/// Events from a script: `at_s what subject`.
fn events(script: &str) -> Vec<Event> {
    let started = RunStarted {
        schema: SCHEMA,
        run: "r".to_owned(),
        started_at: "2030-01-01T00:00:00Z".to_owned(),
        command: Vec::new(),
        partition: None,
        plan: plan(),
        slots: Slots::for_cores(2),
        cores: 2,
        pid: 1,
        environment: [("os".to_owned(), "<Debian>".to_owned())].into(),
    };
    let mut events = vec![Event { at_us: 0, what: What::RunStarted(Box::new(started)) }];
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let seconds: f64 = words.next().unwrap().parse().unwrap();
        let verb = words.next().unwrap();
        let subject = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let step = StepId::new(subject);
        let spec = subject.to_owned();
        let usage =
            Usage { cpu_s: rest.first().and_then(|cpu| cpu.parse().ok()).unwrap_or(0.0), bytes: 0, peak_rss_bytes: 0 };
        let what = match verb {
            "ready" => What::StepReady { step },
            "start" => What::StepStarted { step },
            "reach" => What::StepReached { step, milestone: rest[0].to_owned() },
            "says" => What::StepProgress { step, note: rest.join(" ") },
            "done" => What::StepFinished { step, usage },
            "fail" => What::StepFailed { step, error: "it broke <&>\n\u{1b}[31mbadly".to_owned(), usage },
            "stop" => What::StepCancelled { step, error: "told to".to_owned(), usage },
            "skip" => {
                What::StepSkipped { step, because: Some(StepId::from("compile")), reason: "compile failed".to_owned() }
            }
            "spec" => What::SpecStarted { spec },
            "pass" => What::SpecPassed { spec, attempts: 1 },
            "machine" => What::MachineUsed { cpu_s: subject.parse().unwrap(), memory_bytes: 5_000_000_000 },
            "flaky" => What::SpecPassed { spec, attempts: 2 },
            "lost" => What::SpecUnfinished { spec, reason: "it <died>".to_owned(), attempts: rest.len() as u32 },
            "list" => What::SpecsListed { specs: vec![spec], alone: Vec::new() },
            "red" => What::SpecFailed { spec, error: "expected 201\ngot 503".to_owned(), attempts: 1 },
            "passed" => What::RunFinished { result: RunResult::Passed, reason: String::new() },
            "broken" => What::RunFinished { result: RunResult::SetupFailed, reason: "compile: it broke".to_owned() },
            "interrupted" => What::RunFinished { result: RunResult::Interrupted, reason: "Ctrl-C".to_owned() },
            "red-specs" => What::RunFinished { result: RunResult::SpecsFailed, reason: "specs: 1 failed".to_owned() },
            other => panic!("{other}?"),
        };
        events.push(Event { at_us: (seconds * 1e6) as u64, what });
    }
    events
}

fn timeline(script: &str) -> Timeline {
    Timeline::of(&events(script))
}

const WHOLE: &str = "
0 ready cluster
0 start cluster
0 ready compile
0 start compile
3 reach cluster node
8 reach cluster api
4 done compile 6
4 ready image:app
5 start image:app
6 done image:app 1
6 start load:app
7 done load:app
10 done cluster 5
10 ready dns
10 start dns
12 done dns
12 ready specs
12 start specs
12 spec one
13 pass one
13 spec two
16 flaky two
16 done specs 2
17 passed
";

const BROKEN: &str = "
0 start cluster
0 start compile
3 reach cluster node
4 fail compile 3
4 skip image:app
4 skip load:app
4 skip dns
4 skip specs
5 stop cluster
6 broken
";

#[test]
fn the_critical_path_is_what_decided_the_end() {
    let run = timeline(WHOLE);
    let path: Vec<String> = analysis::critical_path(&run)
        .iter()
        .map(|step| format!("{} {}–{}", step.id, step.start_us / 1_000_000, step.end_us / 1_000_000))
        .collect();
    assert_eq!(path, ["cluster 0–10", "dns 10–12", "specs 12–16"]);
    let bound = analysis::lower_bound(&run).unwrap();
    assert!((bound.path_s - 16.0).abs() < 1e-9 && (bound.cpu_s - 7.0).abs() < 1e-9, "{bound:?}");
    assert_eq!(analysis::set_up_us(&run), Some(12_000_000));
    // A milestone is what the next one waited for.
    let short =
        WHOLE.replace("10 done cluster 5", "20 done cluster 5").replace("8 reach cluster api", "9 reach cluster api");
    let short = short.replace("6 start load:app\n7 done load:app", "6 start load:app\n25 done load:app");
    let late_node = short.replace("3 reach cluster node", "6 reach cluster node");
    let path = analysis::critical_path(&timeline(&late_node));
    let ends: Vec<String> = path.iter().map(|step| format!("{} {}", step.id, step.end_us / 1_000_000)).collect();
    assert_eq!(ends, ["cluster 6", "load:app 25"]);
    // A slot that was missing counts as waiting, not as a step's own time.
    let late = WHOLE
        .replace("12 start specs", "12.5 start specs")
        .replace("10 done cluster", "2 done cluster")
        .replace("10 ready dns\n10 start dns\n12 done dns", "2 start dns\n3 done dns");
    let late = timeline(&late.replace("12 ready specs", "4 ready specs"));
    let last = analysis::critical_path(&late).pop().unwrap();
    assert_eq!((last.id.as_str(), last.waited_us), ("specs", 8_500_000));
    // What let a step begin that could have run before is part of the path.
    let held =
        WHOLE.replace("0 start cluster", "4 start cluster").replace("3 reach cluster node", "5 reach cluster node");
    let path = analysis::critical_path(&timeline(&held));
    let ids: Vec<&str> = path.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["compile", "cluster", "dns", "specs"]);
    assert!(path.iter().all(|step| step.waited_us == 0), "{path:?}");
}

#[test]
fn what_containers_compute_counts_for_the_bound() {
    let run = timeline(&format!("0 machine 0\n{WHOLE}16 machine 34\n"));
    let machine = analysis::machine(&run).unwrap();
    assert_eq!((machine.cpu_s, machine.elapsed_s), (34.0, 16.0));
    let bound = analysis::lower_bound(&run).unwrap();
    assert_eq!((bound.cpu_s, bound.seconds()), (17.0, 17.0));
    let text = summary::summary(&run, None);
    for part in [
        "The machine computed 34.0 s (14.0 s in this run's own processes",
        "2.12 of 2 cores were busy on the mean; at most 5.0 GB of memory were in use",
        "takes less than 17.0 s",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!summary::summary(&timeline(WHOLE), None).contains("machine"), "nothing is made up where it is not known");
}

#[test]
fn a_run_that_broke_off_has_no_path_and_no_bound() {
    for script in [BROKEN, "0 start cluster\n", ""] {
        let run = timeline(script);
        assert!(analysis::critical_path(&run).is_empty() && analysis::lower_bound(&run).is_none(), "{script}");
    }
    let red = timeline(&WHOLE.replace("16 done specs 2", "16 fail specs").replace("17 passed", "17 red-specs"));
    assert!(!analysis::critical_path(&red).is_empty(), "red specs ran to their end");
}

#[test]
fn phases_cover_their_steps_and_share_what_they_have_in_common() {
    let phases = analysis::phases(&timeline(WHOLE));
    let shown: Vec<String> = phases
        .iter()
        .map(|phase| {
            format!(
                "{} {:?} {} {} {}",
                phase.name,
                phase.start_us.map(|us| us / 1_000_000),
                phase.end_us / 1_000_000,
                phase.busy_us / 1_000_000,
                phase.cpu_s
            )
        })
        .collect();
    assert_eq!(shown, ["ground Some(0) 12 12 5", "build Some(0) 7 6 7", "check Some(12) 16 4 2"]);
}

#[test]
fn the_picture_fits_whatever_it_is_given_and_says_what_it_leaves_out() {
    let run = timeline("0 start cluster\n0 start dns\n0 start image:app\n0 ready compile\n");
    for (width, height) in [(120, 50), (40, 5), (20, 2), (60, 1), (200, usize::MAX)] {
        let lines = frame(&run, 5_000_000, Size { width, height });
        assert!(lines.len() <= height && !lines.is_empty(), "{width}×{height}");
        for line in &lines {
            assert!(console::measure_text_width(line) <= width, "{width}×{height}: {line}");
        }
    }
    let text: Vec<String> = frame(&run, 5_000_000, Size { width: 120, height: 50 })
        .iter()
        .map(|line| strip_ansi_codes(line).into_owned())
        .collect();
    let text = text.join("\n");
    for part in [
        "5.0 s  s (dag)  0 of 6 steps over, 3 running",
        "cluster          5.0 s of 10.0 s",
        "compile    waits for a slot (cpu)",
        "load:app   waits for image:app, cluster/node",
        "specs      waits for cluster, dns, compile",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let few = frame(&run, 5_000_000, Size { width: 120, height: 3 });
    assert!(strip_ansi_codes(&few[2]).contains("and 2 more that run"), "{few:?}");
    // The cluster's other 5 s, specs.
    assert_eq!(time_left_us(&run, 5_000_000), 10_000_000);
    // What is behind a milestone may be the longer way: 90 s of loading in place of the other 7 of the cluster.
    let mut slow = timeline("0 start cluster\n0 done image:app\n");
    slow.steps.iter_mut().find(|state| state.step.id.as_str() == "load:app").unwrap().step.expected.seconds = 90.0;
    assert_eq!(time_left_us(&slow, 1_000_000), 92_000_000, "the node takes images in 2 s");
    let lines = frame(&timeline("0 start cluster\n3 reach cluster node\n"), 4_000_000, Size { width: 120, height: 50 });
    assert!(lines[1].contains("node takes images"), "{lines:?}");
}

#[test]
fn a_step_that_is_held_tells_why_until_it_begins() {
    let held = "0 ready cluster\n0 says cluster begins later\n0 start compile\n";
    for (script, expected) in
        [(held.to_owned(), "cluster    begins later"), (format!("{held}3 start cluster"), "create cluster")]
    {
        let lines = frame(&timeline(&script), 5_000_000, Size { width: 120, height: 50 });
        let text: Vec<String> = lines.iter().map(|line| strip_ansi_codes(line).into_owned()).collect();
        let text = text.join("\n");
        assert!(text.contains(expected) && text.contains("begins later") != script.contains("start cluster"), "{text}");
    }
}

#[test]
fn lines_tell_each_end_once_and_progress_only_where_it_takes_time() {
    let folder = RunFolder::at("/nowhere/r");
    let mut out = Vec::new();
    let mut lines = super::lines::Lines::new(&mut out, folder);
    let mut run = Timeline::default();
    let mut all = events(WHOLE);
    for (at_s, note) in [(1, "early"), (6, "late"), (7, "too soon")] {
        let what = What::StepProgress { step: StepId::from("cluster"), note: note.to_owned() };
        all.push(Event { at_us: at_s * 1_000_000, what });
    }
    all.sort_by_key(|event| event.at_us);
    for event in &all {
        run.apply(event);
        lines.event(event, &run);
    }
    let mut silent = timeline("0 start cluster\n");
    silent.last_us = 0;
    lines.tick(&silent, 18_000_000);
    lines.tick(&silent, 40_000_000);
    let text = String::from_utf8(out).unwrap();
    for (part, count) in [
        ("cluster: done in 10.0 s (5.0 s CPU)", 1),
        ("spec two: ok in 3.0 s, FLAKY: passed in attempt 2", 1),
        ("cluster: late", 1),
        ("early", 0),
        ("too soon", 0),
        ("17.0 s  passed in 17.0 s", 1),
        ("still running: cluster (40.0 s)", 1),
        ("still running", 1),
    ] {
        assert_eq!(text.matches(part).count(), count, "{part}\n{text}");
    }
}

#[test]
fn the_summary_begins_with_what_went_wrong() {
    let folder = RunFolder::at("/t/s/r");
    let text = summary::summary(&timeline(BROKEN), Some(&folder));
    assert!(text.starts_with("step compile failed: it broke"), "{text}");
    for part in [
        "its log: /t/s/r/steps/compile.log",
        "never began: ",
        "image:app",
        "set-up failed in 6.0 s; everything is in /t/s/r",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("critical path"), "{text}");
    let text = summary::summary(&timeline(WHOLE), None);
    for part in [
        "critical path:",
        "takes less than 16.0 s",
        "flaky: two",
        "2 passed, 1 flaky among the passed; passed in 17.0 s",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn junit_counts_what_it_lists_and_holds_no_forbidden_character() {
    let text = junit::junit(&timeline(BROKEN));
    assert!(text.contains("tests=\"6\" failures=\"0\" errors=\"1\" skipped=\"5\""), "{text}");
    assert!(text.contains("it broke &lt;&amp;&gt;") && !text.contains('\u{1b}'), "{text}");
    let red = WHOLE.replace("13 pass one", "13 red one");
    let text = junit::junit(&timeline(&red));
    assert!(
        text.contains("name=\"s.specs\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"4.000\""),
        "{text}"
    );
    assert!(text.contains("<failure message=\"expected 201\">expected 201\ngot 503</failure>"), "{text}");
    assert!(text.contains("<flakyFailure message=\"passed in attempt 2\"/>"), "{text}");
}

#[test]
fn a_spec_that_did_not_end_is_named_by_every_report() {
    let lost =
        "12 list two\n12 list three\n12 spec two\n13 lost two once\n13 lost three\n14 fail specs\n15 red-specs\n";
    let begin = WHOLE.split("13 spec two").next().unwrap();
    let run = timeline(&format!("{begin}{lost}"));
    let text = summary::summary(&run, None);
    assert!(
        text.starts_with("spec two did not end: it <died>\n1 specs did not run: three\nstep specs failed"),
        "{text}"
    );
    assert!(text.contains("1 passed, 1 did not end, 1 not run; specs failed in 15.0 s"), "{text}");
    let text = junit::junit(&run);
    assert!(text.contains("tests=\"3\" failures=\"0\" errors=\"2\""), "{text}");
    for part in ["did not end: it &lt;died&gt;", "did not run: it &lt;died&gt;"] {
        assert!(text.contains(part), "{part}\n{text}");
        assert!(html::page(&run).contains(part), "{part}");
    }
    assert!(html::page(&run).contains("<details open>"));
    let text = github::markdown(&run);
    assert!(text.contains("**spec two did not end**") && text.contains("**1 specs did not run**: three"), "{text}");
    let folder = RunFolder::at("/nowhere/r");
    let mut out = Vec::new();
    let mut lines = super::lines::Lines::new(&mut out, folder);
    for event in &events(lost) {
        lines.event(event, &run);
    }
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("spec two: DID NOT END: it <died>") && !text.contains("three"), "{text}");
}

#[test]
fn junit_is_red_where_the_run_is() {
    // Neither a step nor a spec is to blame: it was stopped, or all specs had passed and their program crashed.
    let crashed = WHOLE.replace("16 done specs 2\n17 passed", "16 fail specs\n17 red-specs");
    for (script, why) in [
        (WHOLE.replace("17 passed", "17 interrupted"), "interrupted: Ctrl-C"),
        (WHOLE.replace("17 passed", ""), "the run did not come to its end"),
        (crashed, "specs failed: specs: 1 failed"),
    ] {
        let text = junit::junit(&timeline(&script));
        assert!(text.contains(&format!("<error message=\"{why}\">")), "{text}");
        assert!(text.contains("<testsuite name=\"s.run\" tests=\"1\" failures=\"0\" errors=\"1\""), "{text}");
    }
    assert!(!junit::junit(&timeline(WHOLE)).contains("s.run"));
}

#[test]
fn a_junit_report_is_there_from_the_beginning_and_refused_where_it_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(dir.path()).unwrap();
    let path = root.join("not/there/yet.xml");
    junit::begin(&path, "s").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("errors=\"1\"") && text.contains("the run has not come to its end"), "{text}");
    assert!(junit::without_run("s", "a < b\u{1b}").contains("a &lt; b?"));
    for wrong in [root.to_owned(), path.join("below/a/file.xml")] {
        let error = junit::begin(&wrong, "s").unwrap_err().to_string();
        assert!(error.contains(&format!("--junit {wrong}: the report cannot be written there")), "{error}");
    }
}

#[test]
fn the_trace_has_each_step_and_spec_once_and_no_two_on_one_lane_at_a_time() {
    let value: serde_json::Value = serde_json::from_str(&trace::trace(&timeline(WHOLE))).unwrap();
    let spans: Vec<&serde_json::Value> =
        value["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(spans.len(), 6 + 2);
    let moments = value["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "i");
    let moments: Vec<String> = moments.map(|event| format!("{} {}", event["name"], event["ts"])).collect();
    assert_eq!(moments, ["\"cluster/api\" 8000000", "\"cluster/node\" 3000000"]);
    for (number, one) in spans.iter().enumerate() {
        for other in &spans[number + 1..] {
            if one["pid"] == other["pid"] && one["tid"] == other["tid"] {
                let time = |span: &serde_json::Value| (span["ts"].as_u64().unwrap(), span["dur"].as_u64().unwrap());
                let ((a, a_long), (b, b_long)) = (time(one), time(other));
                assert!(a + a_long <= b || b + b_long <= a, "{one} and {other}");
            }
        }
    }
}

#[test]
fn the_page_needs_nothing_else_and_escapes_what_others_wrote() {
    let (whole, broken) = (timeline(&format!("0 machine 0\n{WHOLE}16 machine 20\n")), timeline(BROKEN));
    let charts = [html::Chart { title: "<&>", run: &whole }, html::Chart { title: "broken", run: &broken }];
    let two = html::page_of("two", "<p>lead</p>", &charts, "<p>tail</p>");
    let none = html::page_of("none", "", &[], "");
    for page in [&html::page(&whole), &two, &html::page(&timeline("")), &none] {
        for forbidden in ["<script", "http:", "https:", "url(", "<Debian>", "<&>"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for (open, close) in [
            ("<div", "</div>"),
            ("<table", "</table>"),
            ("<details", "</details>"),
            ("<dl>", "</dl>"),
            ("<span", "</span>"),
        ] {
            assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
        }
    }
    let page = two;
    assert!(page.contains("<p>lead</p>") && page.contains("<polygon points=\"0,100 ") && page.contains("of 2 cores"));
    assert_eq!(page.matches("class=\"row critical\"").count(), 3);
    assert_eq!(page.matches("skipped: compile failed").count(), 4);
    assert!(html::page(&whole).contains("&lt;Debian&gt;"));
}

#[test]
fn the_summary_of_a_job_is_a_table_of_phases() {
    let text = github::markdown(&timeline(WHOLE));
    for part in [
        "## s: passed in 17.0 s",
        "2 passed",
        "| ground | 0.0 s | 12.0 s | 12.0 s |",
        "cluster (10.0 s) → dns (2.0 s) → specs (4.0 s)",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let broken = timeline(BROKEN);
    assert!(matches!(broken.step(&StepId::from("dns")).unwrap().status, StepStatus::Skipped { .. }));
    assert!(github::markdown(&broken).contains("**step compile failed**"));
}
