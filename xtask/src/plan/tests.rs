//! The plan of a made-up suite, and of random ones.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use proptest::prelude::*;

use super::{BuildMode, Expected, ExpectedFrom, Extent, Format, History, On, Origin, Plan, Schedule, StepId, derive};
use crate::suite::Suite;
use crate::suite::yaml::{Problems, Source};
use crate::target::kind::LAYOUT;
use crate::target::kind::script::as_script;
use crate::target::processes;

const SUITE: &str = "\
name: shop
phases: [ground, kinds, build, data, deploy, check]
cluster: {name: shop, config: kind.yaml, node: node, preload: [db], phase: ground}
build:
  packages: [web, api, specs]
  dependencies: {dockerfile: Dockerfile.web, target: deps}
images:
  - {name: web, dockerfile: Dockerfile.web, reference: 'localhost/web:1', package: web, phase: build}
  - {name: api, dockerfile: Dockerfile.api, reference: 'localhost/api:1', package: api, phase: build}
  - {name: pages, dockerfile: Dockerfile.pages, reference: 'localhost/pages:1', phase: build}
manifests:
  - {name: web, files: [web.yaml], phase: deploy}
  - {name: api, files: [api.yaml], phase: deploy}
  - {name: db, files: [db.yaml], phase: data}
  - {name: kinds, files: [kinds.yaml], phase: kinds}
  - {name: space, files: [space.yaml], phase: kinds}
  - {name: late, files: [late.yaml], needs: [web], phase: deploy}
specs: {package: specs, binary: all, needs: [web, late], phase: check}
";

const MANIFESTS: [(&str, &str); 6] = [
    ("space.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"),
    (
        "kinds.yaml",
        "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: orders.shop.io}, \
         spec: {group: shop.io, names: {kind: Order, plural: orders}}}",
    ),
    (
        "db.yaml",
        "\
{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: shop}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {spec: {containers: [{name: db, image: docker.io/library/db:1}]}}}
",
    ),
    (
        "api.yaml",
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    spec:
      containers:
        - {name: api, image: localhost/api:1, env: [{name: P, valueFrom: {secretKeyRef: {name: db, key: p}}}]}
",
    ),
    (
        "web.yaml",
        "\
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}, \
 rules: [{apiGroups: [shop.io], resources: [orders/status], verbs: [get]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      initContainers: [{name: pages, image: localhost/pages:1}]
      containers: [{name: web, image: localhost/web:1}]
---
{apiVersion: batch/v1, kind: Job, metadata: {name: api, namespace: shop}, spec: {template: {spec: {}}}}
",
    ),
    ("late.yaml", "{apiVersion: shop.io/v1, kind: Order, metadata: {name: first, namespace: shop}}"),
];

fn texts(manifests: &[(&str, &str)]) -> BTreeMap<Utf8PathBuf, Source> {
    manifests.iter().map(|(file, text)| (Utf8PathBuf::from(file), Source::new(*file, *text))).collect()
}

fn shop(build: BuildMode) -> Plan {
    let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
    derive(&suite, &texts(&MANIFESTS), build, &LAYOUT).unwrap()
}

fn with(change: (&str, &str), manifests: &[(&str, &str)]) -> Result<Plan, Problems> {
    let text = SUITE.replace(change.0, change.1);
    assert!(change.0.is_empty() || text != SUITE, "{} is not in the suite", change.0);
    let suite = Suite::parse(Source::new("s.yaml", text)).unwrap();
    derive(&suite, &texts(manifests), BuildMode::Host, &LAYOUT)
}

