//! What a Dockerfile copies, adds and mounts, and what is there for it.

use super::{Project, assert_found, image_suite};

/// Dockerfile, further files, what is found.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

fn run(cases: &[Case]) {
    for (dockerfile, files, expected) in cases {
        let project = Project::new(files);
        project.write("Dockerfile", dockerfile);
        project.write("manifests/suites/s.yaml", &image_suite(""));
        let what = format!("{dockerfile}\n{files:?}");
        assert_found(&what, &project.findings(), expected);
    }
}

#[test]
fn sources_are_looked_for_in_the_context_alone() {
    run(&[
        ("FROM a\nCOPY conf /c\n", &[("conf/a", "")], &[]),
        ("FROM a\nCOPY cnf /c\n", &[("conf/a", "")], &["Dockerfile:2:1: (did you mean `conf`?)"]),
        (
            "FROM a\nCOPY conf/b /c\n",
            &[("conf/a", "")],
            &["Dockerfile:2:1: COPY conf/b: it is not in the build context"],
        ),
        (
            "FROM a\nADD deep/other /c\n",
            &[("deep/a", "")],
            &["Dockerfile:2:1: ADD deep/other: it is not in the build context (deep/ has a)"],
        ),
        // Nothing lies above the context, and a slash in front is its root.
        ("FROM a\nCOPY ../../conf /c\nCOPY .. /d\n", &[("conf/a", "")], &[]),
        ("FROM a\nCOPY /conf /c\nCOPY / /d\n", &[("conf/a", "")], &[]),
        ("FROM a\nCOPY ../tmp /c\n", &[], &["Dockerfile:2:1: COPY ../tmp: it is not in the build context"]),
        ("FROM a\nCOPY /etc/hostname /c\n", &[], &["Dockerfile:2:1: it is not in the build context"]),
    ]);
}

#[test]
fn patterns_fit_in_every_part_of_a_path() {
    run(&[
        ("FROM a\nCOPY parts/*/list /c/\n", &[("parts/x/list", "")], &[]),
        ("FROM a\nCOPY [ab].txt m?n.txt /c/\n", &[("a.txt", ""), ("man.txt", "")], &[]),
        ("FROM a\nCOPY [^a].txt /c/\n", &[("a.txt", "")], &["Dockerfile:2:1: nothing in the build context matches it"]),
        ("FROM a\nCOPY parts/*/lst /c/\n", &[("parts/x/list", "")], &["Dockerfile:2:1: matches it (parts/ has x)"]),
        ("FROM a\nCOPY [ /c/\n", &[], &["Dockerfile:2:1: nothing"]),
    ]);
}

#[test]
fn ignore_files_are_read_as_the_engine_does() {
    const OUT: &str = "Dockerfile:2:1: .dockerignore keeps it out of the build context";
    run(&[
        ("FROM a\nCOPY cabin /c\n", &[("cabin/x", ""), (".dockerignore", "**/bin\n")], &[]),
        ("FROM a\nCOPY netdist/x /c\n", &[("netdist/x", ""), (".dockerignore", "**/dist\n")], &[]),
        ("FROM a\nCOPY conf /c\n", &[("conf/x", ""), (".dockerignore", "./conf/\n")], &[OUT]),
        ("FROM a\nCOPY conf/x /c\n", &[("conf/x", ""), (".dockerignore", "/conf\n")], &[OUT]),
        ("FROM a\nCOPY conf /c\n", &[("conf/x.md", ""), (".dockerignore", "*\n!**/*.md\n")], &[]),
        ("FROM a\nCOPY conf /c\n", &[("conf/x", ""), (".dockerignore", "*\n!conf/x\n")], &[]),
        (
            "FROM a\nCOPY conf/*.yaml /c/\n",
            &[("conf/x.yaml", ""), (".dockerignore", "**/*.yaml\n")],
            &["Dockerfile:2:1: .dockerignore keeps all that it matches out of the build context"],
        ),
        ("FROM a\nCOPY conf/* /c/\n", &[("conf/x.yaml", ""), ("conf/y", ""), (".dockerignore", "**/*.yaml\n")], &[]),
        // The Dockerfile's own goes before the folder's.
        ("FROM a\nCOPY run /c\n", &[("run", ""), (".dockerignore", "*\n"), ("Dockerfile.dockerignore", "x\n")], &[]),
        (
            "FROM a\nCOPY run /c\n",
            &[("run", ""), ("Dockerfile.dockerignore", "run\n")],
            &["Dockerfile:2:1: Dockerfile.dockerignore keeps it out of the build context (add `!run` to it)"],
        ),
    ]);
}

#[test]
fn names_after_from_are_stages_or_images() {
    run(&[
        ("FROM a\nCOPY --from=busybox /x /x\n", &[], &[]),
        (
            "FROM a AS builder\nFROM a\nCOPY --from=biulder /x /x\n",
            &[],
            &["Dockerfile:3:1: COPY --from=biulder: no stage has that name (did you mean `builder`?)"],
        ),
        (
            "FROM a AS builder\nFROM a\nRUN --mount=from=bilder,target=/x true\n",
            &[],
            &["Dockerfile:3:1: no stage has that name"],
        ),
        ("FROM a\nFROM a\nCOPY --from=0 /x /x\nCOPY --from=r.example/t:1 /x /y\n", &[], &[]),
        ("FROM a AS pick-x\nFROM a\nARG KIND\nCOPY --from=pick-${KIND} /x /x\n", &[], &[]),
        (
            "ARG KIND=x\nFROM a AS pick-x\nFROM pick-$KIND\nCOPY --from=pick-y /x /x\n",
            &[],
            &["Dockerfile:4:1: did you mean `pick-x`?"],
        ),
    ]);
}

