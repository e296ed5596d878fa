//! The engine's and kind's wrappers, against the real podman and against a fake one.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Cancel;
use e2e_support::engine::{Build, Engine, Flavor, Machine};
use e2e_support::kind::{CLUSTER_LABEL, Create, Kind};
use testbed::fakes::{Fake, Play};

/// A folder of fake programs.
fn fake() -> Result<(tempfile::TempDir, Fake)> {
    let dir = tempfile::tempdir()?;
    let fake = Fake::new(dir.path())?;
    Ok((dir, fake))
}

/// The same, and docker among them as an engine; what it was asked until here is forgotten.
fn docker() -> Result<(tempfile::TempDir, Fake, Engine)> {
    let (dir, fake) = fake()?;
    let engine = Engine::at(Flavor::Docker, &fake.program("docker"), &[])?;
    fake.forget_calls()?;
    Ok((dir, fake, engine))
}

#[test]
fn docker_is_asked_for_the_version_of_its_daemon() -> Result<()> {
    let (_dir, fake) = fake()?;
    let engine = Engine::at(Flavor::Docker, &fake.program("docker"), &[])?;
    assert_eq!((engine.version(), engine.flavor()), ("26.1.5", Flavor::Docker));
    assert_eq!(fake.calls_of("docker")?, ["info --format {{.ServerVersion}}"]);
    Ok(())
}

#[test]
fn a_daemon_that_is_down_and_an_old_engine_are_told_apart() -> Result<()> {
    let (_dir, fake) = fake()?;
    fake.on("docker", "info*", Play::fails(1, "Cannot connect to the Docker daemon"))?;
    let engine = || Engine::at(Flavor::Docker, &fake.program("docker"), &[]);
    let error = format!("{:#}", engine().expect_err("it is down"));
    assert!(error.contains("its daemon does not answer") && error.contains("Cannot connect"), "{error}");
    fake.on("docker", "info*", Play::says("20.10.24"))?;
    let error = format!("{:#}", engine().expect_err("it is old"));
    assert!(error.contains("20.10.24") && error.contains("23.0"), "{error}");
    Ok(())
}

#[test]
fn a_build_with_docker_hands_everything_on() -> Result<()> {
    let (_dir, fake, engine) = docker()?;
    let build = Build {
        dockerfile: "Dockerfile.one".into(),
        context: ".".into(),
        reference: "localhost/one:tag".into(),
        args: vec![("A".into(), "b".into())],
        inherited_args: vec!["HTTP_PROXY".into()],
        contexts: vec![("build".into(), "/stage".into())],
        secrets: vec![("ca".into(), "/ca.crt".into())],
        labels: vec![("k".into(), "v".into())],
        target: Some("last".into()),
        deadline: None,
    };
    engine.build(Utf8Path::new("/"), &build, &fake.dir().join("log"), &Cancel::new())?;
    assert_eq!(
        fake.calls_of("docker")?,
        ["build --load --progress plain --network host --file Dockerfile.one --tag localhost/one:tag \
         --build-arg A=b --build-arg HTTP_PROXY --build-context build=/stage --secret id=ca,src=/ca.crt --label k=v \
         --target last ."]
    );
    Ok(())
}

#[test]
fn a_folder_that_is_not_shared_with_the_engines_machine_is_told_apart() -> Result<()> {
    let (dir, fake, engine) = docker()?;
    let path = Utf8Path::from_path(dir.path()).context("the path is UTF-8")?;
    for (play, seen) in [
        (Play::says("seen"), Some(true)),
        (Play::says("unseen"), Some(false)),
        (Play::fails(125, format!("Error: statfs {path}: no such file or directory")), Some(false)),
        (Play::fails(125, format!("docker: Mounts denied: The path {path} is not shared from the host")), Some(false)),
        (Play::fails(125, "Error: short-name resolution enforced"), None),
    ] {
        fake.on("docker", "run *", play)?;
        assert_eq!(engine.sees(path, "base:1").ok(), seen, "{:?}", engine.sees(path, "base:1"));
    }
    Ok(())
}