/// What a step waits for, without the schedule's edges.
fn needs(plan: &Plan, step: &str) -> BTreeSet<String> {
    let step = plan.step(&StepId::new(step)).unwrap_or_else(|| panic!("no step {step}"));
    let needs = step.needs.iter().filter(|need| need.origin != Origin::Schedule);
    needs.map(|need| need.what().to_string()).collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn each_step_waits_for_exactly_what_it_reads() {
    let plan = shop(BuildMode::Host);
    for (step, expected) in [
        ("cluster", ""),
        ("dns", "cluster"),
        ("compile", ""),
        ("image:web", "compile"),
        // Not made of Rust: nothing to compile first.
        ("image:pages", ""),
        ("load:web", "image:web cluster/node"),
        ("apply:space", "cluster/api"),
        ("apply:kinds", "cluster/api"),
        // Its image is on the node from the start.
        ("apply:db", "cluster/api apply:space"),
        ("apply:api", "cluster/api apply:space apply:db load:api"),
        ("apply:web", "cluster/api apply:space apply:kinds load:web load:pages"),
        // A custom kind, and what the suite states: both workloads of the other group.
        ("apply:late", "cluster/api apply:space apply:kinds ready:web ready:shop/job/api"),
        ("ready:db", "apply:db"),
        ("ready:shop/deployment/api", "apply:api"),
        // A group without workloads is ready when it is applied.
        ("specs", "cluster dns compile ready:web ready:shop/job/api apply:late"),
    ] {
        assert_eq!(needs(&plan, step), set(expected), "{step}");
    }
    assert_eq!(plan.steps.len(), 20);
}

#[test]
fn a_build_in_containers_shares_the_dependencies_and_compiles_only_the_specs_here() {
    let plan = shop(BuildMode::Container);
    assert_eq!(needs(&plan, "image:web"), set("dependencies"));
    assert_eq!(needs(&plan, "image:pages"), set(""));
    let compile = plan.step(&StepId::from("compile")).unwrap();
    assert_eq!((compile.title.as_str(), compile.phases.as_slice()), ("compile specs", &["check".to_owned()][..]));
}

#[test]
fn specs_that_are_no_package_are_listed_at_once_and_nothing_is_compiled_for_them() {
    let change = ("specs: {package: specs, binary: all,", "specs: {program: [run, specs.py],");
    let plan = with(change, &MANIFESTS).unwrap();
    assert_eq!(needs(&plan, "list"), set(""));
    assert_eq!(needs(&plan, "specs"), set("cluster dns list ready:web ready:shop/job/api apply:late"));
    assert!(plan.clone().up_to(Extent::Deployed).step(&StepId::from("list")).is_none());
    for schedule in [Schedule::Sequential, Schedule::Phased, Schedule::Hybrid] {
        plan.clone().with_schedule(schedule).graph().unwrap();
    }
    let suite = Suite::parse(Source::new("s.yaml", SUITE.replace(change.0, change.1))).unwrap();
    let inside = derive(&suite, &texts(&MANIFESTS), BuildMode::Container, &LAYOUT).unwrap();
    assert!(inside.step(&StepId::from("compile")).is_none());
    let script = as_script(inside);
    assert!(script.step(&StepId::from("list")).is_none());
    assert_eq!(script.steps.last().unwrap().id.as_str(), "specs");
}

#[test]
fn a_shorter_run_has_no_needs_that_are_not_in_it() {
    for (build, extent, missing, there) in [
        (BuildMode::Host, Extent::Deployed, "specs", "ready:web"),
        (BuildMode::Container, Extent::Deployed, "compile", "dependencies"),
        (BuildMode::Host, Extent::Cluster, "compile", "apply:kinds"),
        (BuildMode::Host, Extent::Cluster, "apply:db", "dns"),
    ] {
        let plan = shop(build).up_to(extent);
        assert!(plan.step(&StepId::new(missing)).is_none(), "{missing}");
        assert!(plan.step(&StepId::new(there)).is_some(), "{there}");
        plan.graph().unwrap();
    }
    assert!(shop(BuildMode::Host).up_to(Extent::Deployed).step(&StepId::from("compile")).is_some());
}

#[test]
fn mistakes_in_manifests_are_told_with_file_and_line() {
    let change =
        |file: &str, text: &'static str| MANIFESTS.map(|(name, old)| (name, if name == file { text } else { old }));
    let cases = [
        (("", ""), change("late.yaml", "\n\nkind: Order\n"), "late.yaml:3:1: a document without `apiVersion`"),
        (
            ("", ""),
            change("late.yaml", "# x\n{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: db}}"),
            "late.yaml:2:66: Secret shop/db stands here a second time (the first is in db.yaml)",
        ),
        (("", ""), change("late.yaml", "# nothing\n"), "s.yaml:17:25: the manifests of `late` hold no object"),
        (
            ("specs: {", "steps: {imag:web: {expected_s: 1}}\nspecs: {"),
            MANIFESTS,
            "s.yaml:18:19: no step of the name `imag:web` (did you mean `image:web`?)",
        ),
    ];
    for (suite, manifests, expected) in cases {
        let error = with(suite, &manifests).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}\n{error}");
    }
}

