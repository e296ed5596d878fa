//! What cargo needs in the build of an image.

use super::{Project, assert_found, image_suite};

const MANIFEST: &str = "[workspace]\nresolver = \"2\"\nmembers = [\"shop\", \"base\", \"other\"]\n";
const SHOP: &str = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nbase = { path = \"../base\" }\n";

fn member(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
}

/// The binary `shop` is built with `base`; `other` is a member that it does not need.
fn workspace() -> Project {
    let project = Project::new(&[
        ("Cargo.toml", MANIFEST),
        ("Cargo.lock", "version = 4\n"),
        ("shop/Cargo.toml", SHOP),
        ("shop/src/main.rs", "fn main() {}\n"),
        ("base/src/lib.rs", ""),
        ("other/src/main.rs", "fn main() {}\n"),
    ]);
    project.write("base/Cargo.toml", &member("base"));
    project.write("other/Cargo.toml", &member("other"));
    project
}

const SUITE: &str = ", package: shop";

fn suite(keys: &str) -> String {
    image_suite(keys).replace("images:", "build: {packages: [shop]}\nimages:")
}

fn dockerfile(build_stage: &str) -> String {
    format!("{build_stage}\nFROM b\nCOPY --from=build /out/shop /bin/shop\nENTRYPOINT [\"/bin/shop\"]\n")
}

#[test]
fn all_that_cargo_reads_is_where_it_looks() {
    const WHOLE: &str = "FROM r AS build\nWORKDIR /src\nCOPY Cargo.toml ./\nCOPY shop shop\nCOPY base base\n";
    let other = "COPY other/Cargo.toml other/\nRUN mkdir -p other/src && touch other/src/lib.rs\n";
    let build = "RUN cargo build --package shop";
    for (stage, expected) in [
        ("FROM r AS build\nWORKDIR /src\nCOPY . .\nRUN cargo build --package shop".to_owned(), vec![]),
        ("FROM r AS build\nCOPY . .\nRUN cargo build -p shop".to_owned(), vec![]),
        ("FROM r AS build\nCOPY . /w\nRUN cd /w && cargo build".to_owned(), vec![]),
        ("FROM r AS build\nCOPY .. .\nRUN cargo build".to_owned(), vec![]),
        (format!("{WHOLE}{other}{build}"), vec![]),
        (format!("{WHOLE}{build}"), vec!["Dockerfile:6:1: reads the manifests of all members of the workspace here, and no COPY before it brings other/Cargo.toml (add `COPY other/Cargo.toml other/`)"]),
        (format!("{WHOLE}RUN sed -i s/other// Cargo.toml\n{build}"), vec![]),
        (format!("{WHOLE}RUN sed -i s/other// */Cargo.toml\n{build}"), vec!["Dockerfile:7:1: brings other/Cargo.toml"]),
        (format!("{WHOLE}{other}{build}").replace("COPY base base\n", ""), vec!["Dockerfile:7:1: shop is compiled here with its path dependency base, and no COPY before it brings base/ (add `COPY base/ base/`)"]),
        (format!("{WHOLE}{other}{build}").replace("COPY base base", "COPY base shop/base"), vec!["Dockerfile:8:1: base/ lies elsewhere: /src/shop/base/src/lib.rs, and cargo looks at /src/base/src/lib.rs"]),
        (format!("{WHOLE}{other}{build}").replace("COPY base base", "COPY base/Cargo.toml base/"), vec!["Dockerfile:8:1: path dependency base"]),
        (format!("{WHOLE}{other}{build}\nCOPY base base").replacen("COPY base base\n", "", 1), vec!["Dockerfile:7:1: path dependency base"]),
        (format!("{WHOLE}{other}{build}").replace("COPY Cargo.toml ./\n", ""), vec!["Dockerfile:7:1: cargo is called here, and no COPY before it brings Cargo.toml (add `COPY Cargo.toml ./`)"]),
        (format!("{WHOLE}{other}{build} --locked"), vec!["Dockerfile:8:1: cargo is called with --locked here, and no COPY before it brings Cargo.lock"]),
        (format!("{WHOLE}COPY other other\n{build} --package other").replace("COPY shop shop\n", ""), vec!["Dockerfile:6:1: shop is compiled here, and no COPY before it brings shop/"]),
        // Stubs, dependencies, then the sources: the last call counts.
        (format!("{WHOLE}{other}{build}").replace("COPY base base\n", "COPY base/Cargo.toml base/\nRUN mkdir base/src && touch base/src/lib.rs && cargo build\nCOPY base/src base/src\n"), vec![]),
        // By another stage, by mounts, by triggers of the base.
        (format!("FROM r AS all\nWORKDIR /in\nCOPY . .\nFROM r AS build\nWORKDIR /src\nCOPY --from=all /in .\n{build}"), vec![]),
        ("FROM r AS build\nWORKDIR /src\nRUN --mount=type=bind,source=.,target=. cargo build".to_owned(), vec![]),
        ("FROM r AS build\nWORKDIR /src\nRUN --mount=type=bind,source=shop,target=shop --mount=type=bind,source=Cargo.toml,target=Cargo.toml cargo build -p shop".to_owned(),
            vec!["Dockerfile:3:1: path dependency base", "Dockerfile:3:1: brings other/Cargo.toml"]),
        ("FROM onbuild.example/rust:1 AS build".to_owned(), vec![]),
        ("FROM r AS build\nRUN git clone https://x.example/shop . && cargo build".to_owned(), vec![]),
        ("FROM r AS in-amd64\nCOPY . .\nFROM r AS in-arm64\nCOPY . .\nFROM in-$TARGETARCH AS build\nRUN cargo build".to_owned(), vec![]),
    ] {
        let project = workspace();
        project.write("Dockerfile", &dockerfile(&stage));
        project.write("manifests/suites/s.yaml", &suite(SUITE));
        assert_found(&stage, &project.findings(), &expected);
    }
}

#[test]
fn what_an_ignore_file_takes_away_does_not_come() {
    let stage = "FROM r AS build\nWORKDIR /src\nCOPY . .\nRUN cargo build --package shop";
    for (ignore, expected) in [
        ("*\n!Cargo.toml\n!*/Cargo.toml\n!shop\n!base/src\n", vec![]),
        (
            "*\n!Cargo.toml\n!*/Cargo.toml\n!shop\n",
            vec![
                "Dockerfile:4:1: path dependency base, and .dockerignore keeps base/ out of the build context (add `!base/` to it)",
            ],
        ),
        ("other\n", vec!["Dockerfile:4:1: .dockerignore keeps other/Cargo.toml out of the build context"]),
        (
            "**/src\n",
            vec!["Dockerfile:4:1: path dependency base", "Dockerfile:4:1: shop is compiled here, and .dockerignore"],
        ),
    ] {
        let project = workspace();
        project.write(".dockerignore", ignore);
        project.write("Dockerfile", &dockerfile(stage));
        project.write("manifests/suites/s.yaml", &suite(SUITE));
        assert_found(ignore, &project.findings(), &expected);
    }
}

#[test]
fn several_packages_of_one_image_are_followed() {
    let copies = "FROM r AS build\nWORKDIR /src\nCOPY Cargo.toml ./\nCOPY other other\nCOPY shop shop\nCOPY base/Cargo.toml base/\n";
    for (image, build, found) in [
        ("other", "cargo build --package other --package shop", true),
        ("other", "cargo build -p other", false),
        ("other", "cargo build -p other -p shop --bin other", false),
        ("other", "cargo build --bin other --bin shop", true),
        ("other", "cargo build --workspace", true),
    ] {
        let project = workspace();
        let file = dockerfile(&format!("{copies}RUN {build}"))
            .replace("/out/shop", "/out/other")
            .replace("/bin/shop", "/bin/other");
        project.write("Dockerfile", &file);
        project.write("manifests/suites/s.yaml", &suite(&format!(", package: {image}")).replace("[shop]", "[other]"));
        let findings = project.findings();
        assert_eq!(findings.iter().any(|finding| finding.contains("base")), found, "{build}\n{findings:#?}");
    }
}

#[test]
fn a_package_in_the_root_and_one_outside_of_the_workspace() {
    let root = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[[bin]]\nname = \"shop\"\npath = \"tool.rs\"\n";
    for (copies, expected) in [
        ("COPY Cargo.toml tool.rs ./\n", &[][..]),
        ("COPY Cargo.toml ./\n", &["Dockerfile:4:1: no COPY before it brings tool.rs (add `COPY tool.rs ./`)"]),
    ] {
        let project = Project::new(&[("Cargo.toml", root), ("tool.rs", "fn main() {}\n")]);
        project.write("Dockerfile", &dockerfile(&format!("FROM r AS build\nWORKDIR /src\n{copies}RUN cargo build")));
        project.write("manifests/suites/s.yaml", &suite(SUITE));
        assert_found(copies, &project.findings(), expected);
    }
    for (copies, expected) in [
        ("COPY shop shop\nCOPY base base\n", &[][..]),
        ("COPY shop shop\n", &["Dockerfile:5:1: path dependency base, and no COPY before it brings base/"]),
    ] {
        let project = workspace();
        project.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"2\"\nmembers = [\"shop\"]\nexclude = [\"base\", \"other\"]\n",
        );
        project.write(
            "Dockerfile",
            &dockerfile(&format!("FROM r AS build\nWORKDIR /src\nCOPY Cargo.toml ./\n{copies}RUN cargo build")),
        );
        project.write("manifests/suites/s.yaml", &suite(SUITE));
        assert_found(copies, &project.findings(), expected);
    }
}

