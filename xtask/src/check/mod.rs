//! What would go wrong, before it costs minutes: read off the parsed suite, its Dockerfiles, its
//! manifests and Cargo's metadata, without an engine or a cluster.
//!
//! Each rule is a file. No rule names a file or a value of this project.

mod copies;
mod image_paths;
mod images;
mod packages;

use anyhow::Result;
use camino::Utf8Path;

use crate::dockerfile::Dockerfile;
use crate::plan::{self, Object, Plan};
use crate::setup::catalog::Catalog;
use crate::suite::yaml::{Problem, Problems, Source};
use crate::suite::{Image, Suite};

pub use packages::Packages;

/// Everything that the rules look at.
pub struct Subject<'a> {
    pub root: &'a Utf8Path,
    pub suite: &'a Suite,
    pub catalog: &'a Catalog,
    /// The suite's images, each with its Dockerfile; those whose file is missing are left out.
    pub dockerfiles: Vec<(&'a Image, Source, Dockerfile)>,
    /// The objects of all manifests, each with the text that it stands in.
    pub objects: Vec<(Source, Object)>,
    pub packages: Packages,
}

/// Looks for all that is wrong with `suite`.
///
/// # Errors
/// When Cargo's metadata or the catalog cannot be read. What the rules find is the result.
pub fn check(root: &Utf8Path, suite: &Suite) -> Result<Vec<Problem>> {
    let catalog = Catalog::read(root)?;
    let packages = Packages::read(root)?;
    let mut problems = Vec::new();
    let mut dockerfiles = Vec::new();
    for (at, image) in suite.images.iter().enumerate() {
        match Source::read(root, &image.dockerfile) {
            Ok(source) => {
                let parsed = Dockerfile::parse(&source.text);
                dockerfiles.push((image, source, parsed));
            }
            Err(problem) => {
                let path = crate::at!["images", at, "dockerfile"];
                problems.push(suite.source.problem(&path, format!("`{}`: {}", image.dockerfile, problem.message)));
            }
        }
    }
    let mut objects = Vec::new();
    match plan::read_manifests(root, suite) {
        Ok(texts) => {
            for source in texts.values() {
                match plan::object::parse(source) {
                    Ok(found) => objects.extend(found.into_iter().map(|object| (source.clone(), object))),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        Err(found) => problems.extend(found.0),
    }
    if problems.is_empty()
        && let Err(found) = Plan::load(root, suite, plan::BuildMode::Host)
    {
        problems.extend(found.0);
    }
    let subject = Subject { root, suite, catalog: &catalog, dockerfiles, objects, packages };
    for rule in [copies::check, packages::check, image_paths::check, images::check] {
        problems.extend(rule(&subject));
    }
    // Sorted, and each once.
    Ok(match Problems(problems).into_result() {
        Ok(()) => Vec::new(),
        Err(Problems(problems)) => problems,
    })
}

/// A problem on a line of a Dockerfile.
fn on_line(source: &Source, line: usize, message: String, hint: Option<String>) -> Problem {
    Problem { file: source.file.clone(), line, column: 1, message, hint }
}