#[test]
fn groups_that_read_of_each_other_are_refused_with_what_they_read() {
    let db = "\
{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
spec: {containers: [{name: a, image: x, envFrom: [{configMapRef: {name: web}}]}]}
";
    let web = "\
{apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: q, namespace: shop}
spec: {containers: [{name: a, image: x}], imagePullSecrets: [{name: db}]}
";
    let manifests = MANIFESTS.map(|(name, text)| match name {
        "db.yaml" => (name, db),
        "web.yaml" => (name, web),
        _ => (name, text),
    });
    let error = with(("", ""), &manifests).unwrap_err().to_string();
    for part in ["steps wait for each other", "ConfigMap shop/web", "Secret shop/db", "s.yaml:1"] {
        assert!(error.contains(part), "{part}\n{error}");
    }
}

/// Pairs of which the second must not begin before the first has ended.
fn ordered(plan: &Plan, first: &str, second: &str) -> bool {
    let mut reached = BTreeSet::from([StepId::new(second)]);
    for step in plan.steps.iter().rev() {
        if reached.contains(&step.id) {
            reached.extend(step.needs.iter().filter(|need| need.on == On::Finish).map(|need| need.step.clone()));
        }
    }
    reached.contains(&StepId::new(first))
}

#[test]
fn schedules_are_the_orders_that_they_are_named_for() {
    let plan = |schedule| shop(BuildMode::Host).with_schedule(schedule);
    let phased = plan(Schedule::Phased);
    let hybrid = plan(Schedule::Hybrid);
    let dag = plan(Schedule::Dag);
    for (plan, first, second, expected) in [
        (&dag, "cluster", "compile", false),
        (&dag, "load:web", "apply:api", false),
        // Cluster, kinds, namespaces; then images beside what uses none of them; then the rest one by one.
        (&phased, "cluster", "compile", true),
        (&phased, "cluster", "image:pages", true),
        (&phased, "apply:kinds", "compile", true),
        (&phased, "apply:space", "apply:db", true),
        (&phased, "compile", "apply:db", false),
        (&phased, "image:web", "image:api", false),
        (&phased, "ready:db", "apply:web", true),
        (&phased, "load:api", "apply:web", true),
        (&phased, "ready:web", "apply:api", true),
        (&phased, "apply:api", "apply:web", false),
        (&phased, "ready:shop/deployment/api", "apply:late", true),
        (&phased, "ready:shop/deployment/api", "specs", true),
        (&phased, "dns", "compile", false),
        (&phased, "dns", "specs", true),
        // Images; cluster; loads; deploys.
        (&hybrid, "image:web", "cluster", true),
        (&hybrid, "image:pages", "cluster", true),
        (&hybrid, "cluster", "load:web", true),
        (&hybrid, "load:web", "load:api", false),
        (&hybrid, "load:web", "apply:db", true),
        (&hybrid, "ready:db", "apply:web", false),
        (&hybrid, "ready:db", "specs", true),
    ] {
        assert_eq!(ordered(plan, first, second), expected, "{}: {first} before {second}", plan.schedule);
    }
    let sequential = plan(Schedule::Sequential);
    for pair in sequential.steps.windows(2) {
        assert!(ordered(&sequential, pair[0].id.as_str(), pair[1].id.as_str()), "{} {}", pair[0].id, pair[1].id);
    }
    let place = |id: &str| sequential.steps.iter().position(|step| step.id.as_str() == id).unwrap();
    assert_eq!(place("dns") + 1, place("specs"), "what nothing else needs is waited for last");
}