#[test]
fn a_context_that_is_a_part_of_the_workspace() {
    let project = workspace();
    project.write(
        "other/Dockerfile",
        &dockerfile("FROM r AS build\nWORKDIR /src\nCOPY Cargo.toml ./\nCOPY src src\nRUN cargo build")
            .replace("/out/shop", "/out/other"),
    );
    let keys = ", package: other, context: other";
    project.write(
        "manifests/suites/s.yaml",
        &suite(keys).replace("[shop]", "[other]").replace("dockerfile: Dockerfile", "dockerfile: other/Dockerfile"),
    );
    assert_found("other alone", &project.findings(), &[]);
    project.write("shop/Dockerfile", &dockerfile("FROM r AS build\nWORKDIR /src\nCOPY . ./\nRUN cargo build"));
    let keys = ", package: shop, context: shop";
    project.write(
        "manifests/suites/s.yaml",
        &suite(keys).replace("dockerfile: Dockerfile", "dockerfile: shop/Dockerfile"),
    );
    assert_found("shop without base", &project.findings(), &["shop/Dockerfile:4:1: base is compiled here, and"]);
}

#[test]
fn the_stage_that_compiles_is_found_by_what_it_does() {
    let stages = "FROM r AS NAME\nCOPY . .\nRUN cargo build -p shop\nFROM b\nCOPY --from=NAME /out/shop /bin/shop\n";
    for (text, expected) in [
        (stages.replace("NAME", "builder"), &[][..]),
        (stages.replace("NAME", "build"), &[]),
        (
            stages.replace(" AS NAME", "").replace("NAME", "0"),
            &["Dockerfile:1:1: the stage that compiles shop has no name"],
        ),
        (
            stages.replace("NAME", "x").replace("cargo build", "make"),
            &["Dockerfile:1:1: no stage is named `build` or calls `cargo build`"],
        ),
        (
            stages.replace("NAME", "build").replace("/out/shop", "/src/target/release/shop"),
            &["Dockerfile:5:1: /src/target/release/shop is not there in a build on the host"],
        ),
        (stages.replace("NAME", "build").replace("/out/shop", "/out/"), &[]),
        (
            stages.replace("NAME", "build").replace("=build /out", "=0 /out"),
            &["Dockerfile:5:1: replaces stages by their names alone (write --from=build)"],
        ),
    ] {
        let project = workspace();
        project.write("Dockerfile", &text);
        project.write("manifests/suites/s.yaml", &suite(SUITE));
        assert_found(&text, &project.findings(), expected);
    }
}

