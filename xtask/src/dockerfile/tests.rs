//! Whole files, taken apart.

use super::*;

const FILE: &str = r#"
ARG BUILDER=docker.io/library/rust:1
ARG BASE=docker.io/library/debian:12
FROM ${BUILDER} AS dependencies
FROM dependencies AS build
COPY --from=unused:1 a b
RUN one \
    # between
    && two
FROM --platform=linux/amd64 $BASE
COPY --from=build --chmod=0555 /out/a /a
ENTRYPOINT ["/a", "--flag"]
"#;

fn image(target: Option<&str>) -> Image {
    let text = "{name: a, dockerfile: d, reference: a, phase: p}";
    Image { target: target.map(str::to_owned), ..serde_yaml::from_str(text).unwrap() }
}

#[test]
fn a_build_in_the_container_needs_every_base_and_one_on_the_host_only_the_last() {
    let file = Dockerfile::parse(FILE);
    let all = ["docker.io/library/debian:12", "docker.io/library/rust:1", "unused:1"];
    let build = file.compiles(2, None);
    assert_eq!(build, Some(1));
    assert_eq!(file.needed(2, None), (vec![0, 1, 2], all.map(str::to_owned).to_vec()));
    assert_eq!(file.needed(2, build).1, ["docker.io/library/debian:12"]);
}

#[test]
fn the_stage_that_is_told_is_the_one_that_compiles() {
    let file = Dockerfile::parse(
        "FROM a AS deps\nRUN cargo build\nFROM deps AS Binaries\nFROM c AS build\nFROM d\nCOPY --from=binaries /out/a /a\n",
    );
    for (told, expected) in [
        // The one of the usual name is not needed.
        (None, Some(0)),
        (Some("binaries"), Some(1)),
        (Some("deps"), Some(0)),
        (Some("build"), None),
        (Some("nobody"), None),
    ] {
        assert_eq!(file.compiles(3, told), expected, "{told:?}");
    }
    assert_eq!(file.needed(3, Some(1)).1, ["d"]);
}

#[test]
fn what_a_build_on_the_host_replaces_are_the_bases_that_only_the_container_needs() {
    let dir = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(dir.path()).unwrap();
    std::fs::write(root.join("d"), FILE).unwrap();
    let compiled = Image { package: Some("a".to_owned()), ..image(None) };
    assert_eq!(replaced_bases(root, &compiled).unwrap(), ["docker.io/library/rust:1", "unused:1"]);
    assert_eq!(replaced_bases(root, &image(None)).unwrap(), [""; 0], "nothing of it is compiled");
}

#[test]
fn an_image_ends_up_on_the_layers_of_its_last_stages_base() {
    for (text, target, expected) in [
        (FILE, None, Some("docker.io/library/debian:12")),
        (FILE, Some("dependencies"), Some("docker.io/library/rust:1")),
        (FILE, Some("nobody"), None),
        ("FROM a:1 AS one\nFROM one AS two\nFROM two\n", None, Some("a:1")),
        ("FROM a:1 AS build\nFROM scratch\nCOPY --from=build /x /x\n", None, None),
        ("FROM a AS a\nFROM a AS a\nFROM a", None, Some("a")),
        ("FROM base-$TARGETOS\n", None, Some("base-linux")),
        ("ARG B\nFROM ${B:-c:1}\n", None, Some("c:1")),
        ("ARG B\nFROM $B\n", None, None),
        ("", None, None),
    ] {
        let file = Dockerfile::parse(text);
        let base = file.target(&image(target)).and_then(|target| file.base_image(target));
        assert_eq!(base, expected, "{text}");
    }
}

#[test]
fn instructions_keep_their_lines_flags_and_words() {
    let file = Dockerfile::parse(FILE);
    let [_, build, last] = &file.stages[..] else { panic!("{file:?}") };
    assert_eq!((build.instructions[1].line, build.instructions[1].words.len()), (7, 3));
    let (from, to) = last.instructions[0].copies().unwrap();
    assert_eq!((from, to), (vec![&Word::plain("/out/a")], &Word::plain("/a")));
    assert_eq!(last.instructions[0].flag("from"), Some(&Word::plain("build")));
    assert_eq!(last.instructions[1].words, ["/a", "--flag"].map(Word::plain));
    assert_eq!(
        (file.chain(1), file.stage("BUILD"), file.stage("0"), file.stage("9")),
        (vec![0, 1], Some(1), Some(0), None)
    );
}

