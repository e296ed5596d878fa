//! kustomize: the program that renders a kustomization, and what it says.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Job;
use xshell::{Shell, cmd};

use crate::paths;
use crate::setup::kubectl;

/// Rendering is done on this machine, from files.
const DEADLINE: Duration = Duration::from_secs(30);
/// What kustomize's own file may be called.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a file is kustomize's own.
pub(crate) fn is_kustomization(file: &Utf8Path) -> bool {
    file.file_name().is_some_and(|name| NAMES.contains(&name))
}

/// kustomize's own file in `folder`, both relative to `root`; none where there is none.
pub(crate) fn kustomization_in(root: &Utf8Path, folder: &Utf8Path) -> Option<Utf8PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).find(|file| root.join(file).is_file())
}

/// A program that renders.
#[derive(Debug)]
pub(crate) struct Kustomize {
    program: Utf8PathBuf,
    words: &'static [&'static str],
}

impl Kustomize {
    /// The kubectl that the set-up has put in place for the project `root`, so that a run and what is done before it
    /// render alike; else what is on PATH; none where nothing is.
    pub(crate) fn of_project(root: &Utf8Path) -> Option<Kustomize> {
        // A catalog that cannot be read is told of by whoever needs it.
        let cache = paths::cache().ok();
        let own = cache.and_then(|cache| kubectl::find(root, &cache).ok().flatten());
        own.map(|program| Kustomize { program, words: &["kustomize"] }).or_else(Kustomize::on_path)
    }

    /// kustomize itself, or kubectl, which has it in it; none where neither is on PATH.
    pub(crate) fn on_path() -> Option<Kustomize> {
        let has = |name: &str| which::which(name).is_ok();
        match (has("kustomize"), has("kubectl")) {
            (true, _) => Some(Kustomize { program: "kustomize".into(), words: &["build"] }),
            (false, true) => Some(Kustomize { program: "kubectl".into(), words: &["kustomize"] }),
            _ => None,
        }
    }

    /// What comes out of the kustomization in `folder`.
    ///
    /// # Errors
    /// What kustomize says is wrong with it.
    pub(crate) fn render(&self, folder: &Utf8Path) -> Result<String, String> {
        print(&self.program, self.words, folder)
    }
}

/// What a program prints of a folder.
///
/// # Errors
/// What it says is wrong.
pub(crate) fn print(program: &Utf8Path, words: &[&str], folder: &Utf8Path) -> Result<String, String> {
    let told = Shell::new()
        .map_err(anyhow::Error::from)
        .and_then(|sh| Job::new(cmd!(sh, "{program} {words...} {folder}")).deadline(DEADLINE).read());
    let name = program.file_name().unwrap_or(program.as_str());
    told.map_err(|error| format!("{name}: {}", said(&format!("{error:#}"), folder)))
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
pub(crate) fn is_refused(said: &str) -> bool {
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
}
