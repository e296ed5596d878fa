//! Inputs that nobody means well: `check` ends, at once and without a crash.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use xtask::dockerfile::{Dockerfile, script};
use xtask::plan::object;
use xtask::suite::yaml::Source;

use super::{Project, assert_found, image_suite, manifest_suite};

#[test]
fn any_dockerfile_is_taken() {
    let huge = format!("FROM a\nENV A={}\nRUN {}\n", "/a/b:".repeat(20_000), "/c/d ".repeat(20_000));
    let texts: [&[u8]; 9] = [
        b"",
        b"\xef\xbb\xbf",
        b"# nothing\n\n",
        b"/",
        b"FROM a\nCOPY \xff\xfe /x\n",
        b"FROM",
        b"FROM a\nENTRYPOINT [\"/\"]\nCMD //\nENV A=/ B=/. C=/..\n",
        b"FROM a AS a\nFROM a AS a\nCOPY --from=a / /\nENTRYPOINT [\"/x/y\"]\n",
        huge.as_bytes(),
    ];
    for text in texts {
        let project = Project::new(&[]);
        std::fs::write(project.root.join("Dockerfile"), text).unwrap();
        project.write("manifests/suites/s.yaml", &image_suite(""));
        let found = project.findings();
        assert!(found.len() < 3, "{found:#?}");
    }
}

#[test]
fn any_manifest_is_taken() {
    let deep = format!("a: {}", "[".repeat(5000));
    for (text, expected) in [
        (&b""[..], "hold no object"),
        (b"\xff\xfe", "cannot read it"),
        (b"---\n---\n", "hold no object"),
        (b"[]", "not a Kubernetes object"),
        (b"1", "not a Kubernetes object"),
        (b"a: &a [*a]", ""),
        (b"<<: 1\nkind: Pod", ""),
        (b"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [1, {image: [x]}, {command: ['/']}], volumes: 3}}", ""),
        (deep.as_bytes(), "recursion limit"),
    ] {
        let project = Project::new(&[("Dockerfile", "FROM a\n")]);
        std::fs::write(project.root.join("m.yaml"), text).unwrap();
        project.write("manifests/suites/s.yaml", &manifest_suite(&["m"]));
        let found = project.findings().join("\n");
        assert!(found.contains(expected), "{}: {found}", String::from_utf8_lossy(text));
    }
}

#[test]
fn links_that_go_round_are_not_followed_for_ever() {
    let project = Project::new(&[
        ("tree/a.yaml", ""),
        (
            "Dockerfile",
            "FROM a\nCOPY tree/ /app/tree/\nENV A=/app/tree/x/y/x/y/b.yaml\nCOPY tree/x/y/x/a.yaml loop /c/\n",
        ),
    ]);
    for (to, at) in [(".", "tree/x"), (".", "tree/y"), ("loop", "loop")] {
        symlink(to, project.root.join(at)).unwrap();
    }
    project.write("manifests/suites/s.yaml", &image_suite(""));
    let begin = Instant::now();
    let expected = [
        "Dockerfile:4:1: COPY loop: it is not in the build context",
        "Dockerfile:3:1: ENV names /app/tree/x/y/x/y/b.yaml",
    ];
    assert_found("", &project.findings(), &expected);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_crashes_the_readers(parts in prop::collection::vec(prop::sample::select(vec![
        "a", "kind", "List", "items", ": ", ":", "- ", "\n", "\n  ", "---\n", "...\n", "{", "}", "[", "]", "&a ", "*a", "<<: ", "!t ", "|\n ",
        "\"", "'", "%", "#", ",", "?", "\t", "\u{feff}", "ü", "FROM ", "COPY ", "RUN ", "ENV ", "<<E", "E\n", "$", "${", "}", ":-", "\\", "\\\n",
        "--from=", "--mount=", "AS ", "/", "..", "*", "**", "cargo build ", "&&", ">", "ONBUILD ", "WORKDIR ", "ARG ", "=",
    ]), 0..25)) {
        let text = parts.concat();
        let source = Source::new("f", text.as_str());
        if let Err(problem) = object::parse(&source) {
            prop_assert!(problem.line <= text.lines().count() + 1, "{problem}");
        }
        for document in 0..3 {
            source.problem_in(document, &[], "");
        }
        for run in Dockerfile::parse(&text).stages.iter().flat_map(|stage| &stage.instructions) {
            let _ = (run.copies(), run.mounts(), script::builds(run), script::Effects::of(run));
        }
    }
}
