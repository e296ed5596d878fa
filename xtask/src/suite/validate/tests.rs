//! Suites with a mistake each.

use crate::suite::yaml::Source;
use crate::suite::{SUITES, Suite};

/// The smallest suite that has everything.
const WHOLE: &str = "\
name: one
phases: [ground, build, deploy, check]
cluster: {name: c, config: kind.yaml, node: node, preload: [db], phase: ground}
build:
  packages: [app, specs]
images:
  - {name: app, dockerfile: Dockerfile, reference: 'localhost/app:1', package: app, phase: build}
manifests:
  - {name: db, files: [db.yaml], phase: deploy}
  - {name: app, files: [app.yaml], needs: [db], phase: deploy}
specs: {package: specs, binary: all, needs: [app], phase: check}
steps:
  cluster: {expected_s: 14}
bench:
  estimates_s: {ground: 60}
  edit: {file: a.rs, find: 'x', replace: 'y {edit}', shown: {node_port: 30090, path: /m, text: 'v={edit}'}}
";

fn problems(text: &str) -> Vec<String> {
    match Suite::parse(Source::new("s.yaml", text)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_whole_suite_is_taken() {
    assert_eq!(problems(WHOLE), [""; 0]);
    for (from, to) in [
        ("package: app, phase", "packages: [app, specs], stage: compile, phase"),
        ("package: specs, binary: all", "program: [python3, specs/run.py]"),
        ("files: [db.yaml]", "kustomize: db"),
        ("files: [db.yaml]", "files: [db.yaml], kustomize: db"),
    ] {
        let text = WHOLE.replace(from, to);
        assert_ne!(text, WHOLE, "{from} is not in the suite");
        assert_eq!(problems(&text), [""; 0], "{to}");
    }
}

#[test]
fn each_mistake_is_told_with_line_and_nearest_name() {
    for (from, to, line, expected) in [
        ("dockerfile:", "dockerfil:", 7, "images[0]: unknown field `dockerfil`, expected one of"),
        ("dockerfile:", "dockerfil:", 7, "(did you mean `dockerfile`?)"),
        ("package: app,", "package: ap,", 7, "in `build.packages` of the name `ap` (did you mean `app`?)"),
        ("needs: [db]", "needs: [dv]", 10, "no group of manifests of the name `dv` (did you mean `db`?)"),
        ("needs: [app]", "needs: [zebra]", 11, "no group of manifests of the name `zebra` (there are: db, app)"),
        ("phase: build}", "phase: buidl}", 7, "no phase of the name `buidl` (did you mean `build`?)"),
        ("phase: build}", "phase: deploy}", 2, "nothing belongs to phase `build`"),
        (
            "{name: db,",
            "{name: app,",
            10,
            "group of manifests `app` stands here a second time (the first is in line 9)",
        ),
        ("[app.yaml]", "[db.yaml]", 10, "manifest `db.yaml` stands here a second time"),
        ("[db.yaml]", "[../db.yaml]", 9, "`../db.yaml` does not stay within the workspace"),
        ("[db.yaml]", "[]", 9, "group `db` has no manifests (name `files`, or the folder of a kustomization"),
        ("files: [db.yaml]", "kustomise: db", 9, "(did you mean `kustomize`?)"),
        ("files: [db.yaml]", "kustomize: ../db", 9, "`../db` does not stay within the workspace"),
        ("files: [db.yaml]", "kustomize: app.yaml", 9, "manifest `app.yaml` stands here a second time"),
        ("[db.yaml], phase", "[db.yaml], needs: [app], phase", 10, "groups wait for each other: db → app → db"),
        ("needs: [db]", "needs: [app]", 10, "groups wait for each other: app → app"),
        ("expected_s: 14", "expected_s: -1", 13, "expected_s of `cluster` is -1"),
        ("'localhost/app:1'", "'front end'", 7, "no image can be called `front end`"),
        (
            "cluster: {name: c, config: kind.yaml, node: node, preload: [db], phase: ground}",
            "cluster: c",
            3,
            "expected a mapping",
        ),
        ("{name: c,", "{name: C_1,", 3, "`C_1` cannot be a name"),
        ("{name: c,", "{name: a-name-which-leaves-no-room-for-a-checkout,", 3, "name has 42 characters"),
        ("{ground: 60}", "{grund: 60}", 15, "no phase of the name `grund` (did you mean `ground`?)"),
        ("{ground: 60}", "{ground: 0}", 15, "the estimate of `ground` is 0"),
        ("'y {edit}'", "'y'", 16, "`y` has no `{edit}`"),
        ("'v={edit}'", "'v'", 16, "`v` has no `{edit}`"),
        ("file: a.rs", "file: /a.rs", 16, "does not stay within the workspace"),
        ("path: /m", "path: m", 16, "`m` does not begin with a slash (write `/m`)"),
        ("find: 'x'", "fnd: 'x'", 16, "(did you mean `find`?)"),
        ("package: app, phase", "packages: [app, ap], phase", 7, "of the name `ap` (did you mean `app`?)"),
        (
            "package: app, phase",
            "packages: [app, app], phase",
            7,
            "package of the image `app` stands here a second time",
        ),
        ("package: app, phase", "package: app, packages: [specs], phase", 7, "has `package` and `packages`"),
        ("package: app, phase", "packge: app, phase", 7, "(did you mean `package`?)"),
        (
            "package: app, phase",
            "stage: compile, phase",
            7,
            "no package whose binaries stand in for the stage `compile`",
        ),
        ("package: specs, binary: all", "package: spec, binary: all", 11, "(did you mean `specs`?)"),
        (
            "package: specs, binary: all",
            "package: specs",
            11,
            "no binary of the specs' package is named (write `package`",
        ),
        ("package: specs, binary: all", "binary: all", 11, "no package of the specs' binary is named"),
        ("package: specs, binary: all", "program: []", 11, "nothing runs the specs"),
        ("package: specs, binary: all", "program: ['']", 11, "nothing runs the specs"),
        ("binary: all", "binary: all, program: [run]", 11, "the specs have a `program` and a package's binary"),
        ("package: specs, binary: all", "programm: [run]", 11, "(did you mean `program`?)"),
        ("name: one", "name: one\nname: two", 1, "duplicate"),
        ("config: kind.yaml, ", "", 3, "missing field `config`"),
    ] {
        let text = WHOLE.replace(from, to);
        assert_ne!(text, WHOLE, "{from} is not in the suite");
        let found = problems(&text);
        let place = format!("s.yaml:{line}:");
        let fits = |problem: &String| problem.starts_with(&place) && problem.contains(expected);
        assert!(found.iter().any(fits), "{to}: line {line}: {expected}\n{found:#?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_lines() {
    let text = WHOLE.replace("needs: [db]", "needs: [dv]").replace("{name: c,", "{name: C,");
    let lines: Vec<String> = problems(&text);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("s.yaml:3:") && lines[1].starts_with("s.yaml:10:"), "{lines:#?}");
}

#[test]
fn a_missing_suite_is_told_with_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(folder.path()).unwrap();
    std::fs::create_dir_all(root.join(SUITES)).unwrap();
    std::fs::write(root.join(SUITES).join("one.yaml"), WHOLE).unwrap();
    assert_eq!(Suite::load(root, "one").unwrap().name, "one");
    let error = Suite::load(root, "on").unwrap_err().to_string();
    assert!(error.contains("did you mean `one`?"), "{error}");
    std::fs::write(root.join(SUITES).join("two.yaml"), WHOLE).unwrap();
    let error = Suite::load(root, "two").unwrap_err().to_string();
    assert!(error.starts_with("manifests/suites/two.yaml:1:7: the suite calls itself `one`"), "{error}");
}
