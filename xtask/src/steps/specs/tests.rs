//! Small programs as specs' programs: each breaks the agreement in a way of its own.

use std::sync::Mutex;
use std::time::Duration;

use e2e_support::clock::Instant;
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use super::*;
use crate::error::WrongUsage;

/// The beginning of every program: `--list`, and words for what is told.
const HEAD: &str = r#"#!/bin/sh
case "$*" in
*--ignored*) exit 0 ;;
*--list*) printf 'a::one: test\n[alone] a::two: test\nb::three: test\n\n3 tests, 0 benchmarks\n'; exit 0 ;;
esac
tell() { printf '{"event":"%s","spec":"%s","outcome":"%s","message":"because"}\n' "$1" "$2" "$3" >> "$E2E_EVENTS"; }
start() { tell spec_started "$1" ''; }
end() { start "$1"; tell spec_finished "$1" "$2"; }
echo "$*" >> "$0.calls"
"#;

struct Fake {
    _dir: tempfile::TempDir,
    root: camino::Utf8PathBuf,
    cancel: Cancel,
    log: camino::Utf8PathBuf,
    deadline: Duration,
}

impl Fake {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        // Written by another process: what this one has just written cannot always be started.
        let sh = Shell::new().unwrap();
        let write = "cat > \"$0\" && chmod 755 \"$0\"";
        let path = root.join("specs");
        Job::new(cmd!(sh, "sh -c {write} {path}")).stdin(format!("{HEAD}{script}\n")).run().unwrap();
        Self { log: root.join("log"), root, _dir: dir, cancel: Cancel::new(), deadline: Duration::from_secs(60) }
    }

    fn program(&self) -> Program<'_> {
        Program {
            path: self.root.join("specs"),
            arguments: &[],
            folder: &self.root,
            env: vec![("E2E_RUN_FILE", "run.json".to_owned())],
            jobs: Some(3),
            log: &self.log,
            cancel: &self.cancel,
            end: Instant::now() + self.deadline,
        }
    }

    /// What is told of the specs in the end, and the error.
    fn run(&self, options: &SpecOptions) -> (Vec<String>, Option<anyhow::Error>) {
        let told = Mutex::new(Vec::new());
        let result = run(&self.program(), &self.root.join("specs.jsonl"), options, &|said| {
            let line = match said {
                Told::Event(What::SpecPassed { spec, attempts }) => format!("{spec} passed {attempts}"),
                Told::Event(What::SpecFailed { spec, attempts, error }) => format!("{spec} failed {attempts}: {error}"),
                Told::Event(What::SpecUnfinished { spec, attempts, .. }) => format!("{spec} unfinished {attempts}"),
                Told::Event(What::SpecIgnored { spec }) => format!("{spec} ignored"),
                Told::Event(_) | Told::Progress(_) => return,
            };
            told.lock().unwrap().push(line);
        });
        (told.into_inner().unwrap(), result.err())
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.join("specs.calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn told(script: &str, retries: u32) -> (String, String) {
    let fake = Fake::new(script);
    let (told, error) = fake.run(&SpecOptions { retries, ..SpecOptions::default() });
    let error = error.map(|error| {
        assert!(error.is::<SpecsFailed>(), "the specs are to blame: {error:#}");
        error.to_string()
    });
    (told.join("; "), error.unwrap_or_default())
}

const GREEN: &str = "end a::one passed; end a::two passed; end b::three passed";

#[test]
fn a_program_that_keeps_the_agreement_is_believed() {
    assert_eq!(told(GREEN, 0), ("a::one passed 1; a::two passed 1; b::three passed 1".to_owned(), String::new()));
    let (_, error) = told("end a::one passed; end a::two failed; end b::three failed; exit 101", 0);
    assert_eq!(error, "of 3 specs 2 failed");
}

#[test]
fn a_program_that_ends_in_the_middle_is_red_however_it_ends() {
    let middle = "end a::one passed; start a::two;";
    for (end, how) in [
        ("exit 0", "ended with exit code 0"),
        ("exit 101", "ended with exit code 101"),
        ("echo last words; exit 2", "ended with exit code 2: last words"),
        ("kill -9 $$", "ended with signal 9"),
        ("kill -6 $$", "ended with signal 6"),
    ] {
        let (told, error) = told(&format!("{middle} {end}"), 0);
        assert_eq!(told, "a::one passed 1; a::two unfinished 1; b::three unfinished 0");
        assert_eq!(error, format!("of 3 specs 1 did not end, 1 did not run: the specs' program {how}"));
    }
}

#[test]
fn a_program_that_tells_nothing_has_run_nothing() {
    for script in ["exit 0", "exit 1", "rm \"$E2E_EVENTS\"", "echo '{\"event\":\"other\"}' > \"$E2E_EVENTS\""] {
        let (told, error) = told(script, 0);
        assert_eq!(told, "a::one unfinished 0; a::two unfinished 0; b::three unfinished 0", "{script}");
        assert!(error.starts_with("of 3 specs 3 did not run: the specs' program ended with exit code"), "{error}");
    }
}

#[test]
fn events_that_cannot_be_read_make_no_green_run() {
    for (script, expected) in [
        ("echo rubbish >> \"$E2E_EVENTS\"", "line 7 of the specs' events is no JSON"),
        ("printf '{\"event\":' >> \"$E2E_EVENTS\"", "the specs' events end within a line"),
        ("tell spec_finished a::one perhaps", "line 7 of the specs' events has no outcome that is known"),
        (": > \"$E2E_EVENTS\"", ""),
        ("exit 3", "all specs had ended, but the specs' program ended with exit code 3"),
        ("kill -11 $$", "all specs had ended, but the specs' program ended with signal 11"),
    ] {
        for retries in [0, 2] {
            let (_, error) = told(&format!("{GREEN}; {script}"), retries);
            assert!(error.contains(expected) && !error.is_empty(), "{script}: {error}");
        }
    }
    let (told, error) = told(&format!("{GREEN}; end c::four passed"), 0);
    assert!(told.contains("c::four failed 1: it was told to have ended, and is none of the specs"), "{told}");
    assert_eq!(error, "of 4 specs 1 failed");
}

#[test]
fn what_is_red_is_tried_again_by_its_name_and_counts_by_how_often_it_ran() {
    let crash_once = format!("case \"$*\" in *--exact*) end \"${{4}}\" passed ;; *) {GREEN_BUT_CRASH} ;; esac");
    let (told_, error) = told(&crash_once, 1);
    assert_eq!(error, "");
    assert_eq!(told_, "a::one passed 1; a::two passed 2; b::three passed 1");
    let fake = Fake::new(&crash_once);
    fake.run(&SpecOptions { retries: 1, ..SpecOptions::default() });
    assert_eq!(
        fake.calls(),
        ["--test-threads 3", "--test-threads 3 --exact a::two", "--test-threads 3 --exact b::three"]
    );
}

const GREEN_BUT_CRASH: &str = "end a::one passed; start a::two; exit 0";

#[test]
fn a_spec_that_is_gone_when_it_is_tried_again_is_red() {
    let script = "case \"$*\" in *--exact*) exit 0 ;; *) end a::one passed; end b::three passed; end a::two failed; exit 101 ;; esac";
    let (told_, error) = told(script, 2);
    assert_eq!(told_, "a::one passed 1; b::three passed 1; a::two unfinished 1");
    assert_eq!(error, "of 3 specs 1 did not run: the specs' program ended with exit code 0");
}

#[test]
fn a_program_that_hangs_is_red_when_its_time_is_over_and_told_what_failed_before() {
    let mut fake = Fake::new("end a::one passed; end b::three failed; start a::two; exec sleep 600");
    fake.deadline = Duration::from_millis(800);
    let (told, error) = fake.run(&SpecOptions { retries: 3, ..SpecOptions::default() });
    assert_eq!(told, ["a::one passed 1", "a::two unfinished 1", "b::three failed 1: because"]);
    let error = error.unwrap();
    assert!(error.is::<SpecsFailed>(), "{error:#}");
    let text = error.to_string();
    assert!(text.starts_with("of 3 specs 1 failed, 1 did not end: the specs' program was stopped: still"), "{text}");
    assert_eq!(fake.calls().len(), 1, "nothing is tried again when the time is over");
}

#[test]
fn who_stops_the_specs_is_not_told_that_they_failed() {
    let fake = Fake::new("start a::one; exec sleep 600");
    let cancel = fake.cancel.clone();
    let events = fake.root.join("specs.jsonl");
    let stopper = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end && std::fs::metadata(&events).map_or(0, |meta| meta.len()) == 0 {
            std::thread::yield_now();
        }
        cancel.cancel("Ctrl-C");
    });
    let (told, error) = fake.run(&SpecOptions::default());
    stopper.join().unwrap();
    let error = error.unwrap();
    assert!(!error.is::<SpecsFailed>() && error.to_string() == "running the specs", "{error:#}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_filter_that_lets_nothing_through_is_wrong_usage_and_a_program_without_specs_red() {
    let filter = |text: &str| SpecOptions { filter: Some(text.to_owned()), ..SpecOptions::default() };
    let fake = Fake::new("end b::three passed");
    let error = fake.run(&filter("tree")).1.unwrap();
    assert!(error.is::<WrongUsage>(), "{error:#}");
    let expected = "--filter tree: none of the 3 specs has this in its name; the nearest: b::three";
    assert_eq!(error.to_string(), expected);
    assert!(fake.calls().is_empty(), "no spec has run");
    assert_eq!(fake.program().list(Some("tree")).unwrap_err().to_string(), expected);
    let (told, error) = fake.run(&filter("three"));
    assert!(error.is_none() && told == ["b::three passed 1"], "{told:?} {error:?}");
    assert_eq!(fake.calls(), ["--test-threads 3 three"]);

    for (list, why) in [
        ("exit 0", "the specs' program lists no spec"),
        ("exit 3", "the specs' program does not list its specs"),
        ("kill -9 $$", "the specs' program does not list its specs"),
    ] {
        let fake = Fake::new("");
        let sh = Shell::new().unwrap();
        let path = fake.root.join("specs");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\"";
        Job::new(cmd!(sh, "sh -c {write} {path} {list}")).run().unwrap();
        for options in [SpecOptions::default(), filter("one")] {
            let error = fake.run(&options).1.unwrap();
            assert!(error.is::<SpecsFailed>() && error.to_string().contains(why), "{list}: {error:#}");
        }
    }
}

