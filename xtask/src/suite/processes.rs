//! How the workloads of a suite are started as plain processes of this machine.
//!
//! What the manifests say of a workload holds here too: how many instances, how long they have to end, under which
//! account they ask the API server, and whether the next one starts before the last has ended.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Deserialize;

/// The suite's workloads as processes beside an API server.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// Programs of this machine that workloads are, by their name.
    #[serde(default)]
    pub programs: BTreeMap<String, HostProgram>,
    /// One for each workload of the manifests.
    pub workloads: Vec<Process>,
}

/// A program that is installed on this machine.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HostProgram {
    /// The package that Debian has it in.
    pub debian: String,
    /// Folders besides those on PATH. One part of a path may be `*`: there the largest number comes first.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub folders: Vec<Utf8PathBuf>,
}

/// How one workload is started. In arguments, variables and files these stand for what only the run knows: `{folder}`,
/// the folder of the instance, in which its files are; `{data}`, the workload's folder, which outlives instances;
/// `{name}`, the instance's name; `{port:NAME}`, a port of the instance; `{address:WORKLOAD.PORT}`, the `host:port` at
/// which a workload is reached, whichever instances it has; `{kubeconfig}`, the file by which it reaches the API server
/// under its own account; `{token:AUDIENCE}`, the file with a token of that account. `{{` and `}}` are plain braces.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The name of its Deployment or StatefulSet in the manifests.
    pub workload: String,
    /// The package whose binary of that name it is. Either this or `program`.
    pub package: Option<String>,
    /// The program of this machine that it is.
    pub program: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment variables. It gets no other ones than these, PATH, HOME and TMPDIR.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is written into its folder before it starts.
    #[serde(default)]
    pub files: Vec<ProcessFile>,
    /// What is run once, in this order, before the first instance starts.
    #[serde(default)]
    pub prepare: Vec<Preparation>,
    /// Where it listens; each instance has ports of its own.
    #[serde(default)]
    pub ports: Vec<NamedPort>,
    /// When an instance is ready.
    pub ready: Readiness,
    /// The signal that tells it to end.
    #[serde(default)]
    pub stop: StopSignal,
    /// The user that it runs as where the run is root's, for programs that refuse that; `nobody` where there is no such
    /// user. It keeps its own where the run is somebody else's.
    pub user: Option<String>,
}

/// A file in an instance's folder. Of `content`, `config_map`, `secret` and `file` it has one.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProcessFile {
    /// Its path in that folder.
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: Utf8PathBuf,
    /// What is in it, with placeholders.
    pub content: Option<String>,
    /// The ConfigMap of the suite's manifests that it is taken from, in the workload's namespace.
    pub config_map: Option<String>,
    /// The Secret that it is taken from.
    pub secret: Option<String>,
    /// The key of that ConfigMap or Secret.
    pub key: Option<String>,
    /// The file of the workspace that it is a copy of.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub file: Option<Utf8PathBuf>,
    /// Texts in what is taken that are replaced, as paths of a container are; what replaces them has placeholders.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
}

/// A command that is run to its end.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// The program of this machine.
    pub program: String,
    /// Its arguments, with placeholders.
    #[serde(default)]
    pub args: Vec<String>,
    /// What it reads from its standard input, with placeholders.
    pub stdin: Option<String>,
}

/// A port of each instance.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NamedPort {
    /// Its name, as in `{port:NAME}`.
    pub name: String,
    /// The NodePort that leads to it in a cluster: specs and people ask for the port by that.
    pub node_port: Option<u16>,
}

/// When an instance is ready: the port takes connections, or answers a request.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// The port, by its name.
    pub port: String,
    /// The path that is then answered with a status below 400.
    pub http: Option<String>,
}

/// A signal that tells a process to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}

/// A part of a text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself.
    Text(String),
    /// `{folder}`
    Folder,
    /// `{data}`
    Data,
    /// `{name}`
    Name,
    /// `{port:NAME}`
    Port(String),
    /// `{address:WORKLOAD.PORT}`
    Address {
        /// The workload.
        workload: String,
        /// The port's name.
        port: String,
    },
    /// `{kubeconfig}`
    Kubeconfig,
    /// `{token:AUDIENCE}`
    Token(String),
}