#[test]
fn variables_hold_where_they_are_set() {
    for (text, args, expected) in [
        ("FROM a\nENV D conf\nCOPY $D/a /", &[][..], Some("conf/a")),
        ("FROM a\nENV D=conf E=\"$D x\"\nCOPY $D/a /", &[], Some("conf/a")),
        ("FROM a\nARG D=one\nENV D=two\nCOPY $D /", &[], Some("two")),
        ("FROM a\nARG D=one\nCOPY $D /", &[("D", "given")], Some("given")),
        ("ARG D=one\nFROM a\nCOPY $D /", &[], None),
        ("ARG D=one\nFROM a\nARG D\nCOPY $D /", &[], Some("one")),
        ("FROM a AS x\nENV D=one\nFROM b\nCOPY $D /", &[], None),
        ("FROM a AS x\nENV D=one\nFROM x\nCOPY $D /", &[], Some("one")),
        ("FROM a\nARG D\nCOPY ${D:-d}/a /", &[], Some("d/a")),
        ("FROM a\nARG D\nCOPY $D/a /", &[], None),
        ("FROM a\nCOPY ${D:-d}/a /", &[], None),
        ("FROM a\nCOPY \"q/a\" /", &[], Some("q/a")),
        ("FROM a\nCOPY [\"q r\", \"/\"]", &[], Some("q r")),
        ("FROM a\nARG TARGETOS\nCOPY $TARGETOS /", &[], Some("linux")),
        ("FROM a AS x\nONBUILD ENV D=one\nONBUILD COPY $D /\nFROM x", &[], Some("one")),
        ("FROM a\ncopy --chown=1 x /", &[], Some("x")),
    ] {
        let args: Vec<(String, String)> = args.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let file = Dockerfile::parse_with(text, &args);
        let copy = file.stages.last().unwrap().instructions.iter().find(|i| i.keyword == "COPY").unwrap();
        let word = copy.copies().unwrap().0[0].clone();
        assert_eq!(word.known.then_some(word.text.as_str()), expected, "{text}");
    }
}

#[test]
fn relative_paths_begin_at_the_working_folder() {
    for (text, expected) in [
        ("FROM a\nWORKDIR /x\nWORKDIR y/../z\nRUN 1", "/x/z"),
        ("FROM a AS b\nWORKDIR /x\nFROM b\nRUN 1", "/x"),
        ("FROM scratch\nRUN 1", "/"),
        ("FROM a\nRUN 1", WORKDIR_OF_BASE),
        ("FROM a\nWORKDIR ../../..\nRUN 1", "/"),
    ] {
        let file = Dockerfile::parse(text);
        let run = file.stages.last().unwrap().instructions.last().unwrap();
        assert_eq!(run.workdir, expected, "{text}");
    }
}

#[test]
fn mounts_are_read() {
    let file = Dockerfile::parse("FROM a\nRUN --mount=source=app,dst=/a --mount=type=cache,target=/c,from=b x");
    let mounts = file.stages[0].instructions[0].mounts();
    assert_eq!(
        (mounts[0].kind.as_str(), mounts[0].source.text.as_str(), mounts[0].target.text.as_str()),
        ("bind", "app", "/a")
    );
    assert_eq!((mounts[1].kind.as_str(), mounts[1].from.as_ref().unwrap().text.as_str()), ("cache", "b"));
}

#[test]
fn any_text_is_taken() {
    let huge =
        format!("FROM a\nRUN {}\nCOPY {} /\nENV A={}", "x ".repeat(100_000), "${a:-".repeat(50_000), "\"".repeat(9999));
    for text in [
        "",
        "\u{feff}",
        "/",
        "\\",
        "FROM",
        "FROM \\",
        "COPY",
        "COPY a",
        "FROM a\nCOPY",
        "FROM a\nCOPY /",
        "FROM a AS",
        "FROM a\nENV",
        "FROM a\nENV =",
        "FROM a\nARG =x",
        "FROM a\nWORKDIR",
        "FROM a\nRUN --mount",
        "FROM a\nRUN --",
        "FROM a\nCOPY --from= a b",
        "FROM a\nONBUILD",
        "FROM a\nONBUILD ONBUILD COPY a b\nFROM a",
        "FROM a\nCOPY [",
        "FROM a\nRUN <<",
        "FROM a\nRUN <<''",
        "FROM a\nCOPY $ ${ /",
        "# escape=`\nFROM a\nRUN `",
        "\u{0}\u{1}",
        "ÄÖ ü\nFROM ß\nCOPY ß ü",
        &huge,
    ] {
        let file = Dockerfile::parse(text);
        for run in file.stages.iter().flat_map(|stage| &stage.instructions) {
            script::Effects::of(run).on(Utf8Path::new("/a/b"));
            let _ = (run.copies(), run.mounts(), script::builds(run));
        }
        file.stages.len().checked_sub(1).map(|last| (file.needed(last, None), file.compiles(last, None)));
    }
}
