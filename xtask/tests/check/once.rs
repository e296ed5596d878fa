//! A mistake is told once, where it is, and not again by what follows from it; what `--fix` does about it mends it.

use std::collections::BTreeMap;

use super::planted::{SHOP, found, shop};
use super::{Project, assert_found, image_suite};

/// A mistake in the project of one of everything: the file, the text that is there once, what it becomes; the begin of
/// all that is found, a part of what it says, and whether `--fix` makes of it what was there.
type Planted = (&'static str, &'static str, &'static str, &'static str, &'static str, bool);

const MISTAKES: &[Planted] = &[
    // The suite.
    (
        "manifests/suites/s.yaml",
        "routes: [/healthz, /readyz]",
        "routes: [healthz, /readyz]",
        "route manifests/suites/s.yaml:13:",
        "begins with no slash (write /healthz)",
        true,
    ),
    (
        "manifests/suites/s.yaml",
        "verbs: [get], resource: deployments.apps",
        "verbs: [gte], resource: deployments.apps",
        "rights manifests/suites/s.yaml:16:",
        "no API has the verb `gte` (did you mean `get`?)",
        true,
    ),
    (
        "manifests/suites/s.yaml",
        "resource: leases.coordination.k8s.io",
        "resource: lease.coordination.k8s.io",
        "rights manifests/suites/s.yaml:17:",
        "no API has the resource `lease.coordination.k8s.io` (did you mean `leases.coordination.k8s.io`?)",
        true,
    ),
    // Roles.
    (
        "manifests/shop.yaml",
        "apiGroups: [apps]",
        "apiGroups: [app]",
        "rights manifests/shop.yaml:10:",
        "there is no API group `app` (did you mean `apps`?)",
        true,
    ),
    (
        "manifests/shop.yaml",
        "verbs: [get, list]",
        "verbs: [get, lst]",
        "rights manifests/shop.yaml:9:",
        "no API has the verb `lst`",
        true,
    ),
    (
        "manifests/shop.yaml",
        "resources: [leases]",
        "resources: [lease]",
        "rights manifests/shop.yaml:21:",
        "did you mean `leases`?",
        true,
    ),
    (
        "manifests/shop.yaml",
        "kind: Role, name: shop-leases}",
        "kind: Role, name: shop-lease}",
        "rights manifests/shop.yaml:26:",
        "no manifest makes the Role `shop-lease`",
        true,
    ),
    (
        "manifests/shop.yaml",
        "subjects: [{kind: ServiceAccount, name: shop}]",
        "subjects: [{kind: ServiceAccount, name: shops}]",
        "rights manifests/shop.yaml:27:",
        "no manifest makes the ServiceAccount `shops`",
        true,
    ),
    (
        "manifests/shop.yaml",
        "serviceAccountName: shop",
        "serviceAccountName: shops",
        "not-made manifests/shop.yaml:66:",
        "needs the ServiceAccount `shops`",
        false,
    ),
    // Which of two is wrong is not known: nothing else is to follow the one that is.
    (
        "manifests/ground.yaml",
        "plural: gears",
        "plural: gear",
        "schema manifests/ground.yaml:7:",
        "is called after its plural and its group (call it `gear.shop.example`, or write `plural: gears`)",
        false,
    ),
    (
        "manifests/shop.yaml",
        "metadata: {labels: {app: shop, tier: front}}",
        "metadata: {labels: {app: shops, tier: front}}",
        "selector manifests/shop.yaml:62:",
        "its own are not such (they have app=shops)",
        false,
    ),
    // What cannot be read may use anything.
    (
        "manifests/shop.yaml",
        "imagePullPolicy: Never\n",
        "imagePullPolicy: Never\n          imagePullPolicy: Never\n",
        "manifest manifests/shop.yaml:",
        "duplicate entry with key \"imagePullPolicy\"",
        false,
    ),
    // Dockerfiles that no builder reads.
    (
        "Dockerfile",
        "COPY run",
        "CPOY run",
        "dockerfile Dockerfile:2:",
        "no instruction `CPOY` (did you mean `COPY`?)",
        true,
    ),
    (
        "Dockerfile",
        "FROM base.example/rust:1",
        "FORM base.example/rust:1",
        "dockerfile Dockerfile:1:",
        "did you mean `FROM`?",
        true,
    ),
    (
        "Dockerfile",
        "COPY run /app/run\n",
        "COPY run /app/run\nRUN a\n    && b\n",
        "dockerfile Dockerfile:4:",
        "no instruction `&&` (end the line before it with `\\`, if it goes on here)",
        false,
    ),
    (
        "Dockerfile",
        "COPY run",
        "COPY --form=base.example/run run",
        "dockerfile Dockerfile:2:",
        "COPY has no flag `--form` (did you mean `--from`?)",
        false,
    ),
    (
        "Dockerfile",
        "FROM base.example/rust:1",
        "FROM base.example/rust:1 SA build",
        "dockerfile Dockerfile:1:",
        "FROM takes an image, and a name behind AS",
        false,
    ),
    (
        "Dockerfile",
        "[\"/app/run\"]",
        "['/app/run']",
        "dockerfile Dockerfile:4:",
        "is no list, and is given to a shell as it stands (write [\"/app/run\"])",
        true,
    ),
    (
        "Dockerfile",
        "COPY run /app/run\n",
        "COPY run /app/run\nEXPOSE 8080 80800/tcp\n",
        "dockerfile Dockerfile:3:",
        "80800 is no port",
        false,
    ),
    ("Dockerfile", "COPY run", "COPY --chmod=0955 run", "dockerfile Dockerfile:2:", "0955 is no mode", false),
    (
        "Dockerfile",
        "COPY run /app/run\n",
        "COPY run /app/run\nRUN --mount=type=cach,target=/c true\n",
        "dockerfile Dockerfile:3:",
        "no mount of the type `cach` (did you mean `cache`?)",
        false,
    ),
];

#[test]
fn a_mistake_is_told_once_and_mended_where_it_is() {
    let project = shop();
    let texts: BTreeMap<&str, &str> = SHOP.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, from, to, begin, message, is_mended) in MISTAKES {
        let text = texts[file];
        assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
        let mistaken = text.replacen(from, to, 1);
        project.write(file, &mistaken);
        let told = found(&project);
        if !(told.len() == 1 && told[0].starts_with(begin) && told[0].contains(message)) {
            wrong.push(format!("{to:?}: expected {begin} {message}\n{told:#?}"));
        }
        mend(&project);
        for (other, before) in SHOP {
            let after = std::fs::read_to_string(project.root.join(other)).unwrap();
            let expected: &str = if other == file && !is_mended { mistaken.as_str() } else { before };
            if after != expected {
                wrong.push(format!("{to:?}: --fix made of {other}\n{after}"));
            }
            project.write(other, before);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `--fix` does.
fn mend(project: &Project) {
    if let Ok(suite) = xtask::suite::Suite::load(&project.root, "s") {
        let findings = xtask::check::findings(&project.root, &suite).unwrap();
        xtask::check::fix::fix(&project.root, &findings).unwrap();
    }
}

#[test]
fn a_stage_by_a_wrong_name_is_told_and_not_what_it_lacks() {
    let member = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    for (dockerfile, expected) in [
        (
            "FROM r AS dependencies\nCOPY . .\nFROM dependencys AS build\nRUN cargo build\nFROM b\nCOPY --from=build /out/shop /shop\n",
            "Dockerfile:3:1: FROM dependencys: no stage before it has that name (did you mean `dependencies`?)",
        ),
        (
            "FROM r AS build\nCOPY . .\nRUN cargo build\nFROM b\nCOPY --from=biuld /out/shop /shop\n",
            "Dockerfile:5:1: COPY --from=biuld: no stage has that name (did you mean `build`?)",
        ),
        (
            "FROM r AS build\nCOPY . .\nRUN cargo build --locked --package shpo\nFROM b\nCOPY --from=build /out/shop /shop\n",
            "Dockerfile:3:1: cargo is told to build `shpo`, and the workspace has no package of that name (did you mean `shop`?)",
        ),
        (
            "FROM r AS build\nCOPY . .\nRUN cargo build --bin=shpo\nFROM b\nCOPY --from=build /out/shop /shop\n",
            "Dockerfile:3:1: cargo is told to build `shpo`, and no package has a binary of that name (did you mean `shop`?)",
        ),
        // An image may have a name that is nearly one.
        (
            "FROM r AS nodes\nFROM node AS build\nCOPY . .\nCOPY --from=nodes /a /a\nRUN cargo build\nFROM b\nCOPY --from=build /out/shop /shop\n",
            "",
        ),
    ] {
        let project = Project::new(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"shop\"]\n"),
            ("Cargo.lock", "version = 4\n"),
            ("shop/Cargo.toml", member),
            ("shop/src/main.rs", "fn main() {}\n"),
            ("Dockerfile", dockerfile),
        ]);
        let suite = image_suite(", package: shop").replace("images:", "build: {packages: [shop]}\nimages:");
        project.write("manifests/suites/s.yaml", &suite);
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_found(dockerfile, &project.findings(), expected);
    }
}

#[test]
fn the_program_of_the_specs_and_its_files_are_there() {
    for (program, expected) in [
        ("sh, specs/run.sh, --verbose, https://x.example/a, specs/other.sh", &[][..]),
        (
            "specs/run.sh",
            &["manifests/suites/s.yaml:4: `specs/run.sh`: the file is not executable (chmod +x specs/run.sh)"],
        ),
        ("./specs/run", &["manifests/suites/s.yaml:4: `./specs/run`: cannot read it"]),
        ("specs/rum.sh", &["manifests/suites/s.yaml:4: (did you mean `specs/run.sh`?)"]),
        ("./specs", &["manifests/suites/s.yaml:4: `./specs`: it is no file"]),
        ("no-such-program-of-anybody", &["manifests/suites/s.yaml:4: no program of that name is on PATH (install it"]),
        (
            "sh, specs/rum.sh",
            &[
                "manifests/suites/s.yaml:4: `specs/rum.sh`: there is no such file or folder (did you mean `specs/run.sh`?)",
            ],
        ),
    ] {
        let project = Project::new(&[("specs/run.sh", ""), ("Dockerfile", "FROM a\n")]);
        let specs = format!("specs: {{program: [{program}], phase: c}}\nimages:");
        project.write("manifests/suites/s.yaml", &image_suite("").replace("images:", &specs));
        assert_found(program, &project.findings(), expected);
    }
}

#[test]
fn the_suite_names_targets_and_stages_that_are_there() {
    let member = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[[bin]]\nname = \"specs\"\npath = \"specs.rs\"\n[[test]]\nname = \"other\"\n";
    let suite = image_suite("").replace(
        "images:",
        "build: {packages: [shop], dependencies: {dockerfile: Dockerfile, target: base}}\nspecs: {package: shop, binary: specs, phase: c}\nimages:",
    );
    for (from, to, expected) in [
        ("", "", &[][..]),
        (
            "packages: [shop]",
            "packages: [shop, shops]",
            &["manifests/suites/s.yaml:4: the workspace has no package `shops` (did you mean `shop`?)"],
        ),
        (
            "binary: specs",
            "binary: spec",
            &["manifests/suites/s.yaml:5: the package `shop` has no binary `spec` (did you mean `specs`?)"],
        ),
        (
            "binary: specs",
            "binary: other",
            &["manifests/suites/s.yaml:5: the package `shop` has no binary `other` (it has specs)"],
        ),
        (
            "target: base",
            "target: bas",
            &["manifests/suites/s.yaml:4: Dockerfile has no stage `bas` (did you mean `base`?)"],
        ),
    ] {
        let project = Project::new(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"shop\"]\n"),
            ("Cargo.lock", "version = 4\n"),
            ("shop/Cargo.toml", member),
            ("shop/src/lib.rs", ""),
            ("shop/specs.rs", ""),
            ("shop/tests/other.rs", ""),
            ("Dockerfile", "FROM a AS base\nFROM b\n"),
        ]);
        project.write("manifests/suites/s.yaml", &suite.replacen(from, to, 1));
        assert_found(to, &project.findings(), expected);
    }
}

