//! kustomizations and charts: what they name, and what comes out of them where the tools are there.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_yaml::Value;

use super::tree::{Tree, within};
use crate::kustomize::{Kustomize, is_refused, print};
use crate::plan::object::list;
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean};

/// The keys under which a kustomization names what it brings; under the others stands what it changes.
const BRINGING: [&str; 3] = ["resources", "bases", "components"];

/// A folder with a kustomization.
#[derive(Debug)]
pub(in crate::check) struct Kustomization {
    pub(in crate::check) folder: Utf8PathBuf,
    pub(in crate::check) file: Utf8PathBuf,
    pub(super) is_component: bool,
    /// Files and folders of the project that it brings, relative to the project.
    pub(in crate::check) brings: BTreeSet<Utf8PathBuf>,
    /// Files that say what it changes.
    pub(in crate::check) changes: BTreeSet<Utf8PathBuf>,
    /// Why it cannot be rendered from files of this machine alone.
    pub(super) not_rendered: Option<String>,
}

impl Kustomization {
    /// Reads `file`, with what is wrong with the paths that it names; none where it cannot be read.
    pub(in crate::check) fn read(tree: &Tree, file: &Utf8Path) -> Option<(Kustomization, Vec<Problem>)> {
        let source = Source::new(file, tree.text(file)?);
        let folder = file.parent().unwrap_or(Utf8Path::new("")).to_owned();
        let mut kustomization = Kustomization {
            folder,
            file: file.to_owned(),
            is_component: false,
            brings: BTreeSet::new(),
            changes: BTreeSet::new(),
            not_rendered: None,
        };
        let value: Value = match source.parse() {
            Ok(value) => value,
            Err(problem) => {
                kustomization.not_rendered = Some(problem.message.clone());
                return Some((kustomization, vec![problem]));
            }
        };
        kustomization.is_component = value.get("kind").and_then(Value::as_str) == Some("Component");
        if ["helmCharts", "helmChartInflationGenerator", "generators", "transformers"]
            .iter()
            .any(|key| value.get(key).is_some())
        {
            kustomization.not_rendered = Some("it runs charts or plugins".into());
        }
        let problems = kustomization.take(tree, &source, &value);
        Some((kustomization, problems))
    }

    fn take(&mut self, tree: &Tree, source: &Source, value: &Value) -> Vec<Problem> {
        let mut missing = Vec::new();
        for (path, place) in named(value) {
            let Some(inside) = within(&self.folder, path) else { continue };
            if is_remote(path) && !tree.root.join(&inside).exists() {
                self.not_rendered = Some(format!("it fetches {path}"));
                continue;
            }
            if tree.root.join(&inside).exists() {
                let is_brought = matches!(place.first(), Some(Segment::Key(key)) if BRINGING.contains(&key.as_str()));
                if is_brought {
                    self.brings.insert(inside)
                } else {
                    self.changes.insert(inside)
                };
            } else {
                missing.push((inside, path.to_owned(), place));
            }
        }
        let paths: Vec<Utf8PathBuf> = missing.iter().map(|(inside, _, _)| inside.clone()).collect();
        let ignored = tree.ignored(&paths);
        if let Some((path, _, _)) = missing.first() {
            self.not_rendered.get_or_insert_with(|| format!("{path} is not there"));
        }
        // Where nothing of several is there a program writes all of it, beside this file.
        let is_written_first = missing.len() > 1 && self.brings.is_empty() && self.changes.is_empty();
        let problem = |(inside, path, place): (Utf8PathBuf, String, Vec<Segment>)| {
            let near = crate::plan::neighbours(&tree.root, &inside).into_iter().filter(|path| *path != self.file);
            let near: Vec<String> = near.collect();
            let hint = did_you_mean(inside.as_str(), near.iter().map(String::as_str));
            source.problem(&place, format!("`{path}`: there is no such file or folder")).hint(hint)
        };
        missing.retain(|(inside, _, _)| !ignored.contains(inside));
        missing.into_iter().map(problem).filter(|problem| !is_written_first || problem.hint.is_some()).collect()
    }
}

