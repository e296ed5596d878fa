use anyhow::Result;
use testbed::fakes::Play;

use crate::support::Stage;

const UP: [&str; 4] = ["up", "shop", "--cluster-only", "--yes"];

fn runs_of(stage: &Stage) -> Result<Vec<String>> {
    Ok(stage.fake.calls_of("podman")?.into_iter().filter(|call| call.starts_with("run ")).collect())
}

/// A stage whose node has one image inside from the start.
fn with_preload() -> Result<Stage> {
    let stage = Stage::new()?;
    let piece = "  - { name: redis, kind: image, about: Redis, recipe: recipe.sh, replaces: 'localhost/redis:7' }\n";
    let catalog = std::fs::read_to_string(stage.paths.root.join("images/setup.yaml"))?;
    stage.write("images/setup.yaml", &(catalog + piece))?;
    let suite = std::fs::read_to_string(stage.paths.root.join("manifests/suites/shop.yaml"))?;
    stage.write("manifests/suites/shop.yaml", &suite.replace("preload: []", "preload: [redis]"))?;
    stage.put_image("podman", "redis")?;
    Ok(stage)
}

#[test]
fn it_is_made_once_of_its_content() -> Result<()> {
    let stage = with_preload()?;
    stage.xtask(&UP)?.must(0, &["localhost/node:1 with localhost/redis:7 inside"]);
    assert_eq!(runs_of(&stage)?.len(), 1);
    assert_eq!(
        stage.fake.containers("podman"),
        [stage.instance()?.node()],
        "the container that it was made in is gone"
    );
    stage.xtask(&["down", "shop"])?.must(0, &[]);
    stage.xtask(&UP)?.must(0, &[]);
    assert_eq!(runs_of(&stage)?.len(), 1, "it was there");
    stage.xtask(&["down", "shop"])?.must(0, &[]);
    // Another image under the same name.
    stage.put_image("podman", "redis")?;
    stage.xtask(&UP)?.must(0, &["localhost/node:1 with localhost/redis:7 inside"]);
    assert_eq!(runs_of(&stage)?.len(), 2);
    Ok(())
}

#[test]
fn the_version_of_kubernetes_that_is_asked_for_is_that_of_the_node() -> Result<()> {
    let stage = Stage::bare()?;
    let catalog = std::fs::read_to_string(stage.paths.root.join("images/setup.yaml"))?;
    let catalog = catalog
        .replace("versions: {}", "versions: { kubernetes: v1.37.0 }\nkubernetes: { v1.35.8: {} }")
        .replace("replaces: 'localhost/node:1'", "versions: [kubernetes], replaces: 'localhost/node:{kubernetes}'");
    stage.write("images/setup.yaml", &catalog)?;
    stage.put_tools()?;
    stage.put_image("podman", "node")?;
    stage.put_image_of("podman", "node", Some("1.35"))?;
    for (words, says) in [
        (&UP[..], "node image localhost/shop-node:"),
        (&UP[..], "the cluster shop"),
        (&[&UP[..], &["--kubernetes", "1.35"]].concat(), "replacing the cluster shop"),
        (&[&UP[..], &["--kubernetes", "v1.35.8"]].concat(), "the cluster shop"),
    ] {
        stage.xtask(words)?.must(0, &[says]);
    }
    let nodes: Vec<String> =
        runs_of(&stage)?.iter().filter_map(|run| Some(run.split_once("localhost/")?.1.into())).collect();
    assert_eq!(nodes, ["node:v1.37.0 infinity", "node:v1.35.8 infinity"]);
    let said = "images/setup.yaml has no Kubernetes 1.34; it has v1.37.0, v1.35.8";
    for command in [&UP[..], &["e2e", "shop", "--yes"], &["setup", "shop", "--check"], &["setup", "shop", "--yes"]] {
        stage.xtask(&[command, &["--kubernetes", "1.34"]].concat())?.must(2, &[said]);
    }
    Ok(())
}

#[test]
fn where_images_cannot_be_unpacked_they_lie_in_it_packed() -> Result<()> {
    let stage = with_preload()?;
    stage.fake.on("podman", "exec * bash -c *unpack *", Play::fails(1, "ctr: operation not permitted"))?;
    stage.xtask(&UP)?.must(0, &["images cannot lie in it unpacked here", "stays"]);
    assert_eq!(runs_of(&stage)?.len(), 2);
    assert_eq!(stage.fake.containers("podman"), [stage.instance()?.node()]);
    Ok(())
}

#[test]
fn what_a_killed_run_left_of_it_is_no_hindrance() -> Result<()> {
    let stage = with_preload()?;
    stage.fake.on("podman", "run *", Play::script("").and_passes_on())?;
    stage.xtask(&UP)?.must(0, &[]);
    let run = runs_of(&stage)?.remove(0);
    let container = run.split_whitespace().skip_while(|word| *word != "--name").nth(1).unwrap_or_default().to_owned();
    stage.xtask(&["down", "shop"])?.must(0, &[]);
    stage.container(&container, "running", &[])?;
    stage.put_image("podman", "redis")?;
    stage.xtask(&UP)?.must(0, &["stays"]);
    assert_eq!(stage.fake.containers("podman"), [stage.instance()?.node()]);
    Ok(())
}

#[test]
fn a_node_that_does_not_take_an_image_fails_the_set_up_and_leaves_nothing() -> Result<()> {
    let stage = with_preload()?;
    stage.fake.on("podman", "exec * images import *", Play::fails(1, "ctr: content digest: not found"))?;
    stage.xtask(&UP)?.must(3, &["making the node image", "localhost/redis:7", "content digest: not found"]);
    assert!(stage.fake.containers("podman").is_empty());
    Ok(())
}
