//! A path dependency that an image's build needs and that no COPY brings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Job;
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{Subject, on_line};
use crate::dockerfile::BUILD_STAGE;
use crate::suite::yaml::{Problem, did_you_mean};

/// The workspace's packages: where each lies, and which others it is built with.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    folders: BTreeMap<String, Utf8PathBuf>,
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Packages {
    /// Asks cargo, which needs no network for it.
    ///
    /// # Errors
    /// When a manifest is wrong: what cargo says, with file and line.
    pub fn read(root: &Utf8Path) -> Result<Packages> {
        let sh = Shell::new()?;
        sh.change_dir(root);
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let ask = cmd!(sh, "{cargo} metadata --no-deps --offline --format-version 1");
        let text =
            Job::new(ask).deadline(Duration::from_secs(30)).read().context("reading the workspace's manifests")?;
        Ok(Packages::parse(root, &serde_json::from_str(&text).context("reading cargo's metadata")?))
    }

    fn parse(root: &Utf8Path, metadata: &Value) -> Packages {
        let mut packages = Packages::default();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let (Some(name), Some(manifest)) = (package["name"].as_str(), package["manifest_path"].as_str()) else {
                continue;
            };
            let folder = Utf8Path::new(manifest).parent().unwrap_or(root);
            let folder = folder.strip_prefix(root).unwrap_or(folder);
            packages.folders.insert(name.to_owned(), folder.to_owned());
            let needs = package["dependencies"].as_array().into_iter().flatten().filter(|dependency| {
                // Tests' dependencies are not compiled into a binary.
                dependency["path"].is_string() && dependency["kind"] != "dev"
            });
            let needs = needs.filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
            packages.needs.insert(name.to_owned(), needs.collect());
        }
        packages
    }

    /// The package and all that it is built with, with their folders.
    fn built_with(&self, package: &str) -> BTreeMap<&str, &Utf8Path> {
        let mut all = BTreeMap::new();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            let Some((name, folder)) = self.folders.get_key_value(name) else { continue };
            if all.insert(name.as_str(), folder.as_path()).is_none() {
                open.extend(self.needs.get(name).into_iter().flatten().map(String::as_str));
            }
        }
        all
    }
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (image, source, dockerfile) in &subject.dockerfiles {
        let Some(package) = &image.package else { continue };
        if !subject.packages.folders.contains_key(package) {
            let at = subject.suite.images.iter().position(|other| other.name == image.name).unwrap_or(0);
            let hint = did_you_mean(package, subject.packages.folders.keys().map(String::as_str));
            let message = format!("the workspace has no package `{package}`");
            problems.push(subject.suite.source.problem(&crate::at!["images", at, "package"], message).hint(hint));
            continue;
        }
        let Some(stage) = dockerfile.stage(BUILD_STAGE) else {
            let message = format!("no stage is named `{BUILD_STAGE}`, the one that compiles {package}");
            problems.push(on_line(source, 1, message, Some(format!("write FROM … AS {BUILD_STAGE}"))));
            continue;
        };
        let copied: Vec<&str> = dockerfile
            .chain(stage)
            .iter()
            .flat_map(|stage| &stage.instructions)
            .filter(|instruction| instruction.flag("from").is_none())
            .filter_map(|instruction| instruction.copies())
            .flat_map(|(from, _)| from.iter().map(String::as_str))
            .collect();
        let compiles = |words: &[String]| words.windows(2).any(|pair| pair[0].ends_with("cargo") && pair[1] == "build");
        let build = stage.instructions.iter().find(|instruction| compiles(&instruction.words));
        let line = build.map_or(stage.line, |instruction| instruction.line);
        for (name, folder) in subject.packages.built_with(package) {
            if copied.iter().any(|path| brings_sources(path, folder)) {
                continue;
            }
            let message = if name == package {
                format!("{package} is compiled here, but no COPY before it brings its sources in {folder}/")
            } else {
                format!(
                    "{package} is compiled here with its path dependency {name}, but no COPY before it brings {folder}/"
                )
            };
            problems.push(on_line(source, line, message, Some(format!("add `COPY {folder}/ {folder}/`"))));
        }
    }
    problems
}

/// Whether copying `path` brings the sources of the package in `folder`; its manifest alone does not.
fn brings_sources(path: &str, folder: &Utf8Path) -> bool {
    let path = Utf8Path::new(path.trim_start_matches("./").trim_end_matches('/'));
    if path.as_str().is_empty() || path.as_str() == "." {
        return true;
    }
    folder.starts_with(path) || path == folder.join("src")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn needs_are_followed_and_tests_needs_are_not() {
        let package = |name: &str, needs: Value| json!({"name": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": needs});
        let metadata = json!({"packages": [
            package("gateway", json!([{"name": "api", "path": "/w/api", "kind": null},
                {"name": "testbed", "path": "/w/testbed", "kind": "dev"}, {"name": "serde", "kind": null}])),
            package("api", json!([{"name": "base", "path": "/w/base", "kind": null}])),
            package("base", json!([])), package("testbed", json!([]))]});
        let packages = Packages::parse(Utf8Path::new("/w"), &metadata);
        assert_eq!(packages.built_with("gateway").into_keys().collect::<Vec<_>>(), ["api", "base", "gateway"]);
    }

    #[test]
    fn a_manifest_alone_brings_no_sources() {
        for (path, brings) in [
            ("api/", true),
            ("./api", true),
            (".", true),
            ("api/src/", true),
            ("api/Cargo.toml", false),
            ("gateway", false),
        ] {
            assert_eq!(brings_sources(path, Utf8Path::new("api")), brings, "{path}");
        }
    }
}
