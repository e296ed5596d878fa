//! The engine's and kind's wrappers, against the real podman and against programs that only record
//! how they were called.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Build, Engine, Flavor};
use e2e_support::kind::{Create, Kind};
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

/// A program that appends its arguments, one line a call, to `calls` beside it.
struct Fake {
    _dir: tempfile::TempDir,
    program: Utf8PathBuf,
    calls: Utf8PathBuf,
}

impl Fake {
    /// `answers` is the body of a shell `case` over all of the arguments.
    fn new(name: &str, answers: &str) -> Result<Fake> {
        let dir = tempfile::tempdir()?;
        let folder = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?.to_owned();
        let (program, calls) = (folder.join(name), folder.join("calls"));
        // Written by another process: a program that this one holds open for writing, if only in a child that was
        // forked just now, cannot be started.
        let sh = Shell::new()?;
        let write = "cat > \"$0\" && chmod 755 \"$0\"";
        let script = format!("#!/bin/sh\necho \"$*\" >> {calls}\ncase \"$*\" in {answers} esac\n");
        Job::new(cmd!(sh, "sh -c {write} {program}")).stdin(script).run()?;
        Ok(Fake { _dir: dir, program, calls })
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.calls).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn log(&self) -> Utf8PathBuf {
        self.calls.with_file_name("log")
    }
}

const INFO: &str = "info*) echo 28.2.2 ;;";

fn docker(answers: &str) -> Result<(Fake, Engine)> {
    let fake = Fake::new("docker", &format!("{INFO} {answers}"))?;
    let engine = Engine::at(Flavor::Docker, &fake.program, &[])?;
    Ok((fake, engine))
}

#[test]
fn docker_is_asked_for_the_version_of_its_daemon() -> Result<()> {
    let (fake, engine) = docker("")?;
    assert_eq!((engine.version(), engine.flavor()), ("28.2.2", Flavor::Docker));
    assert_eq!(fake.calls(), ["info --format {{.ServerVersion}}"]);
    Ok(())
}

#[test]
fn a_daemon_that_is_down_and_an_old_engine_are_told_apart() -> Result<()> {
    let down = Fake::new("docker", "info*) echo 'Cannot connect to the Docker daemon' >&2; exit 1 ;;")?;
    let error = format!("{:#}", Engine::at(Flavor::Docker, &down.program, &[]).expect_err("it is down"));
    assert!(error.contains("its daemon does not answer") && error.contains("Cannot connect"), "{error}");
    let old = Fake::new("docker", "info*) echo 20.10.24 ;;")?;
    let error = format!("{:#}", Engine::at(Flavor::Docker, &old.program, &[]).expect_err("it is old"));
    assert!(error.contains("20.10.24") && error.contains("23.0"), "{error}");
    Ok(())
}

#[test]
fn a_build_with_docker_hands_everything_on() -> Result<()> {
    let (fake, engine) = docker("")?;
    let build = Build {
        dockerfile: "Dockerfile.one".into(),
        context: ".".into(),
        reference: "localhost/one:tag".into(),
        args: vec![("A".into(), "b".into())],
        contexts: vec![("build".into(), "/stage".into())],
        secrets: vec![("ca".into(), "/ca.crt".into())],
        labels: vec![("k".into(), "v".into())],
        target: Some("last".into()),
        deadline: None,
    };
    engine.build(Utf8Path::new("/"), &build, &fake.log(), &Cancel::new())?;
    assert_eq!(
        fake.calls()[1],
        "build --load --progress plain --network host --file Dockerfile.one --tag localhost/one:tag \
         --build-arg A=b --build-context build=/stage --secret id=ca,src=/ca.crt --label k=v --target last ."
    );
    Ok(())
}

#[test]
fn a_missing_image_is_no_error_but_a_strange_answer_is() -> Result<()> {
    let (_fake, engine) = docker("image*gone*) echo 'Error: No such image: gone' >&2; exit 1 ;; image*) exit 3 ;;")?;
    assert_eq!(engine.image_id("gone")?, None);
    assert!(engine.image_id("other").is_err());
    Ok(())
}

