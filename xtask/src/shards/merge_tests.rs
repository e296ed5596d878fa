//! Runs of shards as they are found in folders, whole and broken.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::merge::{Merged, merge, read};
use super::{Partition, Split};
use crate::events::{Event, RunFolder, RunResult, RunStarted, SCHEMA, SpecStatus, Usage, What};
use crate::plan::{BuildMode, Slots, StepId, StepKind, derive};
use crate::report::{junit, merged};
use crate::suite::Suite;
use crate::suite::yaml::Source;
use crate::target::kind::LAYOUT;

const SUITE: &str = "\
name: s
phases: [a]
cluster: {name: s, config: k, node: n, phase: a}
build: {packages: [p]}
specs: {package: p, binary: s, phase: a}
";

/// Copies of runs' folders.
struct Folders {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

/// What a run of a shard is.
#[derive(Clone, Copy)]
struct Run<'a> {
    shard: Option<&'a str>,
    /// The specs of each shard, parted by `|`; none where the run did not come so far.
    split: Option<&'a str>,
    times: Option<&'a str>,
    /// `passed one`, `failed one`, `began one`, `flaky one`, and at the end how it ended: `passed`, `specs failed` and so on;
    /// without that it was killed.
    story: &'a str,
    suite: &'a str,
    revision: &'a str,
}

/// Specs of two shards.
const SPLIT: Option<&str> = Some("one two|three four");
const FIRST: Run<'_> = Run {
    shard: Some("1/2"),
    split: SPLIT,
    times: Some("0123456789abcdef"),
    story: "passed one, passed two, passed",
    suite: "s",
    revision: "v1",
};
const SECOND: Run<'_> = Run { shard: Some("2/2"), story: "passed three, passed four, passed", ..FIRST };