#[test]
fn changing_the_schedule_leaves_nothing_of_the_one_before() {
    let dag = shop(BuildMode::Host).with_schedule(Schedule::Dag);
    for schedule in Schedule::ALL {
        let there_and_back = shop(BuildMode::Host).with_schedule(schedule).with_schedule(Schedule::Dag);
        let edges = |plan: &Plan| -> usize { plan.steps.iter().map(|step| step.needs.len()).sum() };
        assert_eq!(edges(&there_and_back), edges(&dag), "{schedule}");
        let ids = |plan: &Plan| plan.steps.iter().map(|step| step.id.clone()).collect::<BTreeSet<_>>();
        assert_eq!(ids(&there_and_back), ids(&dag), "{schedule}");
    }
}

#[test]
fn measured_times_come_before_estimates() {
    let mut history = History::default();
    for seconds in [9.0, 1.0, 5.0, 7.0] {
        history.add(StepId::from("cluster"), seconds);
        history.add(StepId::from("cluster/api"), seconds / 2.0);
    }
    let plan = with(("specs: {", "steps: {dns: {expected_s: 2, deadline_s: 9}}\nspecs: {"), &MANIFESTS).unwrap();
    let plan = plan.with_history(&history);
    let expected = |id: &str| plan.step(&StepId::new(id)).unwrap().expected;
    assert_eq!(expected("cluster"), Expected { seconds: 6.0, source: ExpectedFrom::Measured(4) });
    assert_eq!(expected("dns"), Expected { seconds: 2.0, source: ExpectedFrom::Suite });
    let cluster = plan.step(&StepId::from("cluster")).unwrap();
    let sources = cluster.milestones.iter().map(|milestone| milestone.expected.source).collect::<Vec<_>>();
    assert_eq!(sources, [ExpectedFrom::Default, ExpectedFrom::Measured(4)], "node and api");
    assert!((cluster.expected_until_s(&On::Milestone("api".into())) - 3.0).abs() < 1e-9);
    assert!((plan.step(&StepId::from("dns")).unwrap().deadline_s - 9.0).abs() < 1e-9);
}

#[test]
fn a_plan_prints_itself_whole_in_each_format() {
    for schedule in Schedule::ALL {
        let plan = shop(BuildMode::Host).with_schedule(schedule);
        let text = plan.print(Format::Text);
        for step in &plan.steps {
            assert!(
                text.lines().any(|line| line.contains(&format!("{} ", step.id))),
                "{} is missing:\n{text}",
                step.id
            );
        }
        let json: Plan = serde_json::from_str(&plan.print(Format::Json)).unwrap();
        assert_eq!(json, plan);
        let mermaid = plan.print(Format::Mermaid);
        let edges: usize = plan.steps.iter().map(|step| step.needs.len()).sum();
        let arrows = mermaid.lines().filter(|line| ["-->", "-.->", "--o"].iter().any(|arrow| line.contains(arrow)));
        assert_eq!(arrows.count(), edges, "{mermaid}");
    }
}

