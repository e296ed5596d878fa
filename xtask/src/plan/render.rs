//! Groups of manifests that kustomize makes.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::unusable;
use crate::kustomize::{Kustomize, kustomization_in};
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Source};

/// What comes out of each folder that the suite has rendered, under the folder's path; nothing where nothing that
/// renders is here yet. Each takes a process, so they are done side by side.
pub(super) fn all(root: &Utf8Path, suite: &Suite) -> Vec<Result<Source, Problem>> {
    let folders: Vec<(usize, &Utf8PathBuf)> =
        suite.manifests.iter().enumerate().filter_map(|(at, group)| Some((at, group.kustomize.as_ref()?))).collect();
    if folders.is_empty() {
        return Vec::new();
    }
    let kustomize = Kustomize::of_project(root);
    let one = |(at, folder): &(usize, &Utf8PathBuf)| {
        let place = crate::at!["manifests", *at, "kustomize"];
        if !root.join(folder).is_dir() {
            return Some(Err(unusable(root, suite, &place, folder, "there is no such folder")));
        }
        if kustomization_in(root, folder).is_none() {
            return Some(Err(unusable(root, suite, &place, folder, "it has no kustomization.yaml")));
        }
        Some(match kustomize.as_ref()?.render(&root.join(folder)) {
            Ok(text) => Ok(Source::new((*folder).clone(), text)),
            Err(said) => Err(suite.source.problem(&place, format!("`{folder}` cannot be rendered: {said}"))),
        })
    };
    folders.par_iter().filter_map(one).collect()
}

/// The groups of which nothing is known, for nothing that renders them is here: one problem each.
pub fn unrendered(suite: &Suite, texts: &BTreeMap<Utf8PathBuf, Source>) -> Vec<Problem> {
    let groups = suite.manifests.iter().enumerate();
    let missing = groups.filter_map(|(at, group)| {
        let folder = group.kustomize.as_ref().filter(|folder| !texts.contains_key(*folder))?;
        let message = format!("`{folder}` is not rendered: neither kubectl nor kustomize is here yet");
        let hint = format!("`setup {}` puts kubectl in place", suite.name);
        Some(suite.source.problem(&crate::at!["manifests", at, "kustomize"], message).hint(Some(hint)))
    });
    missing.collect()
}