#[test]
fn an_engines_machine_is_told_by_either() -> Result<()> {
    let (_dir, fake, engine) = docker()?;
    fake.on("docker", "info *", Play::says(r#"{"MemTotal": 2061893632}"#))?;
    assert_eq!(engine.machine()?, Machine { memory_mb: 2061, free_disk_mb: None });
    let said =
        r#"{"host": {"memTotal": 2061893632}, "store": {"graphRootAllocated": 90000000, "graphRootUsed": 60000000}}"#;
    fake.on("docker", "info *", Play::says(said))?;
    assert_eq!(engine.machine()?.free_disk_mb, Some(30));
    fake.on("docker", "info *", Play::says("{}"))?;
    let error = format!("{:#}", engine.machine().unwrap_err());
    assert!(error.contains("it tells no memory"), "{error}");
    Ok(())
}

#[test]
fn a_missing_image_is_no_error_but_a_strange_answer_is() -> Result<()> {
    let (_dir, fake) = fake()?;
    for flavor in [Flavor::Podman, Flavor::Docker] {
        let engine = Engine::at(flavor, &fake.program(flavor.program()), &[])?;
        assert_eq!(engine.image_id("localhost/gone")?, None);
        fake.on(flavor.program(), "image*", Play::fails(125, "Error: database is locked"))?;
        let error = format!("{:#}", engine.image_id("localhost/gone").expect_err("it does not answer"));
        assert!(error.contains("localhost/gone") && error.contains("database is locked"), "{error}");
    }
    Ok(())
}

#[test]
fn a_cluster_is_deleted_by_its_label_dead_nodes_included() -> Result<()> {
    let (_dir, fake, engine) = docker()?;
    fake.container("docker", "one-control-plane", "exited", &[(CLUSTER_LABEL, "one")])?;
    fake.container("docker", "two-control-plane", "exited", &[(CLUSTER_LABEL, "two")])?;
    Kind::new("no-such-kind", engine).delete("one", None)?;
    assert_eq!(fake.containers("docker"), ["two-control-plane"]);
    let last = fake.calls_of("docker")?.pop();
    assert_eq!(last.as_deref(), Some("rm --force --volumes one-control-plane"));
    Ok(())
}

#[test]
fn a_container_that_goes_while_all_are_listed_is_left_out() -> Result<()> {
    let (_dir, fake, engine) = docker()?;
    fake.container("docker", "one", "running", &[("a", "")])?;
    let names = || -> Result<Vec<String>> {
        Ok(engine.containers("a", None)?.into_iter().map(|container| container.name).collect())
    };
    // One that is there when they are listed, and is not when it is looked at.
    let goes = Play::script("say 4567").and_passes_on();
    fake.on("docker", "ps*", goes.clone().times(1))?;
    assert_eq!(names()?, ["one"]);

    fake.on("docker", "ps*", goes)?;
    let error = format!("{:#}", names().expect_err("one goes each time"));
    assert!(error.contains("label=a") && error.contains("5 times in a row"), "{error}");

    fake.on("docker", "container inspect*", Play::fails(1, "database is locked"))?;
    let error = format!("{:#}", names().expect_err("it does not answer"));
    assert!(error.contains("database is locked"), "{error}");
    Ok(())
}

#[test]
fn kind_gets_an_image_a_configuration_and_a_kubeconfig_of_ours() -> Result<()> {
    let (_dir, fake, engine) = docker()?;
    fake.on("kind", "*", Play::script("echo provider $KIND_EXPERIMENTAL_PROVIDER"))?;
    let create = Create {
        name: "one".into(),
        config: "/c.yaml".into(),
        node_image: "localhost/node:1".into(),
        kubeconfig: "/k".into(),
        deadline: Duration::from_secs(20),
    };
    let log = fake.dir().join("log");
    Kind::new(fake.program("kind"), engine).create(&create, &log, &Cancel::new())?;
    let wanted = "create cluster --retain --name one --config /c.yaml --image localhost/node:1 --kubeconfig /k";
    assert_eq!(fake.calls_of("kind")?, [wanted]);
    assert_eq!(std::fs::read_to_string(log)?, "provider docker\n");
    Ok(())
}

/// The real podman builds, lists and removes; what it has of others is not touched.
#[test]
fn podman_builds_an_image_and_tells_of_it() -> Result<()> {
    let engine = Engine::find(Some(Flavor::Podman), &[], &Cancel::new())?;
    let reference = format!("localhost/e2e-support-test:{}", std::process::id());
    assert_eq!(engine.image_id(&reference)?, None);
    build(&engine, &reference, "content", &[("e2e-support", "test")])?;
    let labels = engine.image_labels(&reference)?;
    let id = engine.image_id(&reference)?;
    engine.remove_images(&[reference], Duration::from_secs(60))?;
    assert!(id.is_some_and(|id| id.starts_with("sha256:")));
    assert!(labels.contains(&("e2e-support".into(), "test".into())), "{labels:?}");
    assert_eq!(engine.container("e2e-support-no-such-container")?, None);
    assert_eq!(engine.containers("e2e-support-no-such-label", None)?, []);
    engine.remove_containers(&["e2e-support-no-such-container"], None)?;
    Ok(())
}

/// Two that share a label and differ in another each supersede an image of their own: one of them tidies up.
#[test]
fn podman_removes_the_superseded_images_of_one_label_and_leaves_those_of_another() -> Result<()> {
    let engine = Engine::find(Some(Flavor::Podman), &[], &Cancel::new())?;
    let (mine, theirs) = (format!("mine-{}", std::process::id()), format!("theirs-{}", std::process::id()));
    let reference = |owner: &str| format!("localhost/e2e-support-superseded:{owner}");
    let mut superseded = Vec::new();
    for owner in [&mine, &theirs] {
        let labels = [("e2e-support", "shared"), ("e2e-support-owner", owner)];
        build(&engine, &reference(owner), &format!("{owner}, the first"), &labels)?;
        superseded.push(engine.image_id(&reference(owner))?.context("the first image")?);
        build(&engine, &reference(owner), &format!("{owner}, the second"), &labels)?;
    }
    engine.remove_superseded(&format!("e2e-support-owner={mine}"), Duration::from_secs(60))?;
    let there = |id: &String| engine.image(id).map(|image| image.is_some());
    let left = [there(&superseded[0])?, there(&superseded[1])?];
    engine.remove_images(&[reference(&mine), reference(&theirs), superseded[1].clone()], Duration::from_secs(60))?;
    assert_eq!(left, [false, true], "the superseded images of {mine} and of {theirs} that are left");
    Ok(())
}

/// An image of one file, with these labels.
fn build(engine: &Engine, reference: &str, content: &str, labels: &[(&str, &str)]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let context = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY file /file\n")?;
    std::fs::write(context.join("file"), content)?;
    let build = Build {
        dockerfile: "Dockerfile".into(),
        context: ".".into(),
        reference: reference.to_owned(),
        labels: labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Build::default()
    };
    engine.build(context, &build, &context.join("log"), &Cancel::new())
}
