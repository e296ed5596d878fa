//! What is known of a process before it starts: the suite's section, held against its manifests and this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;

use crate::at;
use crate::plan::object::{get, pod_spec_at};
use crate::plan::{Manifests, Object};
use crate::suite::Suite;
use crate::suite::processes::{NamedPort, Piece, Process, ProcessFile, Processes, Readiness, StopSignal};
use crate::suite::yaml::{Problem, Problems, Segment, did_you_mean};

/// As Kubernetes has it where a manifest says nothing.
const GRACE: Duration = Duration::from_secs(30);

/// A text with placeholders, taken apart.
pub(super) type Text = Vec<Piece>;

/// How the instances of one workload are started, watched and ended.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) workload: String,
    pub(super) namespace: String,
    pub(super) program: Program,
    pub(super) args: Vec<Text>,
    pub(super) env: BTreeMap<String, Text>,
    pub(super) files: Vec<LaunchFile>,
    pub(super) prepare: Vec<Prepare>,
    pub(super) ports: Vec<NamedPort>,
    pub(super) ready: Readiness,
    pub(super) stop: Signal,
    /// How long it has between that signal and SIGKILL.
    pub(super) grace: Duration,
    /// The user that it runs as where the run is root's.
    pub(super) user: Option<String>,
    /// The ServiceAccount under which it asks the API server.
    pub(super) account: String,
    pub(super) replicas: usize,
    pub(super) order: Replacement,
}

impl Launch {
    /// Whether it reads how the API server is reached.
    pub(super) fn has_kubeconfig(&self) -> bool {
        self.pieces().any(|piece| *piece == Piece::Kubeconfig)
    }

    /// For whom it reads tokens of its account.
    pub(super) fn audiences(&self) -> BTreeSet<&str> {
        let pieces = self.pieces();
        let audiences = pieces.filter_map(|piece| match piece {
            Piece::Token(audience) => Some(audience.as_str()),
            _ => None,
        });
        audiences.collect()
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let files = self.files.iter().map(|file| &file.text);
        self.args.iter().chain(self.env.values()).chain(files).flatten()
    }
}

/// Where a program comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The binary of this package, as the run has compiled it.
    Package(String),
    /// One of this machine.
    OfHost { name: String, folders: Vec<Utf8PathBuf> },
}

/// Which comes first where an instance takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// The new one is ready before the old one ends: a Deployment's, unless its strategy says other.
    NewFirst,
    /// The old one has ended before the new one starts: a StatefulSet's, for both have the same data, and that of a
    /// Deployment that may have no pod more than its replicas.
    OldFirst,
}

/// A file in an instance's folder.
#[derive(Clone, Debug)]
pub(super) struct LaunchFile {
    pub(super) path: Utf8PathBuf,
    pub(super) text: Text,
}

/// A command before the first instance.
#[derive(Clone, Debug)]
pub(super) struct Prepare {
    pub(super) program: Program,
    pub(super) args: Vec<Text>,
    pub(super) stdin: Option<Text>,
}

/// All processes of a suite.
///
/// # Errors
/// What the suite names and its manifests, or the workspace below `root`, do not have: with file and line.
pub(super) fn launches(root: &Utf8Path, suite: &Suite, manifests: &Manifests) -> Result<Vec<Launch>, Problems> {
    let Some(processes) = &suite.processes else {
        let message = "the suite has no section `processes`, so that it cannot run as processes";
        return Err(suite.source.problem(&at![], message).into());
    };
    let mut problems = Vec::new();
    let mut launches = Vec::new();
    for (index, process) in processes.workloads.iter().enumerate() {
        let of = Of { root, suite, manifests, processes, process, index };
        match of.launch() {
            Ok(launch) => launches.push(launch),
            Err(found) => problems.extend(found.0),
        }
    }
    for object in manifests.all().filter(|object| is_workload(object)) {
        let name = &object.reference.name;
        if processes.process(name).is_none() {
            let message = format!("{} has no entry in `processes.workloads`", object.reference);
            problems.push(suite.source.problem(&at!["processes", "workloads"], message));
        }
    }
    Problems(problems).into_result().map(|()| launches)
}

/// Whether an object makes pods: nobody carries such a one out here, so that a process stands for it.
pub(super) fn is_workload(object: &Object) -> bool {
    pod_spec_at(object).is_some()
}

