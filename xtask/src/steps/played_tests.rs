//! Steps of a made-up suite, with programs that play the engine, kind and kubectl.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use e2e_support::engine::{Engine, Flavor};
use e2e_support::kind::{CLUSTER_LABEL, Kind};
use testbed::fakes::{Fake, Play};

use super::*;
use crate::events::{Recorder, RunInfo, Runs, Stop};
use crate::execute::execute;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::{BuildMode, Manifests, Plan, Slots};
use crate::setup::catalog::Catalog;
use crate::setup::host::Host;
use crate::setup::make::Workshop;
use crate::suite::yaml::Source;
use crate::suite::{Specs, Suite};
use crate::target::kind::{Cluster, Effective, LAYOUT, Style};

const SUITE: &str = "\
name: s
phases: [p]
cluster: {name: c, config: kind.yaml, node: node, phase: p}
build: {packages: [web, specs], dependencies: {dockerfile: Dockerfile, target: deps}}
images: [{name: web, dockerfile: Dockerfile, reference: 'localhost/web:1', package: web, phase: p}]
manifests: [{name: all, files: [all.yaml], phase: p}]
specs: {package: specs, binary: specs, needs: [all], phase: p}
";

const JOB: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: j, namespace: n}
spec: {template: {spec: {restartPolicy: Never, volumes: [{configMap: {name: cm}}], containers: [{name: c, image: i}]}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: cm, namespace: n}, immutable: true, data: {a: b}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s, namespace: n}, spec: {
  volumeClaimTemplates: [{metadata: {name: d}, spec: {resources: {requests: {storage: 2Gi}}}}], template: {spec: {}}}}
";

/// Everything that steps work with, in a folder that goes.
struct Stage {
    _dir: tempfile::TempDir,
    fake: Fake,
    session: Session,
}

impl Stage {
    fn new(manifests: &str, kept: bool) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().canonicalize_utf8().unwrap();
        let fake = Fake::new(root.join("fake")).unwrap();
        let engine = Engine::at(Flavor::Podman, &fake.program("podman"), &[]).unwrap();
        let paths = Paths { root: root.clone(), target: root.join("target"), cache: root.join("cache") };
        let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
        let sources = [("all.yaml".into(), Source::new("all.yaml", manifests))];
        let instance = Instance::of(&paths, &suite).unwrap();
        std::fs::create_dir_all(&instance.files.dir).unwrap();
        std::fs::write(root.join("Dockerfile"), "FROM scratch AS deps\nFROM scratch\n").unwrap();
        let node = instance.node();
        let of_cluster = [(CLUSTER_LABEL, instance.cluster())];
        fake.container("podman", &node, "running", &of_cluster).unwrap();
        let cluster = Cluster {
            kind: Kind::new(fake.program("kind"), engine.clone()),
            engine: engine.clone(),
            nodes: vec![node],
            node_image: "node:1".into(),
            made_from: String::new(),
            config: Effective { yaml: String::new(), ports: BTreeMap::new(), replaced: Vec::new() },
            was_there: kept,
            style: Style::Native,
            cache: paths.cache.clone(),
        };
        let session = Session {
            manifests: Arc::new(Manifests::new(sources.into()).unwrap()),
            build: BuildMode::Host,
            zig: None,
            kubectl: fake.program("kubectl"),
            namespace: "n".into(),
            run_dir: root.join("run"),
            specs: None,
            target: Arc::new(cluster),
            workshop: Workshop {
                root,
                cache: paths.cache.clone(),
                host: Host::look(),
                catalog: Catalog::default(),
                images: Vec::new(),
                keys: BTreeMap::new(),
                engine: Some(engine),
            },
            instance,
            paths,
            suite,
        };
        Stage { _dir: dir, fake, session }
    }

    fn kubectl(&self, pattern: &str, play: Play) -> &Stage {
        self.fake.on("kubectl", pattern, play).unwrap();
        self
    }

    /// Runs the step `id` alone, and gives the error that it ended with.
    fn run(&self, id: &str, deadline_s: f64) -> Result<(), String> {
        let session = &self.session;
        let mut plan = crate::plan::derive(&session.suite, &session.manifests.sources, session.build, &LAYOUT).unwrap();
        plan.steps.retain(|step| step.id.as_str() == id);
        assert_eq!(plan.steps.len(), 1, "there is no step {id}");
        plan.steps[0].needs.clear();
        plan.steps[0].deadline_s = deadline_s;
        self.carry_out(&plan)
    }

    fn carry_out(&self, plan: &Plan) -> Result<(), String> {
        let folder = Runs::of(&self.session.paths.root).create("s").unwrap();
        let slots = Slots::for_cores(2);
        let mut recorder = Recorder::start(folder, plan, slots, RunInfo::default(), Vec::new()).unwrap();
        let work = |step: &Step, context: &StepContext<'_>| self.session.execute(step, context);
        let outcome = execute(plan, slots, &Stop::new(&e2e_support::Cancel::new()), &mut recorder, work).unwrap();
        outcome.failed.map_or(Ok(()), |(_, error)| Err(format!("{error:#}")))
    }

    /// What kubectl was asked, without the words that every call has; watches, which nobody waits for, left out.
    fn asked(&self) -> Vec<String> {
        let calls = self.fake.calls_of("kubectl").unwrap();
        let words = calls.iter().map(|call| call.split(' ').skip(4).collect::<Vec<_>>().join(" "));
        words.filter(|words| !words.contains("watch=true")).collect()
    }

    fn note_applied(&self, text: &str) {
        std::fs::write(self.session.instance.files.dir.join("applied.json"), text).unwrap();
    }

    fn applied(&self) -> String {
        std::fs::read_to_string(self.session.instance.files.dir.join("applied.json")).unwrap()
    }
}

