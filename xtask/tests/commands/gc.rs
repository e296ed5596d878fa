use anyhow::Result;
use e2e_support::kind::CLUSTER_LABEL;
use testbed::fakes::Play;
use xtask::instance::{CHECKOUT_LABEL, RUNS_LABEL, SUITE_LABEL};

use crate::support::{Stage, dead_docker, dead_podman};

/// A container of another checkout that is there.
fn others(stage: &Stage, name: &str) -> Result<()> {
    let other = stage.paths.root.with_file_name("other");
    let runs = other.join("target/e2e/shop");
    std::fs::create_dir_all(&runs)?;
    let labels = [(SUITE_LABEL, "shop"), (CHECKOUT_LABEL, other.as_str()), (RUNS_LABEL, runs.as_str())];
    stage.fake.container("podman", name, "running", &labels)
}

#[test]
fn what_a_dead_run_left_goes_and_what_is_not_ours_stays() -> Result<()> {
    let stage = Stage::new()?;
    let instance = stage.instance()?;
    stage.container(&instance.node(), "running", &[(CLUSTER_LABEL, instance.cluster())])?;
    stage.container("shop-node-image", "exited", &[])?;
    stage.fake.container("podman", "somebodys", "exited", &[("com.example", "x")])?;
    others(&stage, "another-checkouts")?;
    let removed = format!("removed the container {}", instance.node());
    stage.xtask(&["gc"])?.must(0, &[&removed, "removed the container shop-node-image (exited)", "2 leftovers removed"]);
    assert_eq!(stage.fake.containers("podman"), ["another-checkouts", "somebodys"]);
    stage.xtask(&["gc"])?.must(0, &["0 leftovers removed"]);
    Ok(())
}

#[test]
fn what_a_run_uses_stays() -> Result<()> {
    let stage = Stage::new()?;
    let instance = stage.instance()?;
    stage.container(&instance.node(), "running", &[(CLUSTER_LABEL, instance.cluster())])?;
    let _run = instance.lock("cargo xtask e2e shop")?;
    stage.xtask(&["gc"])?.must(0, &[&instance.node(), "stays", "cargo xtask e2e shop", "0 leftovers removed"]);
    assert_eq!(stage.fake.containers("podman"), [instance.node()]);
    Ok(())
}

#[test]
fn all_is_listed_and_needs_a_yes() -> Result<()> {
    let stage = Stage::new()?;
    others(&stage, "another-checkouts")?;
    stage.xtask(&["gc", "--all"])?.must(1, &["another-checkouts", "no terminal", "--yes"]);
    assert_eq!(stage.fake.containers("podman").len(), 1);
    stage.xtask(&["gc", "--all", "--yes"])?.must(0, &["removed the container another-checkouts"]);
    assert!(stage.fake.containers("podman").is_empty());
    Ok(())
}

#[test]
fn images_of_a_checkout_that_builds_them_stay() -> Result<()> {
    let stage = Stage::new()?;
    let instance = stage.instance()?;
    let own = instance.image("localhost/shop:1");
    let labels = instance.labels();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    stage.fake.image("podman", &own, &labels)?;
    let gone = [(SUITE_LABEL, "shop"), (CHECKOUT_LABEL, "/gone"), (RUNS_LABEL, "/gone/target/e2e/shop")];
    stage.fake.image("podman", "localhost/shop:1-gone", &gone)?;
    let shared = [(SUITE_LABEL, "shop"), (CHECKOUT_LABEL, ""), (RUNS_LABEL, "")];
    stage.fake.image("podman", "localhost/shop-node:1", &shared)?;
    let run = instance.lock("cargo xtask e2e shop")?;
    let (stays, why) = (format!("the image {own} stays"), "cargo xtask e2e shop");
    stage.xtask(&["gc", "--all", "--yes"])?.must(0, &[&stays, why, "shop-node:1 stays: a suite that is in use may"]);
    let there = |name: &str| stage.fake.has_image("podman", name);
    assert_eq!([&own, "localhost/shop-node:1", "localhost/shop:1-gone"].map(there), [true, true, false]);
    drop(run);
    stage.xtask(&["gc", "--all", "--yes"])?.must(0, &[]);
    assert_eq!([&own, "localhost/shop-node:1"].map(there), [false, false]);
    Ok(())
}

#[test]
fn superseded_images_go_also_where_the_runs_are_gone() -> Result<()> {
    let stage = Stage::new()?;
    let runs = stage.paths.root.canonicalize_utf8()?.join("target/e2e/shop");
    assert!(!runs.exists());
    stage.xtask(&["gc"])?.must(0, &[]);
    let prune = format!("image prune --force --filter=label={RUNS_LABEL}={runs}");
    let calls = stage.fake.calls_of("podman")?;
    assert!(calls.contains(&prune), "no `{prune}` in {calls:#?}");
    Ok(())
}

#[test]
fn an_engine_that_does_not_remove_is_an_error() -> Result<()> {
    let stage = Stage::new()?;
    stage.container("shop-node-image", "exited", &[])?;
    stage.fake.on("podman", "rm *", Play::fails(125, "Error: database is locked"))?;
    stage.xtask(&["gc"])?.must(1, &["database is locked"]);
    dead_podman(&stage)?;
    dead_docker(&stage)?;
    stage.xtask(&["gc"])?.must(1, &["unable to connect to Podman socket", "Is the docker daemon running?"]);
    Ok(())
}
