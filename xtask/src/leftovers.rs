//! What runs have left in a container engine: whose it is, whether somebody uses it, and how it is removed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Container, Engine};
use e2e_support::kind::CLUSTER_LABEL;

use crate::events::SuiteLock;
use crate::instance::{CHECKOUT_LABEL, Files, RUNS_LABEL, SUITE_LABEL, label};
use crate::setup::host::free_mb;

/// How long the engine may take to remove images.
const IMAGES: Duration = Duration::from_secs(300);
/// Where `bench-setup` makes its copies, below a checkout: what they leave is the checkout's.
const COPIES: &str = "target/bench";

/// A container that some suite of some checkout has made.
#[derive(Clone, Debug)]
pub struct Leftover {
    pub container: Container,
    pub suite: String,
    /// Empty where it was not noted.
    pub checkout: Utf8PathBuf,
    /// Where the runs of its instance are.
    runs: Utf8PathBuf,
}

/// Whether a container may be removed.
#[derive(Debug)]
pub enum Claim {
    /// Nobody uses it as long as this is held; none where its checkout is gone.
    Free(Option<SuiteLock>),
    /// A process does: who.
    InUse(String),
    /// It is a running cluster that was left on purpose; nobody uses it as long as this is held.
    Kept(SuiteLock),
}

impl Leftover {
    fn of(container: Container) -> Leftover {
        let text = |key: &str| label(&container, key).unwrap_or_default().to_owned();
        let (suite, checkout, runs) = (text(SUITE_LABEL), text(CHECKOUT_LABEL), text(RUNS_LABEL));
        Leftover { suite, checkout: checkout.into(), runs: runs.into(), container }
    }

    /// Whether the checkout in `root`, or a copy that it made for itself, has made it.
    pub fn is_of(&self, root: &Utf8Path) -> bool {
        self.checkout == root || self.checkout.starts_with(root.join(COPIES))
    }

    /// Finds out whether it may be removed, and takes the lock of its instance.
    pub fn claim(&self) -> Claim {
        match free(&self.runs, &self.suite) {
            Err(error) => Claim::InUse(format!("{error:#}")),
            Ok(Some(lock)) if self.is_kept() => Claim::Kept(lock),
            Ok(lock) => Claim::Free(lock),
        }
    }

    /// Whether it is a node of a cluster that its checkout left on purpose.
    fn is_kept(&self) -> bool {
        let run = self.files().read();
        let is_node = run.is_some_and(|run| label(&self.container, CLUSTER_LABEL) == Some(run.cluster.as_str()));
        self.files().is_kept() && self.container.state == "running" && is_node
    }

    fn files(&self) -> Files {
        Files { dir: self.runs.join("cluster") }
    }

    /// Removes it with its volumes, and what its checkout has noted of it. The caller holds its claim.
    ///
    /// # Errors
    /// When the engine does not remove it.
    pub fn remove(&self, engine: &Engine) -> Result<()> {
        engine.remove_containers(&[&self.container.name], None)?;
        engine.remove_volumes(&self.container.name)?;
        self.files().remove()
    }
}

/// All containers that suites have made, of whichever checkout.
///
/// # Errors
/// When the engine does not answer.
pub fn find(engine: &Engine) -> Result<Vec<Leftover>> {
    let all = engine.containers(SUITE_LABEL, None)?;
    Ok(all.into_iter().map(Leftover::of).collect())
}

/// Removes images that the instance whose runs are in `runs` has built and that have no name any more. The caller holds
/// its lock.
///
/// # Errors
/// When the engine does not answer, or does not remove them.
pub fn remove_superseded(engine: &Engine, runs: &Utf8Path) -> Result<()> {
    engine.remove_superseded(&format!("{RUNS_LABEL}={runs}"), IMAGES)
}