impl Folders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        Self { _dir: dir, root }
    }

    /// The names of folders, and the runs in them.
    fn write(&self, runs: &[(&str, Run<'_>)]) -> Vec<Utf8PathBuf> {
        let write = |(name, run): &(&str, Run<'_>)| {
            let folder = self.root.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let lines =
                events(*run).iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect::<String>();
            std::fs::write(RunFolder::at(&folder).events(), lines).unwrap();
            folder
        };
        runs.iter().map(write).collect()
    }

    fn merged(&self, runs: &[(&str, Run<'_>)]) -> Merged {
        merge(read(&self.write(runs)).unwrap()).unwrap()
    }

    fn refused(&self, runs: &[(&str, Run<'_>)]) -> String {
        read(&self.write(runs)).unwrap_err().to_string().replace(self.root.as_str(), "")
    }
}

fn events(run: Run<'_>) -> Vec<Event> {
    let suite =
        Suite::parse(Source::new("s.yaml", SUITE.replacen("name: s", &format!("name: {}", run.suite), 1))).unwrap();
    let started = RunStarted {
        schema: SCHEMA,
        run: "r".to_owned(),
        started_at: "2030-01-01T00:00:00Z".to_owned(),
        command: Vec::new(),
        partition: run.shard.map(|shard| shard.parse().unwrap()),
        plan: derive(&suite, &BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap(),
        slots: Slots::for_cores(2),
        cores: 2,
        pid: 1,
        environment: [("git revision".to_owned(), run.revision.to_owned())].into(),
    };
    let set_up: Vec<StepId> =
        started.plan.steps.iter().filter(|step| step.kind != StepKind::Specs).map(|step| step.id.clone()).collect();
    let mut what = vec![What::RunStarted(Box::new(started))];
    if let Some(split) = run.split {
        let shards: Vec<Vec<String>> =
            split.split('|').map(|shard| shard.split_whitespace().map(str::to_owned).collect()).collect();
        let own = run.shard.map_or(1, |shard| shard.parse::<Partition>().unwrap().index());
        let specs = shards[own - 1].clone();
        what.push(What::SpecsSplit(Split { shards, times: run.times.map(str::to_owned) }));
        what.push(What::SpecsListed { specs, alone: Vec::new() });
    }
    for part in run.story.split(", ").filter(|part| !part.is_empty()) {
        let finished = |result, reason: &str| What::RunFinished { result, reason: reason.to_owned() };
        let words: Vec<&str> = part.split(' ').collect();
        match words.as_slice() {
            ["passed", spec] => what.extend(passed(spec, 1)),
            ["flaky", spec] => what.extend(passed(spec, 2)),
            ["began", spec] => what.push(What::SpecStarted { spec: (*spec).to_owned() }),
            ["ignored", spec] => what.push(What::SpecIgnored { spec: (*spec).to_owned() }),
            ["failed", spec] => {
                let spec = (*spec).to_owned();
                what.push(What::SpecStarted { spec: spec.clone() });
                what.push(What::SpecFailed { spec, error: "expected <201>".to_owned(), attempts: 1 });
            }
            ["broke", step] => {
                let (step, error) = (StepId::new(*step), "no space".to_owned());
                what.push(What::StepStarted { step: step.clone() });
                what.push(What::StepFailed { step, error, usage: Usage::default() });
            }
            ["passed"] => what.push(finished(RunResult::Passed, "")),
            ["red"] => what.push(finished(RunResult::SpecsFailed, "specs: 1 failed")),
            ["broken"] => what.push(finished(RunResult::SetupFailed, "cluster: no space")),
            ["stopped"] => what.push(finished(RunResult::Interrupted, "interrupted by SIGINT")),
            ["wrong"] => what.push(finished(RunResult::WrongUsage, "--filter x: none of the specs")),
            other => panic!("{other:?}?"),
        }
    }
    let mut events: Vec<Event> =
        what.into_iter().enumerate().map(|(at, what)| Event { at_us: at as u64 * 1_000_000, what }).collect();
    // Whoever came to the specs had set everything up.
    for step in set_up.into_iter().filter(|_| run.split.is_some()) {
        let usage = Usage::default();
        events.insert(1, Event { at_us: 0, what: What::StepFinished { step: step.clone(), usage } });
        events.insert(1, Event { at_us: 0, what: What::StepStarted { step } });
    }
    events
}

fn passed(spec: &str, attempts: u32) -> [What; 2] {
    [What::SpecStarted { spec: spec.to_owned() }, What::SpecPassed { spec: spec.to_owned(), attempts }]
}

fn verdict_of(merged: &Merged) -> (RunResult, &str) {
    let (result, reason) = merged.whole.result.as_ref().unwrap();
    (*result, reason)
}

#[test]
fn shards_that_have_passed_are_one_green_run() {
    let folders = Folders::new();
    let merged = folders.merged(&[("b", SECOND), ("a", Run { story: "passed one, flaky two, passed", ..FIRST })]);
    assert_eq!(verdict_of(&merged), (RunResult::Passed, ""));
    assert!(merged.shards.iter().all(super::merge::Part::is_green));
    let names: Vec<&str> = merged.whole.specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["four", "one", "three", "two"]);
    let text = merged::text(&merged);
    assert!(text.contains("flaky: two\n") && text.contains("4 passed, 1 flaky among the passed; passed\n"), "{text}");
    assert!(text.starts_with("shard 1/2  passed in 7.0 s  2 passed, 1 flaky"), "{text}");
    let xml = junit::merged(&merged);
    let count = |what: &str| xml.matches(what).count();
    assert_eq!((count("<failure"), count("<error"), count("flakyFailure")), (0, 0, 1), "{xml}");
    for (what, expected) in [
        ("classname=\"s.specs\"", 4),
        ("classname=\"s.shards\"", 2),
        ("<testsuite name=\"s.setup.shard-1-of-2\"", 1),
        ("<testsuite name=\"s.setup.shard-2-of-2\"", 1),
        ("<testsuite name=\"s.specs\" tests=\"4\" failures=\"0\" errors=\"0\"", 1),
    ] {
        assert_eq!(count(what), expected, "{what} in {xml}");
    }
    let page = merged::page(&merged);
    assert!(page.contains("<title>s, 2 shards: 4 passed, 1 flaky among the passed; passed</title>"), "{page}");
    assert!(
        page.contains("Specs: shard 1/2")
            && page.contains("Environment: shard 2/2")
            && !page.contains("class=\"error\">shard"),
        "{page}"
    );
}

/// A shard beside a green first one: the verdict, how it is told of the specs, and what the report says of them.
fn beside(second: &[(&str, Run<'_>)]) -> (RunResult, String, String) {
    let folders = Folders::new();
    let mut runs = vec![("a", FIRST)];
    runs.extend(second);
    let merged = folders.merged(&runs);
    let ended = merged.whole.specs.iter().filter(|spec| spec.status == SpecStatus::Passed).count();
    let not_passed = merged.whole.specs.len() - ended;
    let (text, xml) = (merged::text(&merged), junit::merged(&merged));
    let (result, reason) = verdict_of(&merged);
    assert_ne!(result, RunResult::Passed, "{text}");
    assert!(!reason.is_empty(), "{text}");
    // Each spec that has not passed is a test that has not, and the shard's own trouble is one where no spec tells it.
    let specs = &xml[xml.find("<testsuite name=\"s.specs\"").unwrap()..];
    assert_eq!(specs.matches("<error").count() + specs.matches("<failure").count(), not_passed, "{xml}");
    let page = merged::page(&merged);
    assert!(page.contains("<pre class=\"error\">") && page.contains(result.name()), "{page}");
    (result, text, xml)
}

#[test]
fn a_shard_that_is_missing_is_red_and_its_specs_are_named() {
    let (result, text, xml) = beside(&[]);
    assert_eq!(result, RunResult::SpecsFailed);
    assert!(
        text.starts_with("shard 2/2: its run is not among the folders\n2 specs did not run: four, three\n"),
        "{text}"
    );
    assert!(text.contains("shard 2/2  missing") && text.ends_with("2 passed, 2 not run; specs failed\n"), "{text}");
    assert!(xml.contains("did not run: the run of shard 2/2 is not among the folders"), "{xml}");
}

#[test]
fn a_shard_that_was_killed_is_red_whatever_it_had_done() {
    for (story, told) in [
        ("", "2 specs did not run: four, three"),
        ("passed three", "1 specs did not run: four"),
        ("passed three, began four", "spec four did not end: the run of shard 2/2 was killed"),
        ("passed three, passed four", "shard 2/2: its run was killed: nothing is known of it after 6.0 s"),
    ] {
        let (result, text, xml) = beside(&[("b", Run { story, ..SECOND })]);
        assert_eq!(result, RunResult::SpecsFailed, "{story}");
        assert!(text.contains(told) && text.contains("shard 2/2  killed after"), "{story}: {text}");
        assert!(xml.contains("<error message=\"its run was killed"), "{xml}");
    }
    // Before it came to its specs.
    let (result, text, _) = beside(&[("b", Run { split: None, story: "", ..SECOND })]);
    assert_eq!(result, RunResult::SpecsFailed);
    assert!(text.contains("2 specs did not run: four, three"), "{text}");
}

#[test]
fn shards_of_different_lists_are_red_also_where_each_is_green() {
    for (split, times, story, told) in [
        (
            Some("one two|three five"),
            FIRST.times,
            "passed three, passed five, passed",
            "it also has five; it does not have four",
        ),
        (
            SPLIT,
            Some("fedcba9876543210"),
            SECOND.story,
            "another file of times than other shards: SHA-256 fedcba987654, theirs 0123456789ab",
        ),
        (SPLIT, None, SECOND.story, "another file of times than other shards: SHA-256 none, theirs 0123456789ab"),
        (Some("one three|two four"), FIRST.times, "passed two, passed four, passed", "the same specs in another way"),
    ] {
        let (result, text, xml) = beside(&[("b", Run { split, times, story, ..SECOND })]);
        assert_eq!(result, RunResult::SpecsFailed);
        assert!(text.contains("shard 2/2: it was split") || text.contains("shard 2/2: it split"), "{text}");
        assert!(text.contains(told) && xml.contains("s.shards"), "{text}");
    }
    // What no shard has run is named, and what two have.
    let (_, text, _) =
        beside(&[("b", Run { split: Some("one three|two four"), story: "passed two, passed four, passed", ..SECOND })]);
    assert!(text.contains("1 specs did not run: three") && text.contains("two ended in 2 shards"), "{text}");
    // The list that most have is the one that counts.
    let folders = Folders::new();
    let split = Some("one|two|three");
    let odd = Run { shard: Some("1/3"), split: Some("one|two|three x"), story: "passed one, passed", ..FIRST };
    let two = Run { shard: Some("2/3"), split, story: "passed two, passed", ..FIRST };
    let three = Run { shard: Some("3/3"), split, story: "passed three, passed", ..FIRST };
    let merged = folders.merged(&[("a", odd), ("b", two), ("c", three)]);
    assert_eq!(
        verdict_of(&merged),
        (RunResult::SpecsFailed, "shard 1/3: it split another list of specs than other shards: it also has x")
    );
    assert!(merged.shards[1].is_green() && merged.shards[2].is_green());
    assert!(merged::text(&merged).contains("1 specs did not run: x"));
}

#[test]
fn a_program_that_runs_more_than_its_shard_is_red() {
    let (result, text, _) = beside(&[("b", Run { story: "passed one, passed three, passed four, passed", ..SECOND })]);
    assert_eq!(result, RunResult::SpecsFailed);
    assert!(
        text.contains("shard 2/2: its run had specs that are not its own (does the program know --skip?): one"),
        "{text}"
    );
    // What is marked as ignored is so in every shard.
    let merged = Folders::new()
        .merged(&[("a", FIRST), ("b", Run { story: "ignored five, passed three, passed four, passed", ..SECOND })]);
    assert_eq!(verdict_of(&merged).0, RunResult::Passed, "{}", merged::text(&merged));
}

#[test]
fn the_verdict_is_that_of_the_shard_that_says_most() {
    for (story, split, expected, told) in [
        ("passed three, failed four, red", SPLIT, RunResult::SpecsFailed, "spec four failed: expected <201>"),
        ("broke cluster, broken", None, RunResult::SetupFailed, "shard 2/2: step cluster failed: no space"),
        (
            "passed three, began four, stopped",
            SPLIT,
            RunResult::Interrupted,
            "spec four did not end: shard 2/2: interrupted",
        ),
        ("wrong", None, RunResult::WrongUsage, "shard 2/2: --filter x"),
        ("passed three, passed", SPLIT, RunResult::SpecsFailed, "1 specs did not run: four"),
        ("passed three, passed four, red", SPLIT, RunResult::SpecsFailed, "shard 2/2: specs: 1 failed"),
    ] {
        let (result, text, xml) = beside(&[("b", Run { story, split, ..SECOND })]);
        assert_eq!(result, expected, "{story}: {text}");
        assert!(text.contains(told), "{story}: {text}");
        assert!(xml.contains("<error") || xml.contains("<failure"), "{xml}");
    }
    // Where no shard came to its specs nobody knows which there are.
    let broken = Run { split: None, story: "broke cluster, broken", ..FIRST };
    let merged = Folders::new().merged(&[("a", broken), ("b", Run { shard: Some("2/2"), ..broken })]);
    assert_eq!(verdict_of(&merged).0, RunResult::SetupFailed);
    assert!(merged::text(&merged).contains("which specs there are is not known"), "{}", merged::text(&merged));
}

#[test]
fn what_cannot_belong_together_is_refused() {
    let folders = Folders::new();
    for (second, told) in [
        (FIRST, "shard 1/2 is there twice, in /a and in /b: leave one out"),
        (Run { suite: "other", ..SECOND }, "/b is a run of another suite: it is of suite other, and /a is of suite s"),
        (
            Run { shard: Some("2/3"), split: Some("one|three four|"), ..SECOND },
            "/b is a run of another number of shards: it is one of 3 shards, and /a is one of 2 shards",
        ),
        (
            Run { revision: "v2", ..SECOND },
            "/b is a run of another version of the files: it is of git revision v2, and /a is of git revision v1",
        ),
        (Run { shard: None, ..SECOND }, "/b: it is a run of the whole suite, and of no shard (--partition)"),
    ] {
        assert_eq!(folders.refused(&[("a", FIRST), ("b", second)]), told);
    }
}

#[test]
fn what_is_no_run_is_refused() {
    let folders = Folders::new();
    let one = folders.write(&[
        ("a", FIRST),
        ("runs/1", FIRST),
        ("runs/2", SECOND),
        ("suite/only", FIRST),
        ("torn", FIRST),
        ("bad", FIRST),
        ("new", FIRST),
    ]);
    std::fs::create_dir(folders.root.join("empty")).unwrap();
    std::fs::write(folders.root.join("file"), "").unwrap();
    std::fs::write(one[4].join("events.jsonl"), "{\"at_us\":0,\"event\":\"run-sta").unwrap();
    std::fs::write(one[5].join("events.jsonl"), "rubbish\n").unwrap();
    let text = std::fs::read_to_string(one[6].join("events.jsonl")).unwrap();
    std::fs::write(one[6].join("events.jsonl"), text.replace(&format!("\"schema\":{SCHEMA}"), "\"schema\":99"))
        .unwrap();
    for (name, told) in [
        ("none", "/none: there is no such folder"),
        ("empty", "/empty: it is no run's folder, for there is no events.jsonl in it"),
        ("file", "/file: it is no run's folder"),
        (
            "runs",
            "/runs: it is no run's folder, for there is no events.jsonl in it; it holds 2 of them, /runs/1 to /runs/2",
        ),
        ("suite", "events.jsonl in it; /suite/only is one"),
        ("torn", "/torn: the run ended before its first event"),
        ("bad", "/bad: its events cannot be read: line 1 of /bad/events.jsonl is no event"),
        ("new", "was written by a newer version (schema 99"),
    ] {
        let error = read(&[folders.root.join("a"), folders.root.join(name)]).unwrap_err().to_string();
        let error = error.replace(folders.root.as_str(), "");
        assert!(error.contains(told), "{name}: {error}");
    }
    let writer = std::fs::File::open(one[2].join("events.jsonl")).unwrap();
    writer.lock().unwrap();
    let error = read(&[one[2].clone()]).unwrap_err().to_string();
    assert!(error.contains("the run still goes on"), "{error}");
}