/// A suite of random groups: each may read of earlier groups' objects and use any images, in any order in the file.
fn random_plan() -> impl Strategy<Value = Plan> {
    let group =
        (any::<bool>(), proptest::collection::vec(any::<prop::sample::Index>(), 0..4), 0..4_usize, any::<bool>());
    let groups = proptest::collection::vec(group, 1..9);
    (groups, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(groups, turn, host)| {
        let mut suite = String::from(
            "name: r\nphases: [a, b, c]\ncluster: {name: r, config: k, node: n, phase: a}\nbuild: {packages: [p]}\n\
             images:\n  - {name: i0, dockerfile: d, reference: i0, package: p, phase: b}\n  \
             - {name: i1, dockerfile: d, reference: i1, phase: c}\nmanifests:\n",
        );
        let mut lines = Vec::new();
        let mut texts = BTreeMap::new();
        for (number, (ground, reads, images, stated)) in groups.iter().enumerate() {
            let earlier: Vec<usize> = if number == 0 { Vec::new() } else { reads.iter().map(|at| at.index(number)).collect() };
            let needs = if *stated && number > 0 { format!(", needs: [g{}]", number - 1) } else { String::new() };
            let phase = ["a", "b", "c"][number % 3];
            lines.push(format!("  - {{name: g{number}, files: [g{number}.yaml]{needs}, phase: {phase}}}\n"));
            let volumes: Vec<String> = earlier.iter().map(|group| format!("{{name: v, secret: {{secretName: s{group}}}}}")).collect();
            let containers: Vec<String> = (0..*images).map(|image| format!("{{name: c{image}, image: i{image}}}")).collect();
            let text = if *ground && reads.is_empty() {
                format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: n{number}}}}}")
            } else {
                format!(
                    "{{apiVersion: v1, kind: Secret, metadata: {{name: s{number}}}}}\n---\n{{apiVersion: apps/v1, kind: Deployment, \
                     metadata: {{name: d{number}}}, spec: {{template: {{spec: {{volumes: [{}], containers: [{}]}}}}}}}}",
                    volumes.join(", "),
                    containers.join(", ")
                )
            };
            let file = format!("g{number}.yaml");
            texts.insert(Utf8PathBuf::from(&file), Source::new(file, text));
        }
        // Where a group stands in the file says nothing about its needs.
        let turn = turn.index(lines.len());
        lines.rotate_left(turn);
        suite.push_str(&lines.concat());
        suite.push_str("specs: {package: p, binary: s, needs: [g0], phase: c}\n");
        let suite = Suite::parse(Source::new("r.yaml", suite)).unwrap();
        derive(&suite, &texts, if host { BuildMode::Host } else { BuildMode::Container }, &LAYOUT).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_schedule_closes_a_circle_or_changes_a_step(plan in random_plan()) {
        let ids: BTreeSet<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
        for schedule in Schedule::ALL {
            let ordered = plan.clone().with_schedule(schedule);
            prop_assert!(ordered.graph().is_ok(), "{schedule}: {:?}", ordered.graph().err());
            prop_assert_eq!(&ids, &ordered.steps.iter().map(|step| step.id.clone()).collect());
            // Each step stands behind what it needs, and keeps all the needs it had.
            let mut seen = BTreeSet::new();
            for step in &ordered.steps {
                for need in &step.needs {
                    prop_assert!(seen.contains(&need.step), "{}: {} stands before {}", schedule, step.id, need.step);
                }
                seen.insert(step.id.clone());
                let before = plan.step(&step.id).unwrap();
                for need in &before.needs {
                    prop_assert!(step.needs.contains(need));
                }
                let same = step.kind == before.kind && step.resource == before.resource && step.title == before.title;
                prop_assert!(same);
            }
        }
    }
}

#[test]
fn where_workloads_are_processes_there_are_no_images_and_they_wait_for_their_binaries() {
    let processes = "\
processes:
  programs: {postgres: {debian: postgresql}}
  workloads:
    - {workload: web, package: web, ports: [{name: http}], ready: {port: http}}
    - {workload: db, program: postgres, ports: [{name: sql}], ready: {port: sql}}
";
    let suite = Suite::parse(Source::new("s.yaml", format!("{SUITE}{processes}"))).unwrap();
    let plan = derive(&suite, &texts(&MANIFESTS), BuildMode::Host, &processes::LAYOUT).unwrap();
    let is_of_images =
        |step: &&super::Step| matches!(step.kind, super::StepKind::Image { .. } | super::StepKind::Deliver { .. });
    assert_eq!(plan.steps.iter().find(is_of_images), None);
    for (step, expected) in [
        ("control-plane", ""),
        ("compile", ""),
        ("apply:space", "control-plane"),
        ("apply:db", "control-plane apply:space"),
        ("ready:web", "apply:web compile"),
        ("ready:db", "apply:db"),
    ] {
        assert_eq!(needs(&plan, step), set(expected), "{step}");
    }
}