/// An object as the cluster has it, applied by `manager`.
fn there(api_version: &str, kind: &str, name: &str, manager: &str, more: &str) -> String {
    format!(
        r#"{{"apiVersion": "{api_version}", "kind": "{kind}", "metadata": {{"name": "{name}", "namespace": "n",
            "managedFields": [{{"manager": "{manager}", "operation": "Apply"}}]}}{more}}}"#
    )
}

/// The kinds of steps; each part of the target is one of its own.
fn name(kind: &StepKind) -> &str {
    match kind {
        StepKind::Part { part, .. } => part,
        StepKind::Compile { .. } => "compile",
        StepKind::Dependencies => "dependencies",
        StepKind::Image { .. } => "image",
        StepKind::Deliver { .. } => "deliver",
        StepKind::Apply { .. } => "apply",
        StepKind::Ready { .. } => "ready",
        StepKind::List => "list",
        StepKind::Specs => "specs",
    }
}

#[test]
fn every_step_ends_by_its_deadline_when_nothing_answers() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (build, is_command) in [(BuildMode::Host, false), (BuildMode::Container, false), (BuildMode::Host, true)] {
        let mut stage = Stage::new(JOB, false);
        stage.session.build = build;
        if is_command {
            let program = vec![stage.fake.program("specs").into_string()];
            let specs = stage.session.suite.specs.as_mut().unwrap();
            *specs = Specs { package: None, binary: None, program, ..specs.clone() };
        }
        for program in ["podman", "kind", "kubectl", "specs"] {
            stage.fake.on(program, "*", Play::hangs()).unwrap();
        }
        // A fake program has to lie below a folder named bin.
        stage.session.run_dir = stage.fake.dir().join("bin");
        let binary = stage.session.staged_specs("specs");
        std::fs::create_dir_all(binary.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(stage.fake.program("specs"), &binary).unwrap();
        let plan = crate::plan::derive(&stage.session.suite, &stage.session.manifests.sources, build, &LAYOUT).unwrap();
        for step in &plan.steps {
            // What cargo does is up to cargo, and the folder has nothing to compile.
            let compiles = matches!(step.kind, StepKind::Compile { .. });
            if !seen.insert(name(&step.kind).to_owned()) {
                continue;
            }
            let begun = Instant::now();
            let error = stage.run(step.id.as_str(), 0.3).unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(10), "{}: {:?}", step.id, begun.elapsed());
            assert!(compiles || error.contains("its deadline of 0.3 s has passed"), "{}: {error}", step.id);
            assert!(compiles || error.contains(step.id.as_str()), "{}: {error}", step.id);
        }
    }
    assert_eq!(seen.len(), 8 + LAYOUT.parts.len(), "{seen:?}");
}

const REFUSED: &str = "The Job \"j\" is invalid: spec.template: Invalid value: {}: field is immutable";