/// Whether a Deployment may have more pods than replicas while it is rolled out.
fn may_surge(deployment: &Object) -> bool {
    let strategy = |keys: &[&str]| get(&deployment.value, &[&["spec", "strategy"], keys].concat());
    let surge = strategy(&["rollingUpdate", "maxSurge"]);
    let is_none = surge.is_some_and(|surge| surge.as_u64() == Some(0) || matches!(surge.as_str(), Some("0" | "0%")));
    strategy(&["type"]).and_then(serde_yaml::Value::as_str) != Some("Recreate") && !is_none
}

/// One process and what it is held against.
struct Of<'a> {
    root: &'a Utf8Path,
    suite: &'a Suite,
    manifests: &'a Manifests,
    processes: &'a Processes,
    process: &'a Process,
    index: usize,
}

impl Of<'_> {
    fn problem(&self, rest: &[Segment], message: String) -> Problem {
        self.suite.source.problem(&[&at!["processes", "workloads", self.index][..], rest].concat(), message)
    }

    fn launch(&self) -> Result<Launch, Problems> {
        let process = self.process;
        let object = self.object()?;
        let kind = object.reference.kind.as_str();
        let order = match kind {
            "Deployment" if may_surge(object) => Replacement::NewFirst,
            "Deployment" | "StatefulSet" => Replacement::OldFirst,
            other => {
                let message =
                    format!("`{}` is a {other}: a Deployment or a StatefulSet can be processes", process.workload);
                return Err(self.problem(&at!["workload"], message).into());
            }
        };
        let number = |keys: &[&str]| get(&object.value, keys).and_then(serde_yaml::Value::as_u64);
        let replicas = number(&["spec", "replicas"]).unwrap_or(1);
        let grace = number(&["spec", "template", "spec", "terminationGracePeriodSeconds"]);
        let account = object.text(&["spec", "template", "spec", "serviceAccountName"]).unwrap_or("default");
        let program = match (&process.package, &process.program) {
            (Some(package), _) => Program::Package(package.clone()),
            (None, Some(program)) => self.of_host(program),
            (None, None) => return Err(self.problem(&at!["workload"], "it has no program".to_owned()).into()),
        };
        let mut problems = Vec::new();
        let mut files = Vec::new();
        for (at, file) in process.files.iter().enumerate() {
            match self.file(at, file, &object.reference.namespace) {
                Ok(text) => files.push(LaunchFile { path: file.path.clone(), text }),
                Err(problem) => problems.push(problem),
            }
        }
        Problems(problems).into_result()?;
        let prepare = process.prepare.iter().map(|one| Prepare {
            program: self.of_host(&one.program),
            args: one.args.iter().map(|arg| pieces(arg)).collect(),
            stdin: one.stdin.as_deref().map(pieces),
        });
        Ok(Launch {
            workload: process.workload.clone(),
            namespace: object.reference.namespace.clone(),
            program,
            args: process.args.iter().map(|arg| pieces(arg)).collect(),
            env: process.env.iter().map(|(name, value)| (name.clone(), pieces(value))).collect(),
            files,
            prepare: prepare.collect(),
            ports: process.ports.clone(),
            ready: process.ready.clone(),
            stop: match process.stop {
                StopSignal::Term => Signal::TERM,
                StopSignal::Int => Signal::INT,
                StopSignal::Quit => Signal::QUIT,
            },
            grace: grace.map_or(GRACE, Duration::from_secs),
            user: process.user.clone(),
            account: account.to_owned(),
            replicas: usize::try_from(replicas).unwrap_or(1),
            order,
        })
    }

    /// The workload's object in the manifests.
    fn object(&self) -> Result<&Object, Problem> {
        let name = &self.process.workload;
        let all = || self.manifests.all().filter(|object| is_workload(object));
        let mut found = all().filter(|object| object.reference.name == *name);
        match (found.next(), found.next()) {
            (Some(object), None) => Ok(object),
            (Some(one), Some(other)) => {
                let message = format!("`{name}` is both {} and {}", one.reference, other.reference);
                Err(self.problem(&at!["workload"], message))
            }
            (None, _) => {
                let hint = did_you_mean(name, all().map(|object| object.reference.name.as_str()));
                let message = format!("no manifest of the suite has a workload `{name}`");
                Err(self.problem(&at!["workload"], message).hint(hint))
            }
        }
    }

    fn of_host(&self, name: &str) -> Program {
        let folders = self.processes.programs.get(name).map(|program| program.folders.clone());
        Program::OfHost { name: name.to_owned(), folders: folders.unwrap_or_default() }
    }

    /// What is in a file, replacements made.
    fn file(&self, at: usize, file: &ProcessFile, namespace: &str) -> Result<Text, Problem> {
        if let Some(content) = &file.content {
            return Ok(pieces(content));
        }
        let text = if let Some(from) = &file.file {
            std::fs::read_to_string(self.root.join(from))
                .map_err(|error| self.problem(&at!["files", at, "file"], format!("`{from}`: {error}")))?
        } else {
            self.value(at, file, namespace)?
        };
        let mut pieces = vec![Piece::Text(text)];
        for (what, by) in &file.replace {
            pieces = replaced(pieces, what, &self::pieces(by)).ok_or_else(|| {
                self.problem(&at!["files", at, "replace", what.as_str()], format!("`{what}` does not stand in it"))
            })?;
        }
        Ok(pieces)
    }

    /// The value of the key that a file is taken from.
    fn value(&self, at: usize, file: &ProcessFile, namespace: &str) -> Result<String, Problem> {
        let (kind, what, name) = match (&file.config_map, &file.secret) {
            (Some(name), _) => ("ConfigMap", "config_map", name),
            (None, Some(name)) => ("Secret", "secret", name),
            (None, None) => return Err(self.problem(&at!["files", at], "it is taken from nowhere".to_owned())),
        };
        let of_kind = || {
            self.manifests
                .all()
                .filter(|object| object.reference.kind == kind && object.reference.namespace == namespace)
        };
        let object = of_kind().find(|object| object.reference.name == *name).ok_or_else(|| {
            let hint = did_you_mean(name, of_kind().map(|object| object.reference.name.as_str()));
            let message = format!("no manifest of the suite has a {kind} `{name}` in {namespace}");
            self.problem(&at!["files", at, what], message).hint(hint)
        })?;
        let key = file.key.as_deref().unwrap_or_default();
        let data = if kind == "ConfigMap" { "data" } else { "stringData" };
        object.text(&[data, key]).map(str::to_owned).ok_or_else(|| {
            let keys = get(&object.value, &[data]).and_then(serde_yaml::Value::as_mapping);
            let keys: Vec<&str> = keys.into_iter().flat_map(|map| map.keys()).filter_map(|key| key.as_str()).collect();
            let message = format!("{} has no `{key}` in its {data}", object.reference);
            self.problem(&at!["files", at, "key"], message).hint(did_you_mean(key, keys))
        })
    }
}

