//! The node image of a suite: kind's node with the images that the suite never builds inside, made
//! once and named by its content; each instance gets a name and labels of its own for it, which mark its node containers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Build, Engine};
use e2e_support::{Cancel, Job, load};
use serde_json::Value;
use sha2::{Digest, Sha256};
use xshell::Shell;

use crate::hash::hex;
use crate::instance::{CHECKOUT_LABEL, Instance, RUNS_LABEL, SUITE_LABEL};
use crate::setup::make::lock;

/// Raised when what this file does to a node changes.
const RECIPE: u32 = 8;

/// A volume while a node image is made, as it is in each node that kind creates: the container's own root is an overlay,
/// which takes neither another overlay's layers nor what deletions look like in one.
const VOLUME: &str = "/var";

/// Unpacks images, which each new cluster would do at their first use: several at once take longer there than all else
/// that their pods do. Each becomes one folder in place of one for each layer, since what a layer deletes of those below
/// could not be written down. It is a snapshot without a parent under the name that the image's last layer has.
const UNPACK: &str = r#"
set -e
ctr() { command ctr --namespace k8s.io "$@"; }
names() { ctr snapshots ls | awk 'NR > 1 { print $1 }' | sort; }
mkdir -p /kind/store/snapshots /tmp/whole
for reference in "$@"; do
  before=$(names)
  ctr snapshots unpack "$(ctr images ls "name==$reference" | awk 'NR == 2 { print $3 }')"
  # Of the new ones that on which no other stands.
  top=$(comm -13 <(echo "$before") <(names) | grep -vxFf <(ctr snapshots ls | awk 'NR > 1 { print $2 }') || true)
  [ -n "$top" ] || continue
  # To read from, and to write to. (A view would go with the next collection of garbage.)
  ctr snapshots prepare whole "$top"
  ctr snapshots prepare flat
  # By the way of fsconfig(2), which newer mounts take, the kernel has at most 255 characters of an option; the paths of
  # all layers are more. https://github.com/util-linux/util-linux/issues/2287
  ctr snapshots mounts /tmp/whole whole | LIBMOUNT_FORCE_MOUNT2=always bash -e
  flat=$(ctr snapshots mounts /tmp/flat flat | awk '{ print $4 }')
  kept=/kind/store/snapshots/$(basename "$(dirname "$flat")")
  cp -a /tmp/whole "$kept"
  umount /tmp/whole
  rm -rf "$flat"
  ln -s "$kept" "$flat"
  ctr snapshots rm whole
  ctr snapshots rm "$top"
  ctr snapshots commit "$top" flat
done
rmdir /tmp/whole
# What nothing refers to any more goes only when someone asks for that.
ctr leases create --id sweep
ctr leases rm --sync sweep
"#;