/// The paths that a kustomization names, and where.
fn named(value: &Value) -> Vec<(&str, Vec<Segment>)> {
    let mut all = Vec::new();
    for key in ["resources", "bases", "components", "patchesStrategicMerge", "crds", "configurations"] {
        for (at, item) in list(value, &[key]).iter().enumerate() {
            all.extend(item.as_str().map(|path| (path, crate::at![key, at].to_vec())));
        }
    }
    for key in ["patches", "patchesJson6902", "replacements"] {
        for (at, item) in list(value, &[key]).iter().enumerate() {
            let path = item.get("path").and_then(Value::as_str);
            all.extend(path.map(|path| (path, crate::at![key, at, "path"].to_vec())));
        }
    }
    // A patch may stand there itself.
    all.retain(|(path, _)| !path.trim().contains(['\n', ' ', '{']));
    all
}

/// Whether a resource is fetched from a repository or an address.
fn is_remote(path: &str) -> bool {
    let mut parts = path.split('/');
    let is_host = parts.next().is_some_and(|first| !first.starts_with('.') && first.contains('.'));
    let marks = ["://", "//", "?ref=", "git@"];
    marks.iter().any(|mark| path.contains(mark)) || (is_host && parts.count() >= 2)
}

/// Marks those that need one that cannot be rendered, and tells which ones no other one uses: folders that stand for a
/// whole.
pub(super) fn wholes(all: &mut [Kustomization]) -> Vec<usize> {
    let folders: Vec<Utf8PathBuf> = all.iter().map(|one| one.folder.clone()).collect();
    let users: Vec<Vec<usize>> = all
        .iter()
        .enumerate()
        // One that brings itself is a whole all the same: kustomize tells what is wrong with it.
        .map(|(at, one)| {
            (0..folders.len()).filter(|other| *other != at && one.brings.contains(&folders[*other])).collect()
        })
        .collect();
    // As often as there are kustomizations: what goes in a cycle ends here, and fails in kustomize.
    for _ in 0..all.len() {
        let mut changed = false;
        for (at, used) in users.iter().enumerate() {
            if all[at].not_rendered.is_none()
                && let Some(why) = used.iter().find_map(|other| all[*other].not_rendered.clone())
            {
                all[at].not_rendered = Some(why);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let used: BTreeSet<usize> = users.into_iter().flatten().collect();
    (0..all.len()).filter(|at| !used.contains(at) && !all[*at].is_component).collect()
}

/// The programs that render; none where one is not installed.
#[derive(Debug)]
pub(super) struct Tools {
    kustomize: Option<Kustomize>,
    has_helm: bool,
}

impl Tools {
    pub(super) fn find() -> Tools {
        Tools { kustomize: Kustomize::on_path(), has_helm: which::which("helm").is_ok() }
    }

    /// What comes out of a chart with its own values.
    ///
    /// # Errors
    /// Why nothing does.
    pub(super) fn helm(&self, folder: &Utf8Path) -> Result<String, String> {
        if !self.has_helm {
            return Err("helm is not installed".into());
        }
        print("helm".into(), &["template", "release"], folder)
    }
}

impl Kustomization {
    /// What comes out of it.
    ///
    /// # Errors
    /// Why nothing does.
    pub(super) fn render(&self, tree: &Tree, tools: &Tools) -> Result<String, String> {
        if let Some(why) = &self.not_rendered {
            return Err(why.clone());
        }
        let Some(kustomize) = &tools.kustomize else { return Err("neither kustomize nor kubectl is installed".into()) };
        let printed = kustomize.render(&tree.root.join(&self.folder));
        printed.map_err(|said| said.replace(&format!("{}/", tree.root), ""))
    }

    /// What is wrong with it for sure, where kustomize has `said` why it does not render it.
    pub(super) fn refused(&self, said: &str) -> Option<Problem> {
        let message = format!("it cannot be rendered: {said}");
        let problem = Problem { file: self.file.clone(), line: 1, column: 1, message, ..Problem::default() };
        (self.not_rendered.is_none() && is_refused(said)).then_some(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_is_told_from_what_is_there() {
        for (path, remote) in [
            ("../base", false),
            ("deployment.yaml", false),
            ("https://example.com/a.yaml", true),
            ("github.com/acme/shop/deploy?ref=v1", true),
            ("github.com/acme/shop/deploy", true),
            ("git@github.com:acme/shop", true),
            ("shop.io.yaml", false),
        ] {
            assert_eq!(is_remote(path), remote, "{path}");
        }
    }
}
