//! kustomizations and charts: what they name, and what comes out of them where the tools are there.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Job;
use serde_yaml::Value;
use xshell::{Shell, cmd};

use super::tree::Tree;
use super::within;
use crate::plan::object::list;
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean};

/// Rendering is done on this machine, from files.
const DEADLINE: Duration = Duration::from_secs(30);
/// What kustomize's own file may be called.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The keys under which a kustomization names what it brings; under the others stands what it changes.
const BRINGING: [&str; 3] = ["resources", "bases", "components"];

/// Whether a file is kustomize's own.
pub(super) fn is_kustomization(file: &Utf8Path) -> bool {
    file.file_name().is_some_and(|name| NAMES.contains(&name))
}

/// A folder with a kustomization.
#[derive(Debug)]
pub(super) struct Kustomization {
    pub(super) folder: Utf8PathBuf,
    pub(super) file: Utf8PathBuf,
    pub(super) is_component: bool,
    /// Files and folders of the project that it brings, relative to the project.
    pub(super) brings: BTreeSet<Utf8PathBuf>,
    /// Files that say what it changes.
    pub(super) changes: BTreeSet<Utf8PathBuf>,
    /// Why it cannot be rendered from files of this machine alone.
    pub(super) not_rendered: Option<String>,
}

impl Kustomization {
    /// Reads `file`, with what is wrong with the paths that it names; none where it cannot be read.
    pub(super) fn read(tree: &Tree, file: &Utf8Path) -> Option<(Kustomization, Vec<Problem>)> {
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

/// A program and its first arguments.
type Command = (&'static str, &'static [&'static str]);

/// The programs that render; none where one is not installed.
#[derive(Debug)]
pub(super) struct Tools {
    kustomize: Option<Command>,
    has_helm: bool,
}

impl Tools {
    pub(super) fn find() -> Tools {
        let has = |name: &str| which::which(name).is_ok();
        let kustomize = match (has("kustomize"), has("kubectl")) {
            (true, _) => Some(("kustomize", &["build"][..])),
            (false, true) => Some(("kubectl", &["kustomize"][..])),
            _ => None,
        };
        Tools { kustomize, has_helm: has("helm") }
    }

    /// What comes out of a chart with its own values.
    ///
    /// # Errors
    /// Why nothing does.
    pub(super) fn helm(&self, folder: &Utf8Path) -> Result<String, String> {
        if !self.has_helm {
            return Err("helm is not installed".into());
        }
        print(("helm", &["template", "release"]), folder)
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
        let Some(command) = tools.kustomize else { return Err("neither kustomize nor kubectl is installed".into()) };
        let printed = print(command, &tree.root.join(&self.folder));
        printed.map_err(|said| said.replace(&format!("{}/", tree.root), ""))
    }

    /// What is wrong with it for sure, where kustomize has `said` why it does not render it.
    pub(super) fn refused(&self, said: &str) -> Option<Problem> {
        let message = format!("it cannot be rendered: {said}");
        let problem = Problem { file: self.file.clone(), line: 1, column: 1, message, ..Problem::default() };
        (self.not_rendered.is_none() && is_refused(said)).then_some(problem)
    }
}

/// What a program prints of a folder, or what it says is wrong.
fn print((program, arguments): Command, folder: &Utf8Path) -> Result<String, String> {
    let told = Shell::new()
        .map_err(anyhow::Error::from)
        .and_then(|sh| Job::new(cmd!(sh, "{program} {arguments...} {folder}")).deadline(DEADLINE).read());
    told.map_err(|error| format!("{program}: {}", said(&format!("{error:#}"), folder)))
}

/// What a program says is wrong, without its log's own words and without the place of the project on this machine.
fn said(text: &str, folder: &Utf8Path) -> String {
    let lines = || text.lines();
    let quoted = |line: &str| {
        let said = line.trim_end().split_once("err=\"")?.1;
        Some(said.strip_suffix('"').unwrap_or(said).replace("\\\"", "\"").replace("\\n", " "))
    };
    // Of a chain of causes the last one.
    let last = |said: String| said.rsplit("accumulating resources: ").next().unwrap_or_default().to_owned();
    let inner = |said: String| said.split_once("rror: ").map_or(said.clone(), |(_, inner)| inner.to_owned());
    let said = lines().find_map(quoted).map(last).map(inner);
    let said = said.or_else(|| lines().find_map(|line| Some(line.split_once("rror: ")?.1.to_owned())));
    let said = said.or_else(|| lines().next().map(str::to_owned)).unwrap_or_default();
    said.replace(&format!("{folder}/"), "").replace(folder.as_str(), ".").trim().to_owned()
}

/// Whether kustomize says of its own input that it contradicts itself, whatever its version and whatever is made before.
fn is_refused(said: &str) -> bool {
    let marks = [
        "unknown field",
        "no resource matches strategic merge patch",
        "no matches for Id",
        "may not add resource with an already registered id",
        "exists; behavior must be merge or replace",
    ];
    marks.iter().any(|mark| said.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kustomize_says_is_told_in_its_own_words() {
        let log = |said: &str| {
            format!(
                "`kubectl kustomize /p/dev`: exit code 1: E1127 21:44:08.970949   23669 run.go:72] \"command failed\" err=\"{said}\""
            )
        };
        for (text, expected, is_wrong) in [
            (
                log("invalid Kustomization: json: unknown field \\\"secretGenerators\\\""),
                "invalid Kustomization: json: unknown field \"secretGenerators\"",
                true,
            ),
            (
                log("no resource matches strategic merge patch \\\"Deployment.v1.apps/a.[noNs]\\\""),
                "no resource matches strategic merge patch \"Deployment.v1.apps/a.[noNs]\"",
                true,
            ),
            (
                log("id resid.ResId{Kind:\\\"Secret\\\"} exists; behavior must be merge or replace"),
                "id resid.ResId{Kind:\"Secret\"} exists; behavior must be merge or replace",
                true,
            ),
            (
                log("accumulating resources: accumulation err='x': accumulating resources: no matches for Id A"),
                "no matches for Id A",
                true,
            ),
            (
                log("accumulating resources: MalformedYAMLError: yaml: line 18: no '-' in File: a.yaml"),
                "yaml: line 18: no '-' in File: a.yaml",
                false,
            ),
            (
                log("file sources: [password.txt]: evalsymlink failure on '/p/dev/password.txt'"),
                "file sources: [password.txt]: evalsymlink failure on 'password.txt'",
                false,
            ),
            ("Error: no matches for Id A\nmore".to_owned(), "no matches for Id A", true),
            (
                "`kustomize build /p/dev`: took longer than 30 s".to_owned(),
                "`kustomize build .`: took longer than 30 s",
                false,
            ),
        ] {
            let said = said(&text, "/p/dev".into());
            assert_eq!((said.as_str(), is_refused(&said)), (expected, is_wrong), "{text}");
        }
    }

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