/// The parts of a text that was read with the suite, which has looked at its placeholders.
fn pieces(text: &str) -> Text {
    Piece::of(text).unwrap_or_else(|_| vec![Piece::Text(text.to_owned())])
}

/// Every `what` in the plain parts replaced; none where it does not stand there.
fn replaced(pieces: Text, what: &str, by: &Text) -> Option<Text> {
    let mut found = false;
    let mut all = Vec::new();
    for piece in pieces {
        let Piece::Text(text) = piece else {
            all.push(piece);
            continue;
        };
        for (at, part) in text.split(what).enumerate() {
            if at > 0 {
                found = true;
                all.extend(by.iter().cloned());
            }
            if !part.is_empty() {
                all.push(Piece::Text(part.to_owned()));
            }
        }
    }
    found.then_some(all)
}

/// Where the program `name` of this machine is: on PATH, else in one of `folders`, where a `*` stands for a number, the
/// largest first.
pub(super) fn find_program(name: &str, folders: &[Utf8PathBuf]) -> Option<Utf8PathBuf> {
    let on_path = which::which(name).ok().and_then(|path| Utf8PathBuf::try_from(path).ok());
    on_path.or_else(|| {
        let all = folders.iter().flat_map(|folder| expanded(folder));
        all.map(|folder| folder.join(name)).find(|file| file.is_file())
    })
}

/// The folders that a path with a `*` in it stands for.
fn expanded(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let parts: Vec<&str> = folder.components().map(|part| part.as_str()).collect();
    let Some(star) = parts.iter().position(|part| *part == "*") else { return vec![folder.to_owned()] };
    let before: Utf8PathBuf = parts[..star].iter().collect();
    let after: Utf8PathBuf = parts[star + 1..].iter().collect();
    let mut found: Vec<(u64, Utf8PathBuf)> = before
        .read_dir_utf8()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().parse().ok()?, entry.path().join(&after))))
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
