//! What a run is from its first step to what is left of it: the engine is played, cargo is real.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e_support::engine::{Engine, Flavor};
use e2e_support::kind::Kind;
use testbed::fakes::{Fake, Play};

use super::*;
use crate::events::{Event, RunStarted, SCHEMA, Usage};
use crate::instance::Instance;
use crate::plan::{BuildMode, StepId, StepKind, derive};
use crate::report::summary::summary;
use crate::setup::catalog::Catalog;
use crate::setup::host::Host;
use crate::setup::make::Workshop;
use crate::suite::Suite;
use crate::suite::yaml::Source;
use crate::target::kind::{Cluster, Effective, LAYOUT, Style};
use crate::target::session::SpecOptions;

const SUITE: &str = "name: s\nphases: [a]\ncluster: {name: s, config: k, node: n, phase: a}\n";

fn timeline(ends: &[(&str, &str)]) -> Timeline {
    let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
    let started = RunStarted {
        schema: SCHEMA,
        run: "r".to_owned(),
        started_at: String::new(),
        command: Vec::new(),
        partition: None,
        plan: derive(&suite, &BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap(),
        slots: Slots::for_cores(2),
        cores: 2,
        pid: 1,
        environment: BTreeMap::new(),
    };
    let mut events = vec![Event { at_us: 0, what: What::RunStarted(Box::new(started)) }];
    for (step, end) in ends {
        let (step, usage, error) = (StepId::new(*step), Usage::default(), "no".to_owned());
        let what = match *end {
            "done" => What::StepFinished { step, usage },
            "failed" => What::StepFailed { step, error, usage },
            _ => What::StepCancelled { step, error, usage },
        };
        events.push(Event { at_us: 1, what });
    }
    Timeline::of(&events)
}

#[test]
fn a_cluster_is_only_said_to_stay_where_there_is_one() {
    let (whole, stopped, failed) = ([("cluster", "done")], [("cluster", "stopped")], [("cluster", "failed")]);
    let (red, bad, green, usage) =
        (RunResult::SpecsFailed, RunResult::SetupFailed, RunResult::Passed, RunResult::WrongUsage);
    for (after, ends, result, expected) in [
        (Afterwards::Keep, &whole[..], green, Left::Cluster),
        (Afterwards::Keep, &whole, red, Left::Cluster),
        (Afterwards::Keep, &whole, usage, Left::Cluster),
        (Afterwards::Keep, &stopped, bad, Left::Nothing),
        (Afterwards::Keep, &[], bad, Left::Nothing),
        (Afterwards::Keep, &failed, bad, Left::Remains),
        (Afterwards::KeepFailed, &whole, green, Left::Nothing),
        (Afterwards::KeepFailed, &whole, red, Left::Cluster),
        (Afterwards::KeepFailed, &whole, usage, Left::Nothing),
        (Afterwards::KeepFailed, &stopped, bad, Left::Nothing),
        (Afterwards::KeepFailed, &failed, bad, Left::Remains),
        (Afterwards::Delete, &whole, red, Left::Nothing),
        (Afterwards::Delete, &failed, bad, Left::Nothing),
    ] {
        assert_eq!(left(after, false, &timeline(ends), result, false), expected, "{after:?} {ends:?} {result:?}");
    }
    let all = timeline(&whole);
    assert_eq!(left(Afterwards::Keep, false, &all, RunResult::Interrupted, true), Left::Nothing);
    assert_eq!(left(Afterwards::Keep, true, &timeline(&[]), bad, false), Left::Cluster);
    assert_eq!(left(Afterwards::Keep, true, &all, RunResult::Interrupted, true), Left::Cluster);
}

/// A specs' program without a library. What it does beside its first spec says a file, so that it is compiled once.
const SPECS: &str = r##"
use std::io::Write;
fn main() {
    let has = |word: &str| std::env::args().any(|arg| arg == word);
    if has("--ignored") {
        return;
    }
    if has("--list") {
        println!("a::one: test\na::two: test");
        return;
    }
    let path = std::env::var_os("E2E_EVENTS").unwrap();
    let mut events = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    let mut end = |spec: &str| {
        writeln!(events, r#"{{"event":"spec_started","spec":"{spec}"}}"#).unwrap();
        writeln!(events, r#"{{"event":"spec_finished","spec":"{spec}","outcome":"passed"}}"#).unwrap();
    };
    end("a::one");
    if std::fs::read_to_string("mode").unwrap() == "green" {
        end("a::two");
    }
}
"##;

const WITH_SPECS: &str = "\
name: s
phases: [a]
cluster: {name: s, config: k, node: n, phase: a}
build: {packages: [app]}
images: [{name: app, dockerfile: d, reference: app, package: app, phase: a}]
specs: {package: app, binary: specs, phase: a}
";

/// A workspace with a suite, and an engine whose cluster is there.
struct World {
    _dir: tempfile::TempDir,
    fake: Fake,
    session: Session,
    plan: Plan,
}

impl World {
    /// Cargo is told to build for a named target, so that nothing is where it is by default.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::new(dir.path()).unwrap();
        let root = fake.dir().join("checkout");
        let sh = xshell::Shell::new().unwrap();
        let rustc = e2e_support::Job::new(xshell::cmd!(sh, "rustc -vV")).read().unwrap();
        let triple = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        for (file, text) in [
            ("Cargo.toml", "[package]\nname = \"app\"\nedition = \"2024\"\n[workspace]\n"),
            ("Cargo.lock", "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.0.0\"\n"),
            (".cargo/config.toml", &format!("[build]\ntarget = \"{triple}\"\n")),
            ("src/main.rs", "fn main() {}\n"),
            ("src/bin/specs.rs", SPECS),
            // What an earlier build has left where binaries are by default.
            ("target/debug/specs", "old\n"),
            ("target/debug/app", "old\n"),
        ] {
            crate::disk::write(&root.join(file), text).unwrap();
        }
        let suite = Suite::parse(Source::new("s.yaml", WITH_SPECS)).unwrap();
        let paths = Paths { target: root.join("target"), cache: fake.dir().join("cache"), root };
        let instance = Instance::of(&paths, &suite).unwrap();
        let engine = Engine::at(Flavor::Podman, &fake.program("podman"), &[]).unwrap();
        let workshop = Workshop {
            root: paths.root.clone(),
            cache: paths.cache.clone(),
            host: Host::look(),
            catalog: Catalog::default(),
            keys: BTreeMap::new(),
            engine: Some(engine.clone()),
            images: Vec::new(),
        };
        let cluster = Cluster {
            kind: Kind::new(fake.program("kind"), engine.clone()),
            engine,
            nodes: vec![instance.node()],
            node_image: String::new(),
            made_from: String::new(),
            config: Effective { yaml: String::new(), ports: BTreeMap::new(), replaced: Vec::new() },
            was_there: false,
            style: Style::Native,
            cache: paths.cache.clone(),
        };
        let session = Session {
            manifests: std::sync::Arc::default(),
            kubectl: fake.program("kubectl"),
            build: BuildMode::Host,
            zig: None,
            namespace: String::new(),
            run_dir: paths.root.clone(),
            specs: Some(SpecOptions::default()),
            target: std::sync::Arc::new(cluster),
            paths,
            suite,
            instance,
            workshop,
        };
        let plan = derive(&session.suite, &BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap();
        Self { _dir: dir, fake, session, plan }
    }

    /// Carries the plan out; only what is compiled and the specs are real.
    fn run(&mut self, mode: &str, options: SpecOptions, prepare: impl FnOnce(&RunFolder)) -> (RunFolder, Driven) {
        let session = &mut self.session;
        std::fs::write(session.paths.root.join("mode"), mode).unwrap();
        let labels = session.instance.labels();
        let cluster = (e2e_support::kind::CLUSTER_LABEL, session.instance.cluster());
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain([cluster]).collect();
        self.fake.container("podman", &session.instance.node(), "running", &labels).unwrap();
        let waits_for_ever = options.filter.is_some();
        let folder = Runs::of(&session.paths.root).create("s").unwrap();
        prepare(&folder);
        session.run_dir = folder.path().to_owned();
        session.specs = Some(options);
        let work = |step: &Step, context: &StepContext<'_>| match step.kind {
            StepKind::Compile { .. } | StepKind::Specs => session.execute(step, context),
            StepKind::Part { role: Role::Making, .. } if waits_for_ever => {
                context.cancel().sleep(Duration::from_secs(600));
                anyhow::bail!("stopped")
            }
            _ => Ok(()),
        };
        let stop = Stop::new(&e2e_support::Cancel::new());
        let driven = drive_with(session, &self.plan, &folder, Afterwards::Delete, &stop, Vec::new(), work).unwrap();
        (folder, driven)
    }

    fn cluster_is_there(&self) -> bool {
        self.fake.containers("podman").contains(&self.session.instance.node())
    }
}

#[test]
fn a_run_compiles_stages_runs_judges_and_cleans_up() {
    let mut world = World::new();
    let (folder, green) = world.run("green", SpecOptions::default(), |_| {});
    assert_eq!(green.outcome.result, RunResult::Passed, "{}", green.outcome.reason);
    assert!(green.afterwards.is_empty() && green.left == Left::Nothing, "{:?}", green.afterwards);
    assert!(!world.cluster_is_there() && !folder.stage().exists());
    assert_eq!(green.timeline.specs.len(), 2);

    // The specs' program ends with 0 in the middle, the engine does not delete, a report cannot be written.
    world.fake.on("podman", "rm *", Play::fails(125, "the storage is full").times(2)).unwrap();
    let (folder, red) = world.run("exit", SpecOptions::default(), |folder| std::fs::create_dir(folder.html()).unwrap());
    assert_eq!(red.outcome.result, RunResult::SpecsFailed);
    let why = "specs: of 2 specs 1 did not run: the specs' program ended with exit code 0";
    assert_eq!(red.outcome.reason, why);
    let text = summary(&red.timeline, Some(&folder));
    assert!(text.starts_with("1 specs did not run: a::two\nstep specs failed: of 2 specs"), "{text}");
    let told: Vec<String> = red.afterwards.iter().map(|error| format!("{error:#}")).collect();
    assert!(told.iter().any(|error| error.contains("report.html")), "{told:?}");
    assert!(told.iter().any(|error| error.contains("the storage is full")), "{told:?}");
    assert!(folder.junit().is_file(), "one report that cannot be written does not keep the others from it");
    assert!(world.cluster_is_there());
    let events = crate::events::read(&folder.events()).unwrap();
    assert!(events.iter().any(|event| matches!(&event.what, What::SpecUnfinished { spec, .. } if spec == "a::two")));

    // A filter that lets nothing through ends the run before there is a cluster.
    let typo = SpecOptions { filter: Some("a::tow".to_owned()), ..SpecOptions::default() };
    let (_, wrong) = world.run("green", typo, |_| {});
    assert_eq!(wrong.outcome.result, RunResult::WrongUsage);
    assert!(wrong.outcome.reason.contains("the nearest: a::two"), "{}", wrong.outcome.reason);
    let text = summary(&wrong.timeline, None);
    assert!(
        text.starts_with("wrong usage: --filter a::tow: none of the 2 specs") && text.lines().count() == 3,
        "{text}"
    );
    let specs = wrong.timeline.step(&"specs".into()).unwrap();
    assert!(matches!(specs.status, StepStatus::Skipped { .. }) && !world.cluster_is_there());
}

#[test]
fn a_build_beside_a_run_does_not_change_what_runs() {
    let mut world = World::new();
    let root = world.session.paths.root.clone();
    let plan = world.plan.clone();
    world.plan.steps.retain(|step| matches!(step.kind, StepKind::Compile { .. }));
    let (folder, compiled) = world.run("green", SpecOptions::default(), |_| {});
    assert_eq!(compiled.outcome.result, RunResult::Passed, "{}", compiled.outcome.reason);
    assert!(!folder.stage().exists(), "it is removed with the run's end");
    // A binary that is gone from cargo's folder in the middle of the run is there for the run.
    world.plan = plan;
    std::fs::write(root.join("mode"), "green").unwrap();
    let session = &world.session;
    let folder = Runs::of(&root).create("s").unwrap();
    let session = Session { run_dir: folder.path().to_owned(), ..session.clone() };
    let gone = |step: &Step, context: &StepContext<'_>| match step.kind {
        StepKind::Compile { .. } => {
            session.execute(step, context)?;
            std::fs::remove_dir_all(session.paths.target.join("debug")).unwrap();
            for folder in session.paths.target.read_dir_utf8().unwrap().flatten() {
                let _ = std::fs::remove_dir_all(folder.path().join("debug"));
            }
            Ok(())
        }
        StepKind::Specs => session.execute(step, context),
        _ => Ok(()),
    };
    let stop = Stop::new(&e2e_support::Cancel::new());
    let driven = drive_with(&session, &world.plan, &folder, Afterwards::Delete, &stop, Vec::new(), gone).unwrap();
    assert_eq!(driven.outcome.result, RunResult::Passed, "{}", driven.outcome.reason);
}
