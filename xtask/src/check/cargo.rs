//! What Cargo knows of the project's packages.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Job;
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::suite::yaml::Problem;
use crate::suite::{Specs, SpecsProgram, Suite};

/// So many packages outside of the workspace are asked about; each costs a call of cargo.
const OUTSIDE: usize = 20;

/// The workspace's packages, and those outside of it that they depend on by path.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// The workspace's folder; none where the project has no Rust.
    pub(super) root: Option<Utf8PathBuf>,
    /// By their folders.
    pub(super) all: BTreeMap<Utf8PathBuf, Package>,
    /// The packages that a build without a selection compiles.
    pub(super) default: Vec<String>,
    /// What is wrong with the manifests themselves.
    pub(super) problems: Vec<Problem>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) folder: Utf8PathBuf,
    pub(super) is_member: bool,
    /// The folders of the packages that it is built with.
    pub(super) needs: Vec<Utf8PathBuf>,
    pub(super) targets: Vec<Target>,
}

impl Package {
    /// The names of its binaries.
    pub(super) fn binaries(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter(|target| target.kind == Kind::Binary).map(|target| target.name.as_str())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Its first source file.
    pub(super) source: Utf8PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Library,
    Binary,
    BuildScript,
}

impl Packages {
    /// Asks cargo, which needs no network for it. A project without `Cargo.toml` has no packages.
    ///
    /// # Errors
    /// When cargo cannot be asked. A manifest that is wrong is one of the problems.
    pub fn read(root: &Utf8Path) -> Result<Packages> {
        if !root.join("Cargo.toml").is_file() {
            return Ok(Packages::default());
        }
        let mut packages = match ask(root) {
            Ok(metadata) => Packages::parse(&metadata),
            Err(error) => {
                let problems = vec![wrong(root, &format!("{error:#}"))];
                return Ok(Packages { problems, ..Packages::default() });
            }
        };
        for _ in 0..OUTSIDE {
            let mut needs = packages.all.values().flat_map(|package| &package.needs);
            let Some(folder) = needs.find(|folder| !packages.all.contains_key(*folder)).cloned() else { break };
            let found = ask(&folder).ok().and_then(|metadata| Packages::parse(&metadata).all.remove(&folder));
            let unknown = Package { folder: folder.clone(), ..Package::default() };
            let package = Package { is_member: false, ..found.unwrap_or(unknown) };
            packages.all.insert(folder, package);
        }
        Ok(packages)
    }

    pub(super) fn parse(metadata: &Value) -> Packages {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let members = list(&metadata["workspace_members"]);
        let defaults = list(&metadata["workspace_default_members"]);
        let mut packages =
            Packages { root: metadata["workspace_root"].as_str().map(Utf8PathBuf::from), ..Packages::default() };
        for package in list(&metadata["packages"]) {
            let (Some(name), Some(manifest)) = (package["name"].as_str(), package["manifest_path"].as_str()) else {
                continue;
            };
            let folder = Utf8Path::new(manifest).parent().unwrap_or(Utf8Path::new("/")).to_owned();
            // Tests' dependencies are not compiled into a binary.
            let built_with = |one: &&Value| one["kind"] != "dev";
            let dependencies = list(&package["dependencies"]);
            let needs = dependencies.iter().filter(built_with).filter_map(|one| one["path"].as_str());
            let targets = list(&package["targets"]).iter().filter_map(target).collect();
            if defaults.contains(&package["id"]) {
                packages.default.push(name.to_owned());
            }
            let package = Package {
                name: name.to_owned(),
                is_member: members.is_empty() || members.contains(&package["id"]),
                needs: needs.map(|path| crate::dockerfile::join("/".into(), path)).collect(),
                folder: folder.clone(),
                targets,
            };
            packages.all.insert(folder, package);
        }
        packages
    }

    /// Packages of the suite that the workspace has not, and specs that are no binary of theirs.
    pub(super) fn named(&self, suite: &Suite) -> Vec<Problem> {
        // Where cargo says nothing, nothing is known.
        if self.root.is_none() {
            return Vec::new();
        }
        let members = || self.members().map(|package| package.name.as_str());
        let mut problems = Vec::new();
        for (at, name) in suite.build.iter().flat_map(|build| &build.packages).enumerate() {
            if self.member(name).is_none() {
                let message = format!("the workspace has no package `{name}`");
                let problem = suite.source.problem(&crate::at!["build", "packages", at], message);
                problems.push(problem.meant(name, members()));
            }
        }
        problems.extend(suite.specs.as_ref().and_then(|specs| self.specs(suite, specs)));
        problems
    }

