//! The suite's own part: the cluster, and what is not there at all.

use super::{Project, assert_found, image_suite, manifest_suite};

#[test]
fn the_clusters_part_names_what_there_is() {
    let suite = image_suite("");
    for (from, to, expected) in [
        ("", "", &[][..]),
        (
            "kind.yaml",
            "kid.yaml",
            &[
                "manifests/suites/s.yaml:3:28: `kid.yaml`: cannot read it: No such file or directory (os error 2) (did you mean `kind.yaml`?)",
            ],
        ),
        (
            "node: node",
            "node: nod",
            &["manifests/suites/s.yaml:3: images/setup.yaml lists no image `nod` (did you mean `node`?)"],
        ),
        (
            "phase: c}",
            "preload: [nodee], phase: c}",
            &["manifests/suites/s.yaml:3: lists no image `nodee` (did you mean `node`?)"],
        ),
        ("config: kind.yaml", "config: bad.yaml", &["bad.yaml:2:1: did not find expected"]),
        (
            "dockerfile: Dockerfile",
            "dockerfile: Dockrfile",
            &[
                "manifests/suites/s.yaml:5: `Dockrfile`: cannot read it: No such file or directory (os error 2) (did you mean `Dockerfile`?)",
            ],
        ),
        (
            ", phase: b}",
            ", phase: b, context: nowhere}",
            &["manifests/suites/s.yaml:5: `nowhere`: there is no such folder"],
        ),
    ] {
        let project = Project::new(&[("Dockerfile", "FROM a\n"), ("bad.yaml", "a: [\n")]);
        project.write("manifests/suites/s.yaml", &suite.replacen(from, to, 1));
        assert_found(to, &project.findings(), expected);
    }
}

#[test]
fn a_project_without_rust_and_without_a_setup_is_one_too() {
    let project = Project::new(&[("Dockerfile", "FROM a\n")]);
    std::fs::remove_dir_all(project.root.join("images")).unwrap();
    project.write("manifests/suites/s.yaml", &image_suite(""));
    assert_found("", &project.findings(), &[]);
    assert_eq!(project.plan()["steps"].as_array().unwrap().len(), 6);
    project.write("images/setup.yaml", "pieces: 1\n");
    let found = project.findings();
    assert!(found[0].starts_with("images/setup.yaml: "), "{found:#?}");
}

#[test]
fn what_is_no_file_is_told_and_not_read() {
    let suite = manifest_suite(&["a"]);
    let project = Project::new(&[("manifests/suites/s.yaml", &suite)]);
    project.pipe("Dockerfile");
    project.pipe("a.yaml");
    project.pipe(".dockerignore");
    let found = project.findings();
    let told = |file: &str| found.iter().any(|one| one.contains(&format!("`{file}`: cannot read it: it is no file")));
    assert!(told("Dockerfile") && told("a.yaml"), "{found:#?}");
}
