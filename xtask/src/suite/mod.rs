//! What a suite consists of: cluster, images, manifests, specs. Never in what order: that is the plan's.
//!
//! A suite is read from `manifests/suites/<name>.yaml`. All paths in it are relative to the workspace.

mod call;
pub mod processes;
#[cfg(test)]
mod schema;
mod specs;
mod validate;
pub mod yaml;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

pub use call::Call;
use processes::Processes;
pub use specs::{Specs, SpecsProgram};
use yaml::{Problem, Problems, Source, did_you_mean};

/// The folder that suites are found in, relative to the workspace.
pub const SUITES: &str = "manifests/suites";

/// A cluster, what is put on it, and the specs that run against it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// As on the command line; the file's name without its ending.
    pub name: String,
    /// The names that reports sum times up under, in the order a person would do them.
    pub phases: Vec<String>,
    /// The Kind cluster.
    pub cluster: Cluster,
    /// The Rust that is compiled; none where every image comes ready-made.
    pub build: Option<Build>,
    /// The images that are built and put on the node.
    #[serde(default)]
    pub images: Vec<Image>,
    /// The manifests that are applied, in groups that are applied and waited for as one.
    #[serde(default)]
    pub manifests: Vec<Manifests>,
    /// What the manifests do not say of the services in them, for `check` to hold them against.
    #[serde(default)]
    pub services: Vec<Service>,
    /// What runs once all of that is up.
    pub specs: Option<Specs>,
    /// How the workloads are started where the suite runs as plain processes; it cannot run so where this is missing.
    pub processes: Option<Processes>,
    /// How to use what is deployed, told to whoever leaves it running. `{30080}` becomes the host's
    /// port of that NodePort, `{kubectl}` a command line for this cluster.
    pub access: Option<String>,
    /// What is known about single steps beforehand, by the step's id.
    #[serde(default)]
    pub steps: BTreeMap<String, StepHints>,
    /// How much of earlier runs is kept.
    #[serde(default)]
    pub keep: Keep,
    /// What `bench-setup` has to know beyond all that.
    pub bench: Option<Bench>,
    /// The text it was read from, so that later problems have a line too.
    #[serde(skip)]
    pub source: Source,
}

/// The Kind cluster of a suite.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The name kind knows it under.
    pub name: String,
    /// kind's own configuration file.
    #[cfg_attr(test, schemars(with = "String"))]
    pub config: Utf8PathBuf,
    /// The piece of the set-up that the nodes run.
    pub node: String,
    /// Pieces of the set-up whose images the node has from the start.
    #[serde(default)]
    pub preload: Vec<String>,
    /// The phase that its time counts for.
    pub phase: String,
}

/// The one cargo invocation of a run, and what a build in containers has in common.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The packages that are compiled together, the specs' own among them.
    pub packages: Vec<String>,
    /// The stage with the compiled dependencies that all images share where the build is in containers.
    pub dependencies: Option<Dependencies>,
}

/// A Dockerfile's stage that is built before the images that share it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dependencies {
    /// The file that has the stage.
    #[cfg_attr(test, schemars(with = "String"))]
    pub dockerfile: Utf8PathBuf,
    /// The stage's name.
    pub target: String,
}

/// An image that is built here.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name among the suite's images.
    pub name: String,
    /// How it is built.
    #[cfg_attr(test, schemars(with = "String"))]
    pub dockerfile: Utf8PathBuf,
    /// The folder that COPY reads from.
    #[serde(default = "workspace")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub context: Utf8PathBuf,
    /// The stage that it is made of; the last one where none is named.
    pub target: Option<String>,
    /// Values of the Dockerfile's ARGs.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// What manifests call it.
    pub reference: String,
    /// The package whose binaries, when they are built on the host, stand in for the Dockerfile's stage that compiles.
    pub package: Option<String>,
    /// The same, where the image has the binaries of several packages.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The stage that they stand in for; where none is named, the one of the name `build`, else the last that calls
    /// `cargo build`.
    pub stage: Option<String>,
    /// The phase that its time counts for.
    pub phase: String,
}

fn workspace() -> Utf8PathBuf {
    Utf8PathBuf::from(".")
}

impl Image {
    /// The packages whose binaries it has; none where nothing of it is compiled by cargo.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.package.iter().chain(&self.packages).map(String::as_str)
    }

    /// Whether it has binaries that cargo makes.
    pub fn is_compiled(&self) -> bool {
        self.packages().next().is_some()
    }
}