/// The engine copies an image's /var into a new volume for every node that it creates. So the bulk
/// of containerd's store moves out of it, and links stay.
const OUT_OF_VAR: &str = r#"
set -e
mkdir -p /kind/store/blobs
cd /var/lib/containerd/io.containerd.content.v1.content
rm -rf ingest/*
cd blobs/sha256
find . -maxdepth 1 -type f | while read -r blob; do
  mv "$blob" "/kind/store/blobs/${blob#./}"
  ln -s "/kind/store/blobs/${blob#./}" "$blob"
done
# The image's own /var, which lies below the volume.
mount --bind / /mnt
rm -rf /mnt/var/lib/containerd
cp -a /var/lib/containerd /mnt/var/lib/
umount /mnt
"#;

/// How preloaded images lie in the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unpacked,
    /// As blobs alone, which each new cluster unpacks.
    Packed,
}

/// How long to wait for another checkout that makes the same node image.
const OTHER: Duration = Duration::from_secs(600);
/// How long giving it the instance's labels may take.
const NAMING: Duration = Duration::from_secs(120);

/// The reference of the instance's node image, which is made if it is not there.
///
/// # Errors
/// When the node image or one of `preload` is not there, or the engine fails.
pub(super) fn ensure(
    engine: &Engine,
    instance: &Instance,
    node: &str,
    preload: BTreeSet<String>,
    cache: &Utf8Path,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<String> {
    let suite = instance.suite();
    let mut hash = Sha256::new();
    hash.update(format!("{RECIPE}\0{suite}\0"));
    for reference in std::iter::once(node).chain(preload.iter().map(String::as_str)) {
        let id = engine.image_id(reference)?.with_context(|| format!("the image {reference} is not there"))?;
        hash.update(format!("{reference}\0{id}\0"));
    }
    let shared = format!("localhost/{suite}-node:{}", &hex(&hash.finalize())[..16]);
    let reference = instance.image(&shared);
    if engine.image_id(&reference)?.is_some() {
        return Ok(reference);
    }
    let _lock = lock(&lock_path(cache, &shared), OTHER, cancel).with_context(|| format!("waiting for {shared}"))?;
    let log = cache.join(format!("logs/node-image-{}.log", instance.id()));
    if engine.image_id(&shared)?.is_none() {
        let inside: Vec<&str> = preload.iter().map(String::as_str).collect();
        let with = if inside.is_empty() { String::new() } else { format!(" with {} inside", inside.join(", ")) };
        say(&format!("node image {shared}: {node}{with}"));
        let recipe = Recipe { engine, instance, node, preload: &preload, cache, log: &log, cancel };
        let making = || format!("making the node image {shared}");
        if !recipe.make(&shared, Form::Unpacked).with_context(making)? {
            say(&format!("images cannot lie in it unpacked here, so each new cluster unpacks them: see {log}"));
            recipe.make(&shared, Form::Packed).with_context(making)?;
        }
    }
    name(engine, instance, &shared, &reference, cache, &log, cancel)
        .with_context(|| format!("giving the node image {shared} the labels of this checkout"))?;
    remove_others(engine, instance, &reference, cache)?;
    Ok(reference)
}

/// Held while the node image of this name is made, or given an instance's labels.
fn lock_path(cache: &Utf8Path, shared: &str) -> Utf8PathBuf {
    cache.join("locks").join(shared.replace(['/', ':'], "_"))
}

/// Makes the image that node containers of the instance are made of: `shared` with the instance's labels.
fn name(
    engine: &Engine,
    instance: &Instance,
    shared: &str,
    reference: &str,
    cache: &Utf8Path,
    log: &Utf8Path,
    cancel: &Cancel,
) -> Result<()> {
    std::fs::create_dir_all(cache).with_context(|| format!("making the folder {cache}"))?;
    let folder = tempfile::Builder::new().prefix("node-image-").tempdir_in(cache).context("making a scratch folder")?;
    let folder = Utf8Path::from_path(folder.path()).context("a path that is not UTF-8")?;
    std::fs::write(folder.join("Dockerfile"), format!("FROM {shared}\n")).context("writing a Dockerfile")?;
    let build = Build {
        dockerfile: "Dockerfile".into(),
        context: ".".into(),
        reference: reference.to_owned(),
        labels: instance.labels().to_vec(),
        deadline: Some(NAMING),
        ..Build::default()
    };
    engine.build(folder, &build, log, cancel)
}

/// What a node image is made of and with.
struct Recipe<'a> {
    engine: &'a Engine,
    instance: &'a Instance,
    node: &'a str,
    preload: &'a BTreeSet<String>,
    cache: &'a Utf8Path,
    log: &'a Utf8Path,
    cancel: &'a Cancel,
}

impl Recipe<'_> {
    /// Makes it as `reference`; false where the images cannot lie in it in this form.
    fn make(&self, reference: &str, form: Form) -> Result<bool> {
        let engine = self.engine;
        let container = format!("{}-node-image-{}", self.instance.suite(), self.instance.id());
        // What a killed run left.
        engine.remove_containers(&[&container], Some(self.log))?;
        let sh = Shell::new()?;
        let run = engine.cmd(&sh).args(["run", "--detach", "--privileged", "--name", &container]);
        let labels = self.instance.labels().map(|(key, value)| format!("--label={key}={value}"));
        let run = run.args(labels).args(["--volume", VOLUME, "--entrypoint", "sleep"]).args([self.node, "infinity"]);
        Job::new(run).log(self.log).cancel(self.cancel).leader_first().run()?;
        let result = self.fill(&container, form).and_then(|filled| {
            if filled {
                self.commit(&container, reference)?;
            }
            Ok(filled)
        });
        engine.remove_containers(&[&container], Some(self.log)).and(result)
    }

    fn commit(&self, container: &str, reference: &str) -> Result<()> {
        // It would keep the entry point of this container.
        let image = self.engine.image(self.node)?.context("the node image is gone")?;
        let words = |key: &str| serde_json::to_string(image["Config"].get(key).unwrap_or(&Value::Null));
        let entrypoint = format!("ENTRYPOINT {}", words("Entrypoint")?.replace("null", "[]"));
        let cmd = format!("CMD {}", words("Cmd")?.replace("null", "[]"));
        let signal = image["Config"]["StopSignal"].as_str().unwrap_or("SIGRTMIN+3");
        let signal = format!("STOPSIGNAL {signal}");
        // Of the container's own labels: what is made here belongs to no checkout.
        let label = format!("LABEL {SUITE_LABEL}={} {CHECKOUT_LABEL}= {RUNS_LABEL}=", self.instance.suite());
        let sh = Shell::new()?;
        let commit = self.engine.cmd(&sh).args(["commit", "--change", &entrypoint, "--change", &cmd]);
        let commit = commit.args(["--change", &signal, "--change", &label, container, reference]);
        Job::new(commit).log(self.log).cancel(self.cancel).run()
    }

    /// Imports the images with the node's own containerd, and stops it; false where they cannot be unpacked for good.
    fn fill(&self, container: &str, form: Form) -> Result<bool> {
        let Self { engine, log, cancel, .. } = *self;
        let sh = Shell::new()?;
        let run = |words: &[&str]| Job::new(engine.exec(&sh, container, false, words)).log(log).cancel(cancel).run();
        let ask = |words: &[&str]| {
            Job::new(engine.exec(&sh, container, false, words)).deadline(Duration::from_secs(5)).output()
        };
        let mut containerd = Job::new(engine.exec(&sh, container, false, &["containerd"])).log(log).daemon()?;
        let answers = || ask(&["ctr", "version"]).is_ok_and(|out| out.success());
        containerd.wait_until("the node's containerd", Duration::from_secs(60), answers)?;
        for reference in self.preload {
            let spool = self.cache.join("oci").join(container).join(reference.replace(['/', ':'], "_"));
            load::load(engine, &[container], reference, reference, &spool, log, cancel)?;
            std::fs::remove_dir_all(&spool).with_context(|| format!("removing {spool}"))?;
        }
        if form == Form::Unpacked {
            let script = ["bash", "-c", UNPACK, "unpack"];
            let words: Vec<&str> = script.into_iter().chain(self.preload.iter().map(String::as_str)).collect();
            if let Err(error) = run(&words) {
                // What the commands said is in the log.
                return if cancel.is_cancelled() { Err(error) } else { Ok(false) };
            }
        }
        // Killing the exec on this side does not reach the program inside.
        run(&["pkill", "-TERM", "-x", "containerd"])?;
        let gone = || ask(&["pgrep", "-x", "containerd"]).is_ok_and(|out| !out.success());
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while !gone() {
            ensure!(std::time::Instant::now() < end, "the node's containerd does not stop within 30 s");
            ensure!(!cancel.sleep(Duration::from_millis(100)), "interrupted");
        }
        run(&["bash", "-c", OUT_OF_VAR])?;
        Ok(true)
    }
}

/// Removes the instance's earlier node images, and what was made for them where no other checkout has a name for it.
/// One that a container still uses stays.
fn remove_others(engine: &Engine, instance: &Instance, reference: &str, cache: &Utf8Path) -> Result<()> {
    let filter = format!("{SUITE_LABEL}={}", instance.suite());
    let all = engine.named_images(&filter)?;
    for other in superseded(&all, instance, reference) {
        // Another checkout may be about to name it.
        let making = lock(&lock_path(cache, &other), Duration::ZERO, &Cancel::new());
        if making.is_ok() {
            engine.remove_images(&[other], Duration::from_secs(60))?;
        }
    }
    Ok(())
}

/// Those of `all`, the suite's images, that are node images which neither `reference` nor another instance needs: names
/// of this instance first, then what they were made of.
fn superseded(all: &[String], instance: &Instance, reference: &str) -> Vec<String> {
    let prefix = format!("localhost/{}-node:", instance.suite());
    let ours = format!("-{}", instance.id());
    let nodes = all.iter().filter(|name| name.starts_with(&prefix) && *name != reference);
    let (mut gone, others): (Vec<String>, Vec<String>) = nodes.cloned().partition(|name| name.ends_with(&ours));
    let in_use = |shared: &String| {
        let needed = others.iter().any(|name| name.starts_with(&format!("{shared}-")));
        needed || reference.starts_with(&format!("{shared}-"))
    };
    // A name of another instance has a hyphen behind the hash.
    gone.extend(others.iter().filter(|name| !name[prefix.len()..].contains('-') && !in_use(name)).cloned());
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use crate::suite::Suite;
    use crate::suite::yaml::Source;

    #[test]
    fn a_node_image_that_another_checkout_uses_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        let suite = "name: s\nphases: [a]\ncluster: {name: s, config: k, node: n, phase: a}\n";
        let suite = Suite::parse(Source::new("s.yaml", suite)).unwrap();
        let paths = Paths { target: root.join("target"), cache: root.join("cache"), root };
        let instance = Instance::of(&paths, &suite).unwrap();
        let ours = |hash: &str| format!("localhost/s-node:{hash}-{}", instance.id());
        let shared = |hash: &str| format!("localhost/s-node:{hash}");
        let all = [
            ours("now"),
            shared("now"),
            ours("old"),
            shared("old"),
            ours("both"),
            shared("both"),
            format!("{}-0badcafe", shared("both")),
            "localhost/shop:dev".to_owned(),
        ];
        assert_eq!(superseded(&all, &instance, &ours("now")), [ours("old"), ours("both"), shared("old")]);
    }
}