#[test]
fn the_stage_that_a_build_on_the_host_replaces_is_named_in_the_suite() {
    let file = "FROM r AS tools\nFROM r AS compile\nCOPY . .\nRUN make\nFROM b AS web\nCOPY --from=compile /out/shop /bin/shop\n\
                FROM b\nCOPY --from=compile /bin/ls /bin/ls\n";
    for (keys, expected) in [
        ("stage: compile, target: web", &[][..]),
        (
            "stage: comple, target: web",
            &["manifests/suites/s.yaml:6: Dockerfile has no stage `comple` (did you mean `compile`?)"],
        ),
        ("stage: tools, target: web", &["manifests/suites/s.yaml:6: the image needs nothing of the stage `tools`"]),
        ("stage: web, target: web", &["manifests/suites/s.yaml:6: the image is the stage `web` itself"]),
        ("target: web", &["Dockerfile:1:1: or name it as the image's `stage`"]),
        ("stage: compile", &["Dockerfile:8:1: /bin/ls is not there in a build on the host"]),
    ] {
        let project = workspace();
        project.write("Dockerfile", file);
        project.write("manifests/suites/s.yaml", &suite(&format!(", package: shop, {keys}")));
        assert_found(keys, &project.findings(), expected);
    }
}

#[test]
fn an_image_has_the_binaries_of_several_packages() {
    let binaries = "[[bin]]\nname = \"till\"\npath = \"till.rs\"\n[[bin]]\nname = \"stock\"\npath = \"stock.rs\"\n";
    for (copied, expected) in [
        ("/out/shop /out/till /out/stock", &[][..]),
        ("/out/", &[]),
        ("/out/other", &["Dockerfile:4:1: where a folder with /out/shop, /out/stock, /out/till alone takes the place"]),
    ] {
        let project = workspace();
        project.write("other/Cargo.toml", &format!("{}{binaries}", member("other")));
        project.write("other/till.rs", "fn main() {}\n");
        project.write("other/stock.rs", "fn main() {}\n");
        std::fs::remove_file(project.root.join("other/src/main.rs")).unwrap();
        let file = format!(
            "FROM r AS build\nRUN git clone https://x.example/shop .\nFROM b\nCOPY --from=build {copied} /bin/\n"
        );
        project.write("Dockerfile", &file);
        let suite = suite(", packages: [shop, other]").replace("[shop]", "[shop, other]");
        project.write("manifests/suites/s.yaml", &suite);
        assert_found(copied, &project.findings(), expected);
    }
    let copies = "FROM r AS build\nWORKDIR /src\nCOPY Cargo.toml ./\nCOPY other other\nCOPY shop shop\nRUN cargo build -p other\n";
    let project = workspace();
    project.write("Dockerfile", &dockerfile(copies));
    project.write("manifests/suites/s.yaml", &suite(", packages: [other, shop]").replace("[shop]", "[shop, other]"));
    assert_found(
        copies,
        &project.findings(),
        &["Dockerfile:6:1: other, shop is compiled here with its path dependency base"],
    );
}

#[test]
fn names_of_packages_and_binaries() {
    let file = dockerfile("FROM r AS build\nCOPY . .\nRUN cargo build");
    for (package, expected) in [
        ("shpo", "manifests/suites/s.yaml:4: the workspace has no package `shpo` (did you mean `shop`?)"),
        ("base", "manifests/suites/s.yaml:6: the package `base` has no binary, and the image is to have its binaries"),
    ] {
        let project = workspace();
        project.write("Dockerfile", &file.replace("/out/shop", &format!("/out/{package}")));
        project.write(
            "manifests/suites/s.yaml",
            &suite(&format!(", package: {package}")).replace("[shop]", &format!("[{package}]")),
        );
        assert_found(package, &project.findings(), &[expected]);
    }
    let project = workspace();
    project.write("Cargo.toml", "[workspace\n");
    project.write("Dockerfile", "FROM a\n");
    project.write("manifests/suites/s.yaml", &image_suite(""));
    assert_found("a broken manifest", &project.findings(), &["Cargo.toml:1:11: cargo cannot read the workspace"]);
}