/// Manifests that are applied together.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifests {
    /// Its name among the suite's groups.
    pub name: String,
    /// The files, each of one or more documents.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub files: Vec<Utf8PathBuf>,
    /// The folder of a kustomization: what kustomize makes of it is applied behind the files.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub kustomize: Option<Utf8PathBuf>,
    /// Groups that must be ready first for reasons that the manifests do not show.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The phase that its time counts for.
    pub phase: String,
}

impl Manifests {
    /// The paths that its texts are known by, in the order in which they are applied: its files, and the folder that
    /// kustomize renders.
    pub fn sources(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        self.files.iter().chain(&self.kustomize)
    }
}

/// What a service does, as its code has it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name of its Deployment, StatefulSet or other workload.
    pub workload: String,
    /// The paths that it answers at, on any of its ports; `{name}` stands for any one part of a path.
    #[serde(default)]
    pub routes: Vec<String>,
    /// What it asks of the API server.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// The Rego policies that it loads.
    #[serde(default)]
    pub policies: Vec<Policy>,
}

/// A policy that a service loads.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The module.
    #[cfg_attr(test, schemars(with = "String"))]
    pub file: Utf8PathBuf,
    /// The rule that is asked for, with its package: `data.shop.routing.path`.
    pub query: String,
}

/// What is known about a step beforehand.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StepHints {
    /// How long it usually takes, in seconds; measured times of earlier runs come first.
    pub expected_s: Option<f64>,
    /// How long it may take at most, in seconds.
    pub deadline_s: Option<f64>,
}

/// What a comparison of schedules has to know of a suite.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bench {
    /// How long somebody once thought that each phase would take, in seconds; shown beside what is measured.
    #[serde(default)]
    pub estimates_s: BTreeMap<String, f64>,
    /// The small change after which everything is to be seen working.
    pub edit: Option<Edit>,
}

/// One changed line, and how a running service shows that it has it. `{edit}` stands for a text that is new each time.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file that is changed.
    #[cfg_attr(test, schemars(with = "String"))]
    pub file: Utf8PathBuf,
    /// The text in it that is replaced; it is there once.
    pub find: String,
    /// What it is replaced by.
    pub replace: String,
    /// Where the change is seen.
    pub shown: Shown,
}

/// An answer over HTTP.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The service's NodePort; the host's port of it is asked.
    pub node_port: u16,
    /// What is asked for, from the slash on.
    pub path: String,
    /// What stands in the answer.
    pub text: String,
}

/// How much of earlier runs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// How many runs.
    pub runs: usize,
    /// How much of the disk, in MB.
    pub mb: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { runs: 50, mb: 1000 }
    }
}

/// The form of a suite's file as JSON Schema, which editors read.
pub const SCHEMA: &str = include_str!("schema.json");

impl Suite {
    /// Reads the suite of this name below `root`, the workspace's folder.
    ///
    /// # Errors
    /// There is no such suite (the nearest one is named), it does not parse, or it contradicts itself: every
    /// problem with file and line.
    pub fn load(root: &Utf8Path, name: &str) -> Result<Self, Problems> {
        let file = Utf8Path::new(SUITES).join(format!("{name}.yaml"));
        // What is there and no file, or a link that leads nowhere, is told by reading it.
        if root.join(&file).symlink_metadata().is_err() {
            let known = Self::names(root);
            let hint = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                if known.is_empty() {
                    format!("{SUITES}/ has no suites")
                } else {
                    format!("there are: {}", known.join(", "))
                }
            });
            return Err(Problem {
                file,
                line: 0,
                column: 0,
                message: format!("no suite of the name `{name}`"),
                hint: Some(hint),
                fix: None,
            }
            .into());
        }
        let suite = Self::parse(Source::read(root, &file)?)?;
        if suite.name != name {
            let message = format!("the suite calls itself `{}`, its file `{name}`", suite.name);
            let hint = Some(format!("write `name: {name}`"));
            return Err(suite.source.problem(&crate::at!["name"], message).hint(hint).into());
        }
        Ok(suite)
    }

    /// The suites below `root`, sorted.
    pub fn names(root: &Utf8Path) -> Vec<String> {
        let mut names: Vec<String> = root
            .join(SUITES)
            .read_dir_utf8()
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().extension() == Some("yaml"))
            .filter_map(|entry| entry.path().file_stem().map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// The suite in this text.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines.
    pub fn parse(source: Source) -> Result<Self, Problems> {
        let mut suite: Self = source.parse()?;
        suite.source = source;
        validate::validate(&suite)?;
        Ok(suite)
    }

    /// The image of this name.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name == name)
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Manifests> {
        self.manifests.iter().find(|group| group.name == name)
    }
}