/// Removes all images that any suite has built, but for those of an instance that is in use: it may have built one just
/// now. Returns a line for each that stays, with why.
///
/// # Errors
/// As [`remove_superseded`].
pub fn remove_all_images(engine: &Engine) -> Result<Vec<String>> {
    let mut instances: BTreeMap<Utf8PathBuf, Result<Option<SuiteLock>>> = BTreeMap::new();
    let (mut own, mut shared, mut stay) = (Vec::new(), Vec::new(), Vec::new());
    for image in engine.named_images(SUITE_LABEL)? {
        let labels = engine.image_labels(&image)?;
        let text = |key: &str| labels.iter().find(|(name, _)| name == key).map_or("", |(_, text)| text.as_str());
        let runs = Utf8Path::new(text(RUNS_LABEL));
        if runs.as_str().is_empty() {
            shared.push(image);
            continue;
        }
        match instances.entry(runs.to_owned()).or_insert_with(|| free(runs, text(SUITE_LABEL))) {
            Ok(_) => own.push(image),
            Err(who) => stay.push(format!("the image {image} stays: {who:#}")),
        }
    }
    if stay.is_empty() {
        own.append(&mut shared);
        engine.remove_images(&own, IMAGES)?;
        engine.remove_superseded(SUITE_LABEL, IMAGES)?;
    } else {
        engine.remove_images(&own, IMAGES)?;
        for (runs, _) in instances.iter().filter(|(_, lock)| lock.is_ok()) {
            remove_superseded(engine, runs)?;
        }
        stay.extend(shared.iter().map(|image| format!("the image {image} stays: a suite that is in use may need it")));
    }
    let left = engine.named_images(SUITE_LABEL)?.into_iter().filter(|image| own.contains(image));
    stay.extend(left.map(|image| format!("the image {image} stays: a container uses it")));
    Ok(stay)
}

/// Takes the lock of the instance whose runs are in this folder; none where its checkout is gone.
///
/// # Errors
/// When a process holds it: which one.
fn free(runs: &Utf8Path, suite: &str) -> Result<Option<SuiteLock>> {
    match runs.is_dir() {
        true => SuiteLock::take(runs, suite, "cargo xtask gc").map(Some),
        false => Ok(None),
    }
}

/// By how many bytes `work` lets the free space of the engine's file system grow; 0 where that is not to be known.
///
/// # Errors
/// Those of `work`.
pub fn freed(engine: &Engine, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let storage = engine.storage();
    let free_mb = || storage.as_deref().and_then(|folder| free_mb(folder).ok());
    let before = free_mb();
    work()?;
    let grown_mb = free_mb().zip(before).map_or(0, |(after, before)| after.saturating_sub(before));
    Ok(grown_mb * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leftover(checkout: &Utf8Path, name: &str, state: &str) -> Leftover {
        let labels = [
            (SUITE_LABEL, "shop"),
            (CHECKOUT_LABEL, checkout.as_str()),
            (RUNS_LABEL, checkout.join("target/e2e/shop").as_str()),
            (CLUSTER_LABEL, "shop-1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Leftover::of(Container { name: name.to_owned(), state: state.to_owned(), labels: labels.to_vec() })
    }

    #[test]
    fn only_what_a_checkout_or_its_copies_made_is_its_own() {
        let root = Utf8Path::new("/work/shop");
        for (checkout, own) in [
            ("/work/shop", true),
            ("/work/shop/target/bench/work/shop", true),
            ("/work/shop2", false),
            ("/work/shop/wt", false),
            ("", false),
        ] {
            assert_eq!(leftover(Utf8Path::new(checkout), "n", "exited").is_of(root), own, "{checkout:?}");
        }
    }

    #[test]
    fn what_is_in_use_or_kept_is_not_free() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let node = |state: &str| leftover(root, "shop-1-control-plane", state);
        // A child that another test forks just then holds the lock until it has become its program.
        let once_free = |leftover: &Leftover| {
            let end = std::time::Instant::now() + Duration::from_secs(10);
            loop {
                match leftover.claim() {
                    Claim::InUse(_) if std::time::Instant::now() < end => std::thread::yield_now(),
                    claim => return claim,
                }
            }
        };
        let free = |state: &str| once_free(&node(state));
        assert!(matches!(free("exited"), Claim::Free(None)), "its checkout is gone");
        let runs = root.join("target/e2e/shop");
        std::fs::create_dir_all(runs.join("cluster")).unwrap();
        let record = r#"{"cluster":"shop-1","kubeconfig":"k","context":"c","namespace":"n","ports":{}}"#;
        std::fs::write(runs.join("cluster/run.json"), record).unwrap();
        assert!(matches!(free("running"), Claim::Free(Some(_))), "its run was killed");
        Files { dir: runs.join("cluster") }.write_kept().unwrap();
        assert!(matches!(free("running"), Claim::Kept(_)));
        let worker = leftover(root, "shop-1-worker", "running");
        assert!(matches!(once_free(&worker), Claim::Kept(_)), "each node of the cluster stays");
        let Claim::Free(Some(run)) = free("exited") else { panic!("a dead node is of no use") };
        let Claim::InUse(who) = node("exited").claim() else { panic!("a run holds it") };
        assert!(who.contains("cargo xtask gc"), "{who}");
        drop(run);
    }
}
