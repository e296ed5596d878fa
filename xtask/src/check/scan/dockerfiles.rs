//! The Dockerfiles of a project, those of each Cargo workspace together.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::builds;
use super::contexts::{self, Chosen};
use super::found::{Scanned, Taken, empty_suite, judge, shown};
use super::tree::{Tree, within};
use crate::check::cargo::Packages;
use crate::check::dockerfile;
use crate::check::rules::{self, Finding};
use crate::check::subject::{Built, Elsewhere, Subject};
use crate::dockerfile::script;
use crate::setup::catalog::Catalog;

/// So many things that are not known are told of one Dockerfile.
const TOLD: usize = 5;

/// Looks at the Dockerfiles, those of each Cargo workspace together.
pub(super) fn look_at(tree: &Tree, builds: &[Chosen], scanned: &mut Scanned) -> Result<()> {
    let suite = empty_suite();
    let mut built = Vec::new();
    for (at, chosen) in builds.iter().enumerate() {
        let Some(text) = tree.text(&chosen.image.dockerfile) else {
            scanned
                .notes
                .push(format!("{}: a link, too long, or not to be read; not looked at", chosen.image.dockerfile));
            continue;
        };
        built.push((chosen, Built::new(&tree.root, &chosen.image, at, text)));
    }
    let recipes = Recipes::default();
    let made: Vec<BTreeSet<Utf8PathBuf>> = built
        .par_iter()
        .map(|(chosen, built)| {
            contexts::made_before(tree, built, chosen.said.is_some(), &|name| recipes.mention(tree, name))
        })
        .collect();
    let mut by_workspace: BTreeMap<Option<Utf8PathBuf>, Vec<Built<'_>>> = BTreeMap::new();
    for ((chosen, mut built), made) in built.into_iter().zip(made) {
        let image = &chosen.image;
        let called =
            if chosen.images.is_empty() { String::new() } else { format!(", image {}", chosen.images.join(", ")) };
        let why = match &chosen.said {
            Some((file, line)) => format!("{file}:{line}"),
            None => "by what it copies".to_owned(),
        };
        let target = image.target.as_ref().map_or_else(String::new, |target| format!(", target {target}"));
        let as_what = format!("Dockerfile, context {} ({why}){target}{called}", shown(&image.context));
        scanned.taken.push(Taken { path: image.dockerfile.clone(), as_what });
        if !made.is_empty() {
            let names: Vec<&str> = made.iter().take(TOLD).map(|path| path.as_str()).collect();
            let more = made
                .len()
                .checked_sub(TOLD)
                .filter(|more| *more > 0)
                .map_or_else(String::new, |more| format!(" and {more} more"));
            let names = names.join(", ");
            scanned
                .notes
                .push(format!("{}: not in the tree, made before the build perhaps: {names}{more}", image.dockerfile));
        }
        let unread = dockerfile::check(&built, true);
        if !unread.is_empty() {
            scanned.findings.extend(unread.into_iter().map(|problem| Finding { class: rules::DOCKERFILE, problem }));
            continue;
        }
        if built.file.stages.is_empty() {
            scanned.notes.push(format!("{}: it has no FROM; not looked at", image.dockerfile));
            continue;
        }
        built.context.assume(made);
        by_workspace.entry(workspace(tree, &built)).or_default().push(built);
    }
    let elsewhere = Elsewhere::default();
    let catalog = Catalog::default();
    let sources = BTreeMap::new();
    for (folder, built) in by_workspace {
        let mut packages = match &folder {
            Some(folder) => Packages::read(&tree.root.join(folder))?,
            None => Packages::default(),
        };
        let wrong = std::mem::take(&mut packages.problems);
        if let (Some(folder), Some(problem)) = (&folder, wrong.first()) {
            scanned.notes.push(format!("{}: {}", folder.join("Cargo.toml"), problem.message));
        }
        let subject = Subject {
            root: &tree.root,
            suite: &suite,
            catalog: &catalog,
            built,
            sources: &sources,
            objects: &[],
            is_whole: false,
            elsewhere: Some(&elsewhere),
            index: BTreeMap::new(),
            uses: BTreeMap::new(),
            packages,
        };
        judge(&subject, &mut scanned.findings);
    }
    Ok(())
}

/// The recipes' texts, read when they are first asked for.
#[derive(Default)]
struct Recipes(std::sync::OnceLock<Vec<String>>);

impl Recipes {
    /// Whether a recipe that is no Dockerfile speaks of a file of this name.
    fn mention(&self, tree: &Tree, name: &str) -> bool {
        let texts = self.0.get_or_init(|| {
            let files = tree.files.par_iter().filter(|file| builds::is_recipe(file));
            files.filter_map(|file| tree.text(file)).collect()
        });
        !name.is_empty() && texts.iter().any(|text| text.contains(name))
    }
}

/// The Cargo workspace that a Dockerfile compiles: the folder of the manifest in its context, or beside it.
fn workspace(tree: &Tree, built: &Built<'_>) -> Option<Utf8PathBuf> {
    if !built.instructions().any(|run| !script::builds(run).is_empty()) {
        return None;
    }
    let context = within("".into(), built.image.context.as_str())?;
    let beside = built.image.dockerfile.parent().map(Utf8Path::to_owned);
    let has_manifest = |folder: &Utf8PathBuf| tree.root.join(folder).join("Cargo.toml").is_file();
    [Some(context), beside].into_iter().flatten().find(has_manifest)
}