#[test]
fn a_job_that_cannot_be_changed_is_made_anew_once() {
    let stage = Stage::new(JOB, true);
    stage
        .kubectl("*apply*", Play::says("job.batch/j serverside-applied"))
        .kubectl("*apply*", Play::fails(1, REFUSED).times(1))
        .kubectl("*get --ignore-not-found*", Play::says(there("batch/v1", "Job", "j", "xtask", "")))
        .kubectl("*delete*", Play::script("cat >\"$home/deleted\""));
    stage.run("apply:all", 20.0).unwrap();
    let asked: Vec<String> = stage.asked().iter().map(|words| words.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(asked, ["apply", "get", "get", "delete", "apply"]);
    let deleted = std::fs::read_to_string(stage.fake.dir().join("deleted")).unwrap();
    assert!(deleted.contains(r#""name":"j""#) && !deleted.contains(r#""name":"cm""#), "{deleted}");
    assert!(stage.asked()[3].contains("--cascade=foreground"));

    // What is refused again is an error.
    stage.kubectl("*apply*", Play::fails(1, REFUSED));
    let error = stage.run("apply:all", 20.0).unwrap_err();
    assert!(error.contains("applying all.yaml") && error.contains("field is immutable"), "{error}");
}

#[test]
fn with_an_immutable_config_map_go_all_that_read_it() {
    let stage = Stage::new(JOB, true);
    let refused = "The ConfigMap \"cm\" is invalid: data: Forbidden: field is immutable when `immutable` is set";
    let items =
        [there("batch/v1", "Job", "j", "xtask", ""), there("v1", "ConfigMap", "cm", "xtask", ", \"immutable\": true")];
    stage
        .kubectl("*apply*", Play::says("applied"))
        .kubectl("*apply*", Play::fails(1, refused).times(1))
        .kubectl("*get --ignore-not-found*", Play::says(format!("{{\"items\": [{}]}}", items.join(","))))
        .kubectl("*delete*", Play::script("cat >\"$home/deleted\""));
    stage.run("apply:all", 20.0).unwrap();
    let deleted = std::fs::read_to_string(stage.fake.dir().join("deleted")).unwrap();
    assert!(deleted.contains(r#""name":"j""#) && deleted.contains(r#""name":"cm""#), "{deleted}");
}

#[test]
fn claims_and_what_others_made_are_never_replaced() {
    let stage = Stage::new(JOB, true);
    let set = "The StatefulSet \"s\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden";
    let old = r#", "spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]}"#;
    stage
        .kubectl("*apply*", Play::fails(1, set))
        .kubectl("*get --ignore-not-found*", Play::says(there("apps/v1", "StatefulSet", "s", "xtask", old)));
    let error = stage.run("apply:all", 20.0).unwrap_err();
    for part in ["all.yaml:9:", "StatefulSet n/s", "spec.volumeClaimTemplates", "cargo xtask down s"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    stage
        .kubectl("*apply*", Play::fails(1, REFUSED))
        .kubectl("*get --ignore-not-found*", Play::says(there("batch/v1", "Job", "j", "helm", "")));
    let error = stage.run("apply:all", 20.0).unwrap_err();
    assert!(error.contains("it was not made by this suite"), "{error}");
    assert!(!stage.asked().iter().any(|words| words.starts_with("delete")));
}

#[test]
fn a_kind_that_nobody_has_is_given_up_within_seconds() {
    let stage = Stage::new("apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: d, namespace: n}\n", false);
    let unknown = "resource mapping not found for name: \"d\" namespace: \"n\" from \"STDIN\": no matches for kind \"Deploymnet\" in version \"apps/v1\"\nensure CRDs are installed first";
    let kinds = r#"{"resources": [{"kind": "Deployment"}, {"kind": "DaemonSet"}]}"#;
    stage.kubectl("*apply*", Play::fails(1, unknown)).kubectl("*--raw /apis/apps/v1", Play::says(kinds));
    let begun = Instant::now();
    let error = stage.run("apply:all", 240.0).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(error.starts_with("all.yaml:2:7: ") && error.contains("did you mean `Deployment`?"), "{error}");
}

const BEFORE: &str = r#"[{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "n", "name": "cm"},
    {"apiVersion": "v1", "kind": "Service", "namespace": "n", "name": "old"},
    {"apiVersion": "v1", "kind": "Secret", "namespace": "n", "name": "taken-over"},
    {"apiVersion": "v1", "kind": "Namespace", "namespace": "", "name": "spare"}]"#;

#[test]
fn a_new_cluster_and_one_with_nothing_to_remove_are_asked_nothing_more() {
    for kept in [false, true] {
        let stage = Stage::new(JOB, kept);
        stage.kubectl("*--raw /readyz", Play::says("ok"));
        stage.fake.on("podman", "exec*cat*", Play::says("apiVersion: v1\nclusters: [{name: a, cluster: {}}]\nusers: [{name: a}]\ncontexts: [{name: a, context: {}}]")).unwrap();
        stage.fake.on("podman", "port *", Play::says("127.0.0.1:40001")).unwrap();
        if kept {
            stage.note_applied(r#"[{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "n", "name": "cm"}]"#);
        } else {
            stage.fake.on("kind", "create*", Play::says("created")).unwrap();
        }
        stage.run("cluster", 20.0).unwrap();
        assert_eq!(stage.asked(), ["get --raw /readyz"]);
        let applied = stage.applied();
        assert!(applied.contains("\"j\"") && applied.contains("\"cm\"") && applied.contains("\"s\""), "{applied}");
    }
}

#[test]
fn what_the_manifests_have_no_longer_is_removed_and_nothing_of_others() {
    let stage = Stage::new(JOB, true);
    stage.note_applied(BEFORE);
    let mut space: serde_json::Value = serde_json::from_str(&there("v1", "Namespace", "spare", "xtask", "")).unwrap();
    space["metadata"]["namespace"].take();
    let found = [
        there("v1", "Service", "old", "xtask", ""),
        there("v1", "Secret", "taken-over", "somebody", ""),
        space.to_string(),
    ];
    stage
        .kubectl("*--raw /readyz", Play::says("ok"))
        .kubectl("*get --ignore-not-found*", Play::says(format!("{{\"items\": [{}]}}", found.join(","))))
        .kubectl("*api-resources*", Play::says("configmaps\nevents\nsecrets"))
        .kubectl("*get configmaps,secrets --namespace spare*", Play::says("configmap/kube-root-ca.crt\nsecret/mine"))
        .kubectl("*delete*", Play::script("cat >>\"$home/deleted\""));
    stage.run("cluster", 20.0).unwrap();
    let deleted = std::fs::read_to_string(stage.fake.dir().join("deleted")).unwrap();
    assert!(deleted.contains(r#""name":"old""#), "{deleted}");
    assert!(!deleted.contains("taken-over") && !deleted.contains("spare"), "{deleted}");
    let applied = stage.applied();
    assert!(!applied.contains("old") && !applied.contains("taken-over"), "{applied}");
    assert!(applied.contains("spare"), "it is looked at again: {applied}");

    // Once nobody has anything in it the namespace goes, too.
    stage.kubectl("*get configmaps,secrets --namespace spare*", Play::says("configmap/kube-root-ca.crt"));
    stage.run("cluster", 20.0).unwrap();
    let deleted = std::fs::read_to_string(stage.fake.dir().join("deleted")).unwrap();
    assert!(deleted.contains(r#""name":"spare""#), "{deleted} {:?}", stage.asked());
    assert!(!stage.applied().contains("spare"));
}

#[test]
fn a_watch_that_never_works_is_told_at_the_deadline() {
    let stage = Stage::new(JOB, false);
    stage.kubectl("*watch=true*", Play::fails(1, "error: You must be logged in to the server (Unauthorized)"));
    let error = stage.run("ready:j", 2.0).unwrap_err();
    for part in ["waiting for Job n/j", "its deadline of 2 s", "the watch of its object", "Unauthorized"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn job(condition: &str) -> String {
    format!(
        r#"{{"type": "ADDED", "object": {{"metadata": {{"uid": "1"}},
            "status": {{"conditions": [{{"type": "{condition}", "status": "True", "message": "backoff"}}]}}}}}}"#
    )
    .replace('\n', "")
}

#[test]
fn a_job_that_failed_before_runs_again_and_one_that_fails_now_does_not() {
    let stage = Stage::new(JOB, true);
    stage
        .kubectl("*/jobs?watch=true*", Play::says(job("Complete")))
        .kubectl("*/jobs?watch=true*", Play::says(job("Failed")).times(1))
        .kubectl("*/pods?watch=true*", Play::hangs())
        .kubectl("*apply*", Play::says("applied"))
        .kubectl("*get --ignore-not-found*", Play::says(there("batch/v1", "Job", "j", "xtask", "")))
        .kubectl("*delete*", Play::says("deleted"));
    stage.run("ready:j", 30.0).unwrap();
    let asked = stage.asked();
    assert!(asked.iter().any(|words| words.starts_with("delete")), "{asked:?}");
    assert!(asked.last().unwrap().starts_with("apply"), "{asked:?}");

    let stage = Stage::new(JOB, false);
    stage.kubectl("*/jobs?watch=true*", Play::says(job("Failed"))).kubectl("*/pods?watch=true*", Play::hangs());
    let error = stage.run("ready:j", 30.0).unwrap_err();
    assert!(error.contains("the job failed: backoff"), "{error}");
}

#[test]
fn the_try_that_the_deadline_cuts_short_does_not_hide_what_the_one_before_it_said() {
    let said = "error: the server 127.0.0.1:1 was not reached: connection refused";
    for (step, asked) in [("cluster", "*--raw /readyz"), ("apply:all", "*apply*")] {
        let stage = Stage::new(JOB, true);
        stage.kubectl(asked, Play::hangs()).kubectl(asked, Play::fails(1, said).times(1));
        let error = stage.run(step, 1.5).unwrap_err();
        assert!(error.contains(said) && error.contains("its deadline of 1.5 s"), "{step}: {error}");
    }
}