    fn specs(&self, suite: &Suite, specs: &Specs) -> Option<Problem> {
        let SpecsProgram::Binary { package, binary } = specs.runs() else { return None };
        let names: Vec<&str> = self.member(package)?.binaries().collect();
        if names.contains(&binary) {
            return None;
        }
        let message = format!("the package `{package}` has no binary `{binary}`");
        let problem = suite.source.problem(&crate::at!["specs", "binary"], message);
        Some(problem.meant(binary, names.iter().copied()).or_hint(|| match names.as_slice() {
            [] => "it has none: write src/main.rs, or list a [[bin]] in its Cargo.toml".to_owned(),
            names => format!("it has {}", names.join(", ")),
        }))
    }

    pub(super) fn member(&self, name: &str) -> Option<&Package> {
        self.members().find(|package| package.name == name)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.all.values().filter(|package| package.is_member)
    }

    /// These packages and all that they are built with.
    pub(super) fn built_with<'a>(&'a self, packages: &[&'a Package]) -> Vec<&'a Package> {
        let mut all: BTreeMap<&Utf8Path, &Package> = BTreeMap::new();
        let mut open = packages.to_vec();
        while let Some(package) = open.pop() {
            if all.insert(&package.folder, package).is_none() {
                open.extend(package.needs.iter().filter_map(|folder| self.all.get(folder)));
            }
        }
        all.into_values().collect()
    }
}

fn ask(folder: &Utf8Path) -> Result<Value> {
    let sh = Shell::new()?;
    // Any cargo can tell: rustup would take the one that the project pins, and that one may not be installed.
    sh.change_dir("/");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = folder.join("Cargo.toml");
    let ask = cmd!(sh, "{cargo} metadata --no-deps --offline --format-version 1 --manifest-path {manifest}");
    let text = Job::new(ask).deadline(Duration::from_secs(30)).read()?;
    serde_json::from_str(&text).context("reading cargo's metadata")
}

/// What cargo says is wrong with the manifests in `root`, at the place that it names.
fn wrong(root: &Utf8Path, text: &str) -> Problem {
    let message = format!("cargo cannot read the workspace: {}", first_error(text));
    let place = text.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("--> ")?.rsplitn(3, ':');
        let (column, line) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        // Cargo runs in `/`, and names files from there.
        let file = Utf8Path::new("/").join(parts.next()?);
        Some((file.strip_prefix(root).map(Utf8Path::to_owned).ok()?, line, column))
    });
    let (file, line, column) = place.unwrap_or_else(|| ("Cargo.toml".into(), 1, 1));
    Problem { file, line, column, message, ..Problem::default() }
}

/// What cargo says is wrong, with its cause, in one line.
fn first_error(text: &str) -> String {
    let lines = || text.lines().map(str::trim);
    let error = lines().find_map(|line| Some(line.split_once("error: ")?.1)).or_else(|| lines().next());
    let cause = lines().skip_while(|line| *line != "Caused by:").filter(|line| *line != "Caused by:");
    error.into_iter().chain(cause.last()).collect::<Vec<_>>().join(": ")
}

fn target(target: &Value) -> Option<Target> {
    let kinds: Vec<&str> = target["kind"].as_array()?.iter().filter_map(Value::as_str).collect();
    let kind = match kinds.first()? {
        &"bin" => Kind::Binary,
        &"custom-build" => Kind::BuildScript,
        kind if kind.ends_with("lib") || *kind == "proc-macro" => Kind::Library,
        _ => return None,
    };
    let source = target["src_path"].as_str()?.into();
    Some(Target { name: target["name"].as_str()?.to_owned(), kind, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cargo_says_is_told_with_its_cause_and_place() {
        for (text, expected) in [
            (
                "`cargo`: exit code 101\n    error: no quotes\n     --> w/shop/Cargo.toml:5:3\n      |\n    5 | x=",
                "shop/Cargo.toml:5:3: cargo cannot read the workspace: no quotes",
            ),
            (
                "error: failed to load\n\nCaused by:\n  failed to read\n\nCaused by:\n  No such file",
                "Cargo.toml:1:1: cargo cannot read the workspace: failed to load: No such file",
            ),
            ("`cargo`: not found", "Cargo.toml:1:1: cargo cannot read the workspace: `cargo`: not found"),
        ] {
            assert_eq!(wrong("/w".into(), text).to_string(), expected);
        }
    }

    #[test]
    fn needs_are_followed_and_tests_needs_are_not() {
        let package = |name: &str, needs: Value| json!({"name": name, "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": needs});
        let metadata = json!({"workspace_root": "/w", "workspace_members": ["shop", "api", "base"], "packages": [
            package("shop", json!([{"name": "api", "path": "/w/api", "kind": null},
                {"name": "bed", "path": "/w/bed", "kind": "dev"}, {"name": "serde", "kind": null}])),
            package("api", json!([{"name": "base", "path": "/w/app/../base", "kind": "build"}])),
            package("base", json!([])), package("bed", json!([]))]});
        let packages = Packages::parse(&metadata);
        let shop = packages.member("shop").unwrap();
        let names: Vec<&str> = packages.built_with(&[shop]).iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["api", "base", "shop"]);
    }
}
