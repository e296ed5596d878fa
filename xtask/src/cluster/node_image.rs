//! The node image of a suite: kind's node with the images that the suite never builds inside, made
//! once and named by its content. Its label marks every node container as the suite's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use e2e_support::engine::Engine;
use e2e_support::{Cancel, Job, load};
use serde_json::Value;
use sha2::{Digest, Sha256};
use xshell::Shell;

use crate::setup::piece::hex;

/// The label of node images and, through them, of node containers; its value is the suite's name.
pub const SUITE_LABEL: &str = "gateway-e2e.suite";

/// Raised when what this file does to a node changes.
const RECIPE: u32 = 2;

/// The engine copies an image's /var into a new volume for every node that it creates. So the bulk
/// of containerd's store moves out of it, and links stay.
const OUT_OF_VAR: &str = r#"
set -e
mkdir -p /kind/store/blobs
cd /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256
find . -maxdepth 1 -type f | while read -r blob; do
  mv "$blob" "/kind/store/blobs/${blob#./}"
  ln -s "/kind/store/blobs/${blob#./}" "$blob"
done
rm -rf ../../ingest/*
"#;

/// The reference of the suite's node image, which is made if it is not there.
///
/// # Errors
/// When the node image or one of `preload` is not there, or the engine fails.
pub fn ensure(
    engine: &Engine,
    suite: &str,
    node: &str,
    preload: &[String],
    cache: &Utf8Path,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{RECIPE}\0{suite}\0"));
    for reference in std::iter::once(node).chain(preload.iter().map(String::as_str)) {
        let id = engine.image_id(reference)?.with_context(|| format!("the image {reference} is not there"))?;
        hash.update(format!("{reference}\0{id}\0"));
    }
    let reference = format!("localhost/{suite}-node:{}", &hex(&hash.finalize())[..16]);
    if engine.image_id(&reference)?.is_none() {
        say(&format!("node image {reference}: {node} with {} inside", preload.join(", ")));
        make(engine, suite, node, preload, &reference, cache, cancel)
            .with_context(|| format!("making the node image {reference}"))?;
        remove_others(engine, suite, &reference)?;
    }
    Ok(reference)
}

fn make(
    engine: &Engine,
    suite: &str,
    node: &str,
    preload: &[String],
    reference: &str,
    cache: &Utf8Path,
    cancel: &Cancel,
) -> Result<()> {
    let log = cache.join("logs/node-image.log");
    let container = format!("{suite}-node-image");
    // What a killed run left.
    engine.remove_containers(&[&container], Some(&log))?;
    let sh = Shell::new()?;
    let label = format!("{SUITE_LABEL}={suite}");
    let run = engine.cmd(&sh).args(["run", "--detach", "--privileged", "--name", &container, "--label", &label]);
    Job::new(run.args(["--entrypoint", "sleep"]).args([node, "infinity"])).log(&log).cancel(cancel).run()?;
    let result = fill(engine, &container, preload, cache, &log, cancel).and_then(|()| {
        // The commit would keep the entry point of this container.
        let image = engine.image(node)?.context("the node image is gone")?;
        let words = |key: &str| serde_json::to_string(image["Config"].get(key).unwrap_or(&Value::Null));
        let entrypoint = format!("ENTRYPOINT {}", words("Entrypoint")?.replace("null", "[]"));
        let cmd = format!("CMD {}", words("Cmd")?.replace("null", "[]"));
        let signal = image["Config"]["StopSignal"].as_str().unwrap_or("SIGRTMIN+3");
        let signal = format!("STOPSIGNAL {signal}");
        let label = format!("LABEL {label}");
        let commit = engine.cmd(&sh).args(["commit", "--change", &entrypoint, "--change", &cmd]);
        let commit = commit.args(["--change", &signal, "--change", &label, &container, reference]);
        Job::new(commit).log(&log).cancel(cancel).run()
    });
    let removed = engine.remove_containers(&[&container], Some(&log));
    result.and(removed)
}

/// Removes the suite's earlier node images. One that a container still uses stays.
fn remove_others(engine: &Engine, suite: &str, reference: &str) -> Result<()> {
    let sh = Shell::new()?;
    let filter = format!("label={SUITE_LABEL}={suite}");
    let words = ["images", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"];
    let list = Job::new(engine.cmd(&sh).args(words)).deadline(Duration::from_secs(20)).read()?;
    let name = format!("localhost/{suite}-node:");
    for other in list.lines().filter(|other| other.starts_with(&name) && *other != reference) {
        Job::new(engine.cmd(&sh).args(["rmi", other])).deadline(Duration::from_secs(60)).output()?;
    }
    Ok(())
}

/// Imports the images with the node's own containerd, and stops it.
fn fill(
    engine: &Engine,
    container: &str,
    preload: &[String],
    cache: &Utf8Path,
    log: &Utf8Path,
    cancel: &Cancel,
) -> Result<()> {
    let sh = Shell::new()?;
    let mut containerd = Job::new(engine.exec(&sh, container, false, &["containerd"])).log(log).daemon()?;
    let answers = || {
        let ask = engine.exec(&sh, container, false, &["ctr", "version"]);
        Job::new(ask).deadline(Duration::from_secs(5)).output().is_ok_and(|out| out.success())
    };
    containerd.wait_until("the node's containerd", Duration::from_secs(60), answers)?;
    for reference in preload {
        let spool = cache.join("oci").join(reference.replace(['/', ':'], "_"));
        load::load(engine, container, reference, &spool, log, cancel)?;
        std::fs::remove_dir_all(&spool).with_context(|| format!("removing {spool}"))?;
    }
    // Killing the exec on this side does not reach the program inside.
    let stop = engine.exec(&sh, container, false, &["pkill", "-TERM", "-x", "containerd"]);
    Job::new(stop).log(log).run()?;
    let gone = || {
        let ask = engine.exec(&sh, container, false, &["pgrep", "-x", "containerd"]);
        Job::new(ask).deadline(Duration::from_secs(5)).output().is_ok_and(|out| !out.success())
    };
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !gone() {
        ensure!(std::time::Instant::now() < end, "the node's containerd does not stop within 30 s");
        ensure!(!cancel.sleep(Duration::from_millis(100)), "interrupted");
    }
    Job::new(engine.exec(&sh, container, false, &["bash", "-c", OUT_OF_VAR])).log(log).cancel(cancel).run()
}