/// What placeholders there are, for messages.
const PLACEHOLDERS: &str = "{folder}, {data}, {name}, {port:NAME}, {address:WORKLOAD.PORT}, {kubeconfig}, {token:AUDIENCE}; \
                            a plain brace is written twice";

impl Piece {
    /// The parts of `text`.
    ///
    /// # Errors
    /// A brace that does not belong to a placeholder, or one that there is not.
    pub fn of(text: &str) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let inside = rest.split_once('}').filter(|_| brace == "{");
            let (inside, after) = inside.ok_or_else(|| format!("a single `{brace}`: there are {PLACEHOLDERS}"))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            let piece = Piece::named(inside);
            pieces.push(piece.ok_or_else(|| format!("no placeholder `{{{inside}}}`: there are {PLACEHOLDERS}"))?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(pieces)
    }

    /// The one between these braces.
    fn named(inside: &str) -> Option<Piece> {
        let (what, of) = inside.split_once(':').unwrap_or((inside, ""));
        match (what, of.is_empty()) {
            ("folder", true) => Some(Piece::Folder),
            ("data", true) => Some(Piece::Data),
            ("name", true) => Some(Piece::Name),
            ("kubeconfig", true) => Some(Piece::Kubeconfig),
            ("port", false) => Some(Piece::Port(of.to_owned())),
            ("token", false) => Some(Piece::Token(of.to_owned())),
            ("address", false) => {
                let (workload, port) = of.split_once('.')?;
                Some(Piece::Address { workload: workload.to_owned(), port: port.to_owned() })
            }
            _ => None,
        }
    }
}

impl Processes {
    /// How this workload is started.
    pub fn process(&self, workload: &str) -> Option<&Process> {
        self.workloads.iter().find(|process| process.workload == workload)
    }
}

impl Process {
    /// Every text of it that may have placeholders, with its place in the process.
    pub(super) fn texts(&self) -> Vec<(Vec<super::yaml::Segment>, &str)> {
        use super::yaml::Segment;
        let mut texts: Vec<(Vec<Segment>, &str)> = Vec::new();
        for (at, arg) in self.args.iter().enumerate() {
            texts.push((crate::at!["args", at].to_vec(), arg));
        }
        for (name, value) in &self.env {
            texts.push((crate::at!["env", name.as_str()].to_vec(), value));
        }
        for (at, file) in self.files.iter().enumerate() {
            texts.extend(file.content.as_deref().map(|text| (crate::at!["files", at, "content"].to_vec(), text)));
            for (what, by) in &file.replace {
                texts.push((crate::at!["files", at, "replace", what.as_str()].to_vec(), by));
            }
        }
        for (at, preparation) in self.prepare.iter().enumerate() {
            for (position, arg) in preparation.args.iter().enumerate() {
                texts.push((crate::at!["prepare", at, "args", position].to_vec(), arg));
            }
            texts.extend(preparation.stdin.as_deref().map(|text| (crate::at!["prepare", at, "stdin"].to_vec(), text)));
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_taken_out_of_a_text() {
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(Piece::of("plain"), Ok(vec![text("plain")]));
        assert_eq!(Piece::of(""), Ok(vec![]));
        assert_eq!(Piece::of("--dir={data}/x"), Ok(vec![text("--dir="), Piece::Data, text("/x")]));
        let address = Piece::Address { workload: "shop".to_owned(), port: "http".to_owned() };
        assert_eq!(Piece::of("{address:shop.http}{port:a}"), Ok(vec![address, Piece::Port("a".to_owned())]));
        assert_eq!(Piece::of("{{\"a\": {{}}}}"), Ok(vec![text("{\"a\": {}}")]));
        assert_eq!(Piece::of("{token:t}"), Ok(vec![Piece::Token("t".to_owned())]));
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for wrong in ["{folder", "a}", "{fodler}", "{port}", "{port:}", "{address:shop}", "{data:x}", "{}"] {
            let error = Piece::of(wrong).unwrap_err();
            assert!(error.contains("{address:WORKLOAD.PORT}"), "{wrong}: {error}");
        }
    }
}