#[test]
fn a_cluster_is_deleted_by_its_label_dead_nodes_included() -> Result<()> {
    let node = r#"[{"Name": "/one-control-plane", "State": {"Status": "exited"}, "Config": {"Labels": {"a": "b"}}}]"#;
    let (fake, engine) = docker(&format!("ps*) echo 0123 ;; 'container inspect 0123') echo '{node}' ;;"))?;
    Kind::new("no-such-kind", engine).delete("one", None)?;
    assert_eq!(
        fake.calls()[1..],
        [
            "ps --all --quiet --no-trunc --filter label=io.x-k8s.kind.cluster=one",
            "container inspect 0123",
            "rm --force --volumes one-control-plane",
        ]
    );
    Ok(())
}

#[test]
fn a_container_that_goes_while_all_are_listed_is_left_out() -> Result<()> {
    let one = r#"[{"Name": "/one", "State": {"Status": "running"}, "Config": {"Labels": {}}}]"#;
    let gone = "'container inspect 0123 4567') echo 'Error: No such container: 4567' >&2; exit 1 ;;";
    let first = "test -e $0.asked || echo 4567; touch $0.asked";
    let (_fake, engine) = docker(&format!("ps*) echo 0123; {first} ;; {gone} container*) echo '{one}' ;;"))?;
    let names: Vec<String> = engine.containers("a", None)?.into_iter().map(|container| container.name).collect();
    assert_eq!(names, ["one"]);

    let (_fake, engine) = docker(&format!("ps*) echo 0123; echo 4567 ;; {gone}"))?;
    let error = format!("{:#}", engine.containers("a", None).expect_err("one goes each time"));
    assert!(error.contains("label=a") && error.contains("5 times in a row"), "{error}");

    let (_fake, engine) = docker("ps*) echo 0123 ;; container*) echo 'database is locked' >&2; exit 1 ;;")?;
    let error = format!("{:#}", engine.containers("a", None).expect_err("it does not answer"));
    assert!(error.contains("database is locked"), "{error}");
    Ok(())
}

#[test]
fn kind_gets_an_image_a_configuration_and_a_kubeconfig_of_ours() -> Result<()> {
    let (_docker, engine) = docker("")?;
    let fake = Fake::new("kind", "*) echo provider $KIND_EXPERIMENTAL_PROVIDER ;;")?;
    let create = Create {
        name: "one".into(),
        config: "/c.yaml".into(),
        node_image: "localhost/node:1".into(),
        kubeconfig: "/k".into(),
        deadline: Duration::from_secs(20),
    };
    Kind::new(&fake.program, engine).create(&create, &fake.log(), &Cancel::new())?;
    let wanted = "create cluster --retain --name one --config /c.yaml --image localhost/node:1 --kubeconfig /k";
    assert_eq!(fake.calls(), [wanted]);
    assert_eq!(std::fs::read_to_string(fake.log())?, "provider docker\n");
    Ok(())
}

/// The real podman builds, lists and removes; what it has of others is not touched.
#[test]
fn podman_builds_an_image_and_tells_of_it() -> Result<()> {
    let engine = Engine::find(Some(Flavor::Podman), &[])?;
    let dir = tempfile::tempdir()?;
    let context = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY file /file\n")?;
    std::fs::write(context.join("file"), "content\n")?;
    let reference = format!("localhost/e2e-support-test:{}", std::process::id());
    assert_eq!(engine.image_id(&reference)?, None);
    let build = Build {
        dockerfile: "Dockerfile".into(),
        context: ".".into(),
        reference: reference.clone(),
        labels: vec![("e2e-support".into(), "test".into())],
        ..Build::default()
    };
    engine.build(context, &build, &context.join("log"), &Cancel::new())?;
    let labels = engine.image_labels(&reference)?;
    let id = engine.image_id(&reference)?;
    let sh = Shell::new()?;
    Job::new(engine.cmd(&sh).args(["rmi", &reference])).run()?;
    assert!(id.is_some_and(|id| id.starts_with("sha256:")));
    assert!(labels.contains(&("e2e-support".into(), "test".into())), "{labels:?}");
    assert_eq!(engine.container("e2e-support-no-such-container")?, None);
    assert_eq!(engine.containers("e2e-support-no-such-label", None)?, []);
    engine.remove_containers(&["e2e-support-no-such-container"], None)?;
    Ok(())
}