#[test]
fn heredocs_quotes_and_old_forms() {
    run(&[
        (
            "FROM a\nRUN python3 <<EOF\nfrom x import y\ncopy = y\nadd = copy\nEOF\nCOPY <<-E1 <<E2 /c/\n\tcopy this\n\tE1\nADD that\nE2\n",
            &[],
            &[],
        ),
        ("FROM a\nRUN <<EOF\nx\nEOF\nCOPY no /c\n", &[], &["Dockerfile:5:1: COPY no"]),
        ("FROM a\nCOPY \"conf/a\" '/c'\nCOPY [\"b c\", \"/d\"]\n", &[("conf/a", ""), ("b c", "")], &[]),
        ("FROM a\nCOPY \"conf/b\" /c\n", &[("conf/a", "")], &["Dockerfile:2:1: COPY conf/b"]),
        ("FROM a\nENV DIR conf\nCOPY $DIR/a /c\nCOPY $DIR/b /c\n", &[("conf/a", "")], &["Dockerfile:4:1: COPY conf/b"]),
        ("FROM a\nARG DIR\nCOPY ${DIR:-conf}/a /c\n", &[("conf/a", "")], &[]),
        ("FROM a\nARG DIR\nCOPY ${DIR:-conf}/b /c\n", &[("conf/a", "")], &["Dockerfile:3:1: COPY conf/b"]),
        ("\u{feff}FROM a\nCOPY no /c\n", &[], &["Dockerfile:2:1: COPY no"]),
        ("# escape=`\nFROM a\nCOPY conf/a `\n  /c\nCOPY no /c\n", &[("conf/a", "")], &["Dockerfile:5:1: COPY no"]),
        ("FROM a\nONBUILD COPY no /c\n", &[], &[]),
        ("FROM a AS x\nONBUILD COPY no /c\nFROM x\n", &[], &["Dockerfile:2:1: COPY no"]),
    ]);
}

#[test]
fn variables_end_with_their_stage() {
    run(&[
        (
            "FROM a AS x\nENV D=one\nCOPY $D/a /a\nFROM a\nARG D\nCOPY $D/b /b\nCOPY --from=x /a /a\n",
            &[("one/a", "")],
            &[],
        ),
        (
            "FROM a AS x\nARG D=one\nCOPY $D/a /a\nFROM a\nARG D=two\nCOPY $D/b /b\nCOPY --from=x /a /a\n",
            &[("one/a", ""), ("two/b", "")],
            &[],
        ),
        ("FROM a AS x\nARG D=one\nFROM x\nCOPY $D/b /b\n", &[("one/a", "")], &["Dockerfile:4:1: COPY one/b"]),
    ]);
}

#[test]
fn what_add_fetches_is_no_file() {
    run(&[
        (
            "FROM a\nADD git@git.example:team/tool.git /x\nADD https://x.example/y /y\nADD user@host.example:z /z\n",
            &[],
            &[],
        ),
        ("FROM a\nCOPY https://x.example/y /y\n", &[], &["Dockerfile:2:1: only ADD fetches addresses (write ADD)"]),
        ("FROM a\nADD tool@1 /x\n", &[], &["Dockerfile:2:1: ADD tool@1"]),
    ]);
}

#[test]
fn mounts_have_sources_too() {
    run(&[
        (
            "FROM a\nRUN --mount=type=bind,source=set.tml,target=/s cat /s\n",
            &[("set.toml", "")],
            &["Dockerfile:2:1: RUN --mount set.tml: it is not in the build context (did you mean `set.toml`?)"],
        ),
        (
            "FROM a\nRUN --mount=src=set.toml,dst=/s --mount=type=cache,target=/c --mount=type=secret,id=x cat /s\n",
            &[("set.toml", "")],
            &[],
        ),
        ("FROM a\nRUN --mount=type=bind,target=. --mount=type=bind,from=tools,source=/x,target=/y make\n", &[], &[]),
    ]);
}

#[test]
fn a_copy_has_sources_and_a_place() {
    run(&[
        ("FROM a\nCOPY x\n", &[("x", "")], &["Dockerfile:2:1: COPY needs what is copied and where to"]),
        (
            "FROM a\nCOPY x y /z\n",
            &[("x", ""), ("y", "")],
            &["Dockerfile:2:1: no folder without a slash at its end (write `/z/`)"],
        ),
        ("FROM a\nWORKDIR /w\nCOPY x y .\nCOPY x y ./\n", &[("x", ""), ("y", "")], &[]),
    ]);
}

#[test]
fn the_stage_that_is_built_is_the_one_that_is_looked_at() {
    let dockerfile =
        "ARG BASE\nFROM ${BASE} AS small\nCOPY run /run\nENTRYPOINT [\"/run\"]\nFROM small AS debug\nCOPY no /no\n";
    for (keys, expected) in [
        ("", &["Dockerfile:6:1: COPY no"][..]),
        (", target: small", &[]),
        (", target: small, args: {BASE: 'b.example/base:1'}", &[]),
        (", target: smal", &["manifests/suites/s.yaml:5: Dockerfile has no stage `smal` (did you mean `small`?)"]),
        (", targt: small", &["manifests/suites/s.yaml:5: (did you mean `target`?)"]),
    ] {
        let project = Project::new(&[("Dockerfile", dockerfile), ("run", "")]);
        project.write("manifests/suites/s.yaml", &image_suite(keys));
        assert_found(keys, &project.findings(), expected);
    }
}
