//! Puts the machine into the state that a scenario begins with.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e_support::Cancel;
use e2e_support::engine::{Engine, Flavor};
use serde_json::Value;

use crate::dockerfile::bases;
use crate::instance::Instance;
use crate::machine::Moment;
use crate::paths::Paths;
use crate::plan::BuildMode;
use crate::suite::Suite;

/// How long the engine may take to remove images.
const REMOVE: Duration = Duration::from_secs(300);
/// The machine counts as calm when others keep fewer cores than this busy…
pub(super) const CALM_CORES: f64 = 0.3;
/// …over this time.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes away everything that was compiled of the workspace: binaries, dependencies, images of the suite, and the
/// unnamed layers that builds on the same bases have left.
///
/// # Errors
/// When something cannot be removed, or the engine cannot forget the builds of one project alone.
pub(super) fn forget_builds(paths: &Paths, suite: &Suite, engine: &Engine) -> Result<()> {
    if engine.flavor() == Flavor::Docker {
        bail!("the scenario cold needs podman: docker cannot forget the cached layers of one project alone");
    }
    for entry in paths.target.read_dir_utf8().into_iter().flatten() {
        let entry = entry.with_context(|| format!("listing {}", paths.target))?;
        // What runs leave behind is no build.
        if entry.file_name() != "e2e" {
            remove(entry.path())?;
        }
    }
    let instance = Instance::of(paths, suite)?;
    // A script gives images the manifests' own names.
    let references = suite.images.iter().flat_map(|image| [instance.image(&image.reference), image.reference.clone()]);
    let mut names: Vec<String> = references.collect();
    names.push(crate::steps::dependencies_reference(&instance));
    engine.remove_images(&names, REMOVE)?;
    let bases = base_layers(paths, suite, engine)?;
    // What lies on top goes first, and the next look shows what was below it.
    let mut before = usize::MAX;
    loop {
        let layers: Vec<String> =
            engine.unnamed_images()?.iter().filter_map(|image| on_one_of(image, &bases)).collect();
        if layers.is_empty() || layers.len() >= before {
            return Ok(());
        }
        before = layers.len();
        engine.remove_images(&layers, REMOVE)?;
    }
}

fn remove(path: &Utf8Path) -> Result<()> {
    let meta = path.symlink_metadata().with_context(|| format!("looking at {path}"))?;
    let removed = if meta.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.with_context(|| format!("removing {path}"))
}

/// The layers of each image that a Dockerfile of the suite starts from.
fn base_layers(paths: &Paths, suite: &Suite, engine: &Engine) -> Result<Vec<Vec<Value>>> {
    let mut references = BTreeSet::new();
    for image in &suite.images {
        for build in [BuildMode::Host, BuildMode::Container] {
            references.extend(bases(&paths.root, image, build)?);
        }
    }
    let mut all = Vec::new();
    for reference in references {
        all.extend(engine.image(&reference)?.map(|image| layers(&image)));
    }
    Ok(all)
}

fn layers(image: &Value) -> Vec<Value> {
    image["RootFS"]["Layers"].as_array().cloned().unwrap_or_default()
}

/// The id of an image that stands on one of these bases and is not itself one.
fn on_one_of(image: &Value, bases: &[Vec<Value>]) -> Option<String> {
    let own = layers(image);
    let stands = bases.iter().any(|base| !base.is_empty() && own.len() > base.len() && own.starts_with(base));
    stands.then(|| image["Id"].as_str().map(str::to_owned)).flatten()
}

/// The ids of all unnamed images.
///
/// # Errors
/// When the engine does not answer.
pub(super) fn unnamed(engine: &Engine) -> Result<BTreeSet<String>> {
    let images = engine.unnamed_images()?;
    Ok(images.iter().filter_map(|image| image["Id"].as_str().map(str::to_owned)).collect())
}

/// Removes the unnamed images that are not among `before`.
///
/// # Errors
/// When the engine does not answer.
pub(super) fn remove_new(engine: &Engine, before: &BTreeSet<String>) -> Result<()> {
    let new: Vec<String> = unnamed(engine)?.difference(before).cloned().collect();
    engine.remove_images(&new, REMOVE)
}

/// Waits until others leave the machine alone, for half a minute at most, and returns how many cores they kept busy in
/// the last second; none where the system does not tell.
pub(super) fn calm(cancel: &Cancel) -> Option<f64> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (before, began) = (Moment::now()?, Instant::now());
        let cancelled = cancel.sleep(LOOK);
        let cores = (Moment::now()?.cpu_s - before.cpu_s) / began.elapsed().as_secs_f64();
        if cancelled || cores < CALM_CORES || Instant::now() >= end {
            return Some(cores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_stands_on_a_base_is_a_layer_of_a_build() {
        let image = |layers: &[&str]| json!({"Id": "x", "RootFS": {"Layers": layers}});
        let bases = vec![layers(&image(&["a", "b"])), Vec::new()];
        for (own, expected) in
            [(&["a", "b", "c"][..], true), (&["a", "b"], false), (&["a", "c", "b"], false), (&["z"], false)]
        {
            assert_eq!(on_one_of(&image(own), &bases).is_some(), expected, "{own:?}");
        }
    }
}