#[test]
fn a_shard_runs_its_own_specs_and_tells_of_all() {
    let run = |script: &str, filter: Option<&str>, index: usize, count: usize| {
        let fake = Fake::new(script);
        let partition = crate::shards::Partition::new(index, count).unwrap();
        let shard = Some(Shard { partition, times: crate::shards::times::Times::default() });
        let options = SpecOptions { filter: filter.map(str::to_owned), shard, ..SpecOptions::default() };
        let told = Mutex::new(Vec::new());
        let result = super::run(&fake.program(), &fake.root.join("specs.jsonl"), &options, &|said| {
            told.lock().unwrap().extend(match said {
                Told::Event(What::SpecsSplit(split)) => Some(format!("{:?}", split.shards)),
                Told::Event(What::SpecsListed { specs, alone }) => Some(format!("{specs:?}, alone {alone:?}")),
                _ => None,
            });
        });
        let error = result.err().map(|error| error.to_string());
        (told.into_inner().unwrap(), fake.calls(), error)
    };
    // What the specs' program would do with these words.
    let obedient =
        "for s in a::one a::two b::three; do case \" $* \" in *\" --skip $s \"*) ;; *) end $s passed ;; esac; done";
    let mut seen = Vec::new();
    for index in 1..=2 {
        let (told, calls, error) = run(obedient, None, index, 2);
        assert_eq!(error, None);
        assert_eq!(told[0], r#"[["a::two", "b::three"], ["a::one"]]"#);
        seen.push((told[1].clone(), calls.join("; ")));
    }
    let first = (r#"["a::two", "b::three"], alone ["a::two"]"#, "--test-threads 3 --exact --skip a::one");
    let second = (r#"["a::one"], alone []"#, "--test-threads 3 --exact --skip a::two --skip b::three");
    let expected = [first, second].map(|(told, calls)| (told.to_owned(), calls.to_owned()));
    assert_eq!(seen, expected);

    // A filter leaves each where it is, and a shard without any runs nothing.
    let (told, calls, error) = run(obedient, Some("three"), 2, 2);
    let nothing = vec![r#"[["b::three"], []]"#.to_owned(), "[], alone []".to_owned()];
    assert_eq!((told, calls, error), (nothing, Vec::new(), None));
    let (told, calls, _) = run(obedient, Some("::t"), 1, 2);
    assert_eq!(told[0], r#"[["a::two", "b::three"], []]"#);
    assert_eq!(calls, ["--test-threads 3 --exact --skip a::one"]);
    // What a shard does not run is red as ever.
    let (_, _, error) = run("exit 0", None, 2, 2);
    assert_eq!(error.unwrap(), "of 1 specs 1 did not run: the specs' program ended with exit code 0");
}

#[test]
fn a_program_of_another_language_gets_its_own_arguments_first() {
    let fake = Fake::new("end a::one passed; end a::two passed");
    let script = [fake.root.join("specs").into_string()];
    let program = || Program { path: program_in(&fake.root, "sh"), arguments: &script, ..fake.program() };
    assert_eq!(program().path, "sh");
    assert_eq!(program().list(None).unwrap().due, ["a::one", "a::two", "b::three"]);
    let options = SpecOptions { filter: Some("a::".to_owned()), ..SpecOptions::default() };
    super::run(&program(), &fake.root.join("specs.jsonl"), &options, &|_| {}).unwrap();
    assert_eq!(fake.calls(), ["--test-threads 3 a::"]);
    assert_eq!(program_in(&fake.root, "./specs"), fake.root.join("./specs"));
}