#[test]
fn what_a_scan_is_sure_of_in_roles_and_dockerfiles_is_told() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: a}\nrules:\n";
    let rule = |rule: &str| format!("{role}  - {rule}\n");
    for (path, text, expected) in [
        (
            "a.yaml",
            rule("{apiGroups: [''], resources: [configmap], verbs: [get]}"),
            "a.yaml:5: did you mean `configmaps`?",
        ),
        (
            "a.yaml",
            rule("{apiGroups: [''], resources: [configmaps], verbs: [wacth]}"),
            "a.yaml:5: did you mean `watch`?",
        ),
        (
            "a.yaml",
            rule("{apiGroups: [app], resources: [deployments], verbs: [get]}"),
            "a.yaml:5: did you mean `apps`?",
        ),
        // Other clusters may have them.
        ("a.yaml", rule("{apiGroups: [policy], resources: [podsecuritypolicies], verbs: [use]}"), ""),
        ("a.yaml", rule("{apiGroups: [shop.example], resources: [gear], verbs: [polish]}"), ""),
        ("Dockerfile", "FROM a\nUSRE 1000\n".to_owned(), "Dockerfile:2: did you mean `USER`?"),
        // Read by something else first.
        ("Dockerfile", "# syntax=acme/steps:1\nFROM a\nUSRE 1000\n".to_owned(), ""),
        ("Dockerfile", "FROM a\n{{ steps }}\nINCLUDE common\n".to_owned(), ""),
        // A part of another one.
        ("Dockerfile.install", "RUN true\n".to_owned(), ""),
        ("src/dockerfile.rs", "use a::User;\nfrom();\n".to_owned(), ""),
        ("Dockerfile.rs", "FROM a\nUSRE 1000\n".to_owned(), "Dockerfile.rs:2: did you mean `USER`?"),
    ] {
        let project = Project::bare(&[(path, text.as_str())]);
        let found = xtask::check::scan::scan(&project.root).unwrap();
        let found: Vec<String> = found.findings.iter().map(|one| one.problem.to_string()).collect();
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_found(&text, &found, expected);
    }
}
