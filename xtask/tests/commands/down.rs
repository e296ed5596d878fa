use std::time::Duration;

use anyhow::Result;
use e2e_support::kind::CLUSTER_LABEL;
use testbed::fakes::Play;

use crate::support::{Stage, dead_docker, dead_podman};

/// A stage with its cluster's node.
fn with_cluster() -> Result<(Stage, String)> {
    let stage = Stage::new()?;
    let instance = stage.instance()?;
    stage.container(&instance.node(), "running", &[(CLUSTER_LABEL, instance.cluster())])?;
    Ok((stage, instance.cluster().to_owned()))
}

#[test]
fn its_own_cluster_is_deleted_whatever_state_it_is_in() -> Result<()> {
    let (stage, cluster) = with_cluster()?;
    stage.xtask(&["down", "shop"])?.must(0, &[&format!("the cluster {cluster} is gone")]);
    assert!(stage.fake.containers("podman").is_empty());
    let node = stage.instance()?.node();
    stage.container(&node, "exited", &[(CLUSTER_LABEL, &cluster)])?;
    stage.xtask(&["down", "shop"])?.must(0, &["is gone"]);
    assert!(stage.fake.containers("podman").is_empty());
    Ok(())
}

#[test]
fn none_is_no_failure_and_is_said() -> Result<()> {
    let stage = Stage::new()?;
    stage.xtask(&["down", "shop"])?.must(0, &[&format!("there was no cluster {}", stage.instance()?.cluster())]);
    Ok(())
}

#[test]
fn one_that_somebody_else_made_stays() -> Result<()> {
    let stage = Stage::new()?;
    let instance = stage.instance()?;
    let node = instance.node();
    stage.fake.container("podman", &node, "running", &[(CLUSTER_LABEL, instance.cluster())])?;
    stage.xtask(&["down", "shop"])?.must(1, &[&node, "stays"]);
    assert_eq!(stage.fake.containers("podman"), [node]);
    Ok(())
}

#[test]
fn one_that_cannot_be_removed_is_an_error_with_the_engines_words() -> Result<()> {
    let (stage, cluster) = with_cluster()?;
    stage.fake.on("podman", "rm *", Play::fails(125, "Error: device or resource busy"))?;
    stage.xtask(&["down", "shop"])?.must(1, &[&format!("deleting the cluster {cluster}"), "device or resource busy"]);
    // The second try is podman's to put in order what it left half made.
    let tries = stage.fake.calls_of("podman")?.into_iter().filter(|call| call.starts_with("rm ")).count();
    assert_eq!(tries, 2);
    Ok(())
}

#[test]
fn an_engine_that_fails_once_is_asked_again() -> Result<()> {
    let (stage, cluster) = with_cluster()?;
    stage.fake.on("podman", "rm *", Play::fails(125, "Error: unmounting: device or resource busy").times(1))?;
    stage.xtask(&["down", "shop"])?.must(0, &[&format!("the cluster {cluster} is gone")]);
    Ok(())
}

#[test]
fn while_a_run_goes_on_nothing_is_touched() -> Result<()> {
    let (stage, _) = with_cluster()?;
    let _run = stage.instance()?.lock("cargo xtask e2e shop")?;
    stage.xtask(&["down", "shop"])?.must(1, &["suite shop is in use", "cargo xtask e2e shop"]);
    assert!(stage.fake.calls()?.is_empty());
    Ok(())
}

#[test]
fn without_an_engine_each_is_told_with_what_it_said() -> Result<()> {
    let (stage, _) = with_cluster()?;
    dead_podman(&stage)?;
    dead_docker(&stage)?;
    let words = ["unable to connect to Podman socket", "Is the docker daemon running?", "podman machine start"];
    stage.xtask(&["down", "shop"])?.must(1, &words);
    stage.fake.remove("podman")?;
    stage.fake.remove("docker")?;
    stage.xtask(&["down", "shop"])?.must(1, &["podman: not on PATH", "docker: not on PATH"]);
    Ok(())
}

#[test]
fn what_is_left_of_processes_goes_also_without_an_engine() -> Result<()> {
    let stage = Stage::new()?;
    for engine in ["podman", "docker"] {
        stage.fake.remove(engine)?;
    }
    let left = stage.paths.runs().join("shop/processes");
    let gone = |command: &[&str], said: &str| -> Result<()> {
        std::fs::create_dir_all(left.join("20260101T000000Z/data"))?;
        stage.xtask(command)?.must(0, &[said]);
        assert!(!left.exists());
        Ok(())
    };
    gone(&["down", "shop"], "what a killed command had left of the processes of shop is gone")?;
    gone(&["gc"], "removed what a killed command had left of the processes of shop")?;
    stage.xtask(&["gc"])?.must(0, &["0 leftovers removed"]);
    Ok(())
}

#[test]
fn an_engine_that_answers_nonsense_deletes_nothing() -> Result<()> {
    let (stage, _) = with_cluster()?;
    stage.fake.on("podman", "container inspect *", Play::says("<html>"))?;
    stage.xtask(&["down", "shop", "--engine", "podman"])?.must(1, &["reading the engine's list of containers"]);
    stage.fake.on("podman", "--version", Play::says("podman version soon"))?;
    stage.xtask(&["down", "shop", "--engine", "podman"])?.must(1, &["its version is \"soon\""]);
    assert_eq!(stage.fake.containers("podman").len(), 1);
    Ok(())
}

#[test]
fn docker_is_used_where_podman_is_missing() -> Result<()> {
    let stage = Stage::new()?;
    stage.fake.remove("podman")?;
    stage.xtask(&["down", "shop"])?.must(0, &["there was no cluster"]);
    assert!(!stage.fake.calls_of("docker")?.is_empty());
    Ok(())
}

#[test]
fn a_slow_engine_is_waited_for_and_one_that_dies_is_told() -> Result<()> {
    let (stage, cluster) = with_cluster()?;
    stage.fake.on("podman", "rm *", Play::dies().times(2))?;
    stage.xtask(&["down", "shop"])?.must(1, &["deleting the cluster", "signal 9"]);
    stage.fake.on("podman", "ps *|rm *", Play::slow(Duration::from_millis(200)))?;
    stage.xtask(&["down", "shop"])?.must(0, &[&format!("the cluster {cluster} is gone")]);
    Ok(())
}
