//! A project without a suite: the Dockerfiles and manifests that lie in it, what they are taken for, and what is wrong
//! with them for sure.
//!
//! What the tree does not tell is not guessed: who makes a file before a build, which namespaces a cluster has, what is
//! installed there. Such things are noted, and never told as mistakes.

mod builds;
mod calls;
mod contexts;
mod dockerfiles;
mod found;
mod images;
mod manifests;
pub(super) mod render;
mod rendered;
pub(super) mod tree;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::rules::Finding;
use crate::suite::yaml::Problem;

use manifests::Manifest;
use tree::Tree;

pub use found::{Scanned, Taken};

/// Looks at everything below `root`.
///
/// # Errors
/// When cargo cannot be asked. What is wrong with the project is the result.
pub fn scan(root: &Utf8Path) -> Result<Scanned> {
    let tree = Tree::read(root);
    let mut scanned = Scanned::default();
    for (folder, why) in &tree.unreadable {
        scanned.notes.push(format!("{folder}: cannot look into it: {why}"));
    }
    let dockerfiles: Vec<Utf8PathBuf> = tree.files.iter().filter(|file| is_dockerfile(file)).cloned().collect();
    let (builds, manifests) = rayon::join(|| builds::find(&tree), || Manifest::read_all(&tree));
    let builds = contexts::choose(&tree, &dockerfiles, &builds);
    dockerfiles::look_at(&tree, &builds, &mut scanned)?;
    manifests::look_at(&tree, manifests, &builds, &mut scanned);
    let place = |finding: &Finding| {
        let Problem { file, line, column, message, .. } = &finding.problem;
        (file.clone(), *line, *column, message.clone())
    };
    scanned.findings.sort_by_cached_key(place);
    scanned.findings.dedup();
    scanned.taken.sort();
    scanned.notes.sort();
    scanned.notes.dedup();
    Ok(scanned)
}

fn is_dockerfile(file: &Utf8Path) -> bool {
    let Some(name) = file.file_name() else { return false };
    let lower = name.to_lowercase();
    let is_named = |base: &str| {
        lower == base
            || lower.strip_prefix(base).is_some_and(|rest| rest.starts_with('.'))
            || lower.ends_with(&format!(".{base}"))
    };
    let of_other = [
        ".dockerignore",
        ".containerignore",
        ".j2",
        ".tmpl",
        ".tpl",
        ".template",
        ".in",
        ".erb",
        ".md",
        ".orig",
        ".rej",
        ".swp",
        ".bak",
    ];
    // A program's source that is about such files.
    let of_code = [".c", ".cs", ".go", ".h", ".java", ".js", ".lua", ".php", ".py", ".rb", ".rs", ".ts", ".vim"];
    let is_code = name == lower && of_code.iter().any(|ending| lower.ends_with(ending));
    (is_named("dockerfile") || is_named("containerfile"))
        && !is_code
        && !of_other.iter().any(|ending| lower.ends_with(ending))
}
