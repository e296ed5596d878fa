//! From lines to stages: who sees which variable, and what each instruction says.

use camino::{Utf8Path, Utf8PathBuf};

use super::lines::{self, Line};
use super::words::{self, Unset, Value, Values, Word};
use super::{Base, Dockerfile, Instruction, Stage, Statement};

/// Values from outside of the file: what the build is told, and what the engine sets by itself.
struct Given<'a> {
    args: &'a [(String, String)],
    platform: [(&'static str, &'static str); 8],
}

/// What is known where an instruction stands.
#[derive(Clone, Default)]
struct Scope {
    args: Values,
    env: Values,
    /// The folder that relative paths begin at.
    workdir: Utf8PathBuf,
}

/// Stands for the working folder of an image that is not looked into.
pub const WORKDIR_OF_BASE: &str = "/<workdir of the base>";

impl Scope {
    fn values(&self) -> Values {
        let mut values = self.args.clone();
        values.extend(self.env.clone());
        values
    }
}

impl Dockerfile {
    /// Takes a text apart as a build with the arguments `args` would; what it does not know is kept as it stands.
    pub fn parse_with(text: &str, args: &[(String, String)]) -> Dockerfile {
        let given = Given { args, platform: platform() };
        let (escape, lines) = lines::lines(text);
        let mut global: Values = given
            .platform
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::Known((*value).to_owned())))
            .collect();
        let mut file = Dockerfile::default();
        let mut scopes: Vec<Scope> = Vec::new();
        for line in &lines {
            let (keyword, rest) = keyword(&line.text);
            if keyword == "FROM" {
                let (stage, scope) = from(&file, &scopes, line, rest, escape, &global);
                let base = stage.base.clone();
                file.stages.push(stage);
                scopes.push(scope);
                if let Base::Stage(below) = base {
                    run_triggers(&mut file, &mut scopes, below, escape, &given, &global);
                }
            } else if let (Some(stage), Some(scope)) = (file.stages.last_mut(), scopes.last_mut()) {
                stage.instructions.push(instruction(line, escape, scope, &given, &global));
            } else if keyword == "ARG" {
                for word in words::quoted(rest, escape) {
                    let (name, value) = argument(&word, escape, &global, Unset::Empty);
                    // The platform's are known, declared or not.
                    let before = global.get(&name).cloned();
                    let value = given.value(&name).or(value).or(before).unwrap_or(Value::NotGiven);
                    global.insert(name, value);
                }
            }
        }
        file
    }
}

impl Given<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        self.args.iter().rev().find(|(given, _)| given == name).map(|(_, value)| Value::Known(value.clone()))
    }
}

/// What the engine sets for a build on and for this machine.
fn platform() -> [(&'static str, &'static str); 8] {
    let (arch, platform) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "linux/amd64"),
        "aarch64" => ("arm64", "linux/arm64"),
        other => (other, "linux"),
    };
    [
        ("TARGETARCH", arch),
        ("BUILDARCH", arch),
        ("TARGETOS", "linux"),
        ("BUILDOS", "linux"),
        ("TARGETPLATFORM", platform),
        ("BUILDPLATFORM", platform),
        ("TARGETVARIANT", ""),
        ("BUILDVARIANT", ""),
    ]
}

/// The keyword in capitals, and what follows it.
fn keyword(text: &str) -> (String, &str) {
    let text = text.trim();
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (keyword.to_uppercase(), rest.trim_start())
}

/// A line as it stands.
pub(super) fn statement(line: &Line) -> Statement {
    let text = line.text.trim();
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (flags, rest) = flags(rest);
    Statement {
        line: line.number,
        keyword: keyword.to_owned(),
        flags: flags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        text: rest.trim().to_owned(),
    }
}

fn from(file: &Dockerfile, scopes: &[Scope], line: &Line, rest: &str, escape: char, global: &Values) -> (Stage, Scope) {
    let (_, rest) = flags(rest);
    let mut words = rest.split_whitespace();
    let from = words::expand(words.next().unwrap_or_default(), escape, global, Unset::Empty);
    let is_as = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
    let name = words.next().filter(|_| is_as).map(str::to_owned);
    let below = file.stages.iter().rposition(|stage| stage.is(&from.text));
    let base = match below {
        _ if !from.known || from.text.is_empty() => Base::Unknown,
        _ if from.text == "scratch" => Base::Scratch,
        Some(below) => Base::Stage(below),
        None => Base::Image(from.text.clone()),
    };
    let scope = match &base {
        Base::Stage(below) => scopes.get(*below).cloned().unwrap_or_default(),
        Base::Scratch => Scope { workdir: "/".into(), ..Scope::default() },
        _ => Scope { workdir: WORKDIR_OF_BASE.into(), ..Scope::default() },
    };
    (Stage { line: line.number, from, base, name, instructions: Vec::new() }, scope)
}

/// What the stage below has asked to be done in those that start from it.
fn run_triggers(
    file: &mut Dockerfile,
    scopes: &mut [Scope],
    below: usize,
    escape: char,
    given: &Given<'_>,
    global: &Values,
) {
    let triggers: Vec<Line> = file.stages[below]
        .instructions
        .iter()
        .filter(|instruction| instruction.keyword == "ONBUILD")
        .map(|trigger| Line { number: trigger.line, text: trigger.text.clone(), heredocs: trigger.heredocs.clone() })
        .collect();
    if let (Some(stage), Some(scope)) = (file.stages.last_mut(), scopes.last_mut()) {
        let run = triggers.iter().map(|line| instruction(line, escape, scope, given, global));
        stage.instructions.extend(run);
    }
}

/// `NAME=value` or `NAME`.
fn argument(word: &str, escape: char, values: &Values, unset: Unset) -> (String, Option<Value>) {
    match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(words::expand(value, escape, values, unset).into())),
        None => (word.to_owned(), None),
    }
}

fn instruction(line: &Line, escape: char, scope: &mut Scope, given: &Given<'_>, global: &Values) -> Instruction {
    let (keyword, rest) = keyword(&line.text);
    let values = scope.values();
    let expand = |text: &str| words::expand(text, escape, &values, Unset::Unknown);
    // A trigger is taken apart where it is run.
    let (flags, rest) = if keyword == "ONBUILD" { (Vec::new(), rest) } else { flags(rest) };
    let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), expand(value))).collect();
    let list: Option<Vec<String>> = match keyword.as_str() {
        "ADD" | "COPY" | "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "VOLUME" => serde_json::from_str(rest.trim()).ok(),
        _ => None,
    };
    let is_list = list.is_some();
    let words: Vec<Word> = match (keyword.as_str(), list) {
        // The shell has its own variables.
        ("RUN" | "CMD" | "ENTRYPOINT" | "SHELL", Some(list)) => list.into_iter().map(Word::plain).collect(),
        (_, Some(list)) => list.iter().map(|word| expand(word)).collect(),
        ("RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "ONBUILD" | "HEALTHCHECK", None) => {
            let plain = |word: &String| Word::plain(word.trim_matches(['"', '\'']));
            words::shell(rest).iter().map(plain).collect()
        }
        ("WORKDIR" | "USER", None) => vec![expand(rest.trim())],
        ("ENV" | "ARG" | "LABEL", None) => words::quoted(rest, escape).iter().map(|word| expand(word)).collect(),
        _ => rest.split_whitespace().map(expand).collect(),
    };
    let workdir = scope.workdir.clone();
    match keyword.as_str() {
        "ENV" => {
            for (name, value) in environment(rest, escape) {
                scope.env.insert(name, expand(&value).into());
            }
        }
        "ARG" => {
            for word in words::quoted(rest, escape) {
                let (name, default) = argument(&word, escape, &values, Unset::Unknown);
                let value = given.value(&name).or(default).or_else(|| global.get(&name).cloned());
                scope.args.insert(name, value.unwrap_or(Value::NotGiven));
            }
        }
        "WORKDIR" => {
            let to = words.first().filter(|word| word.known).map_or(WORKDIR_OF_BASE, |word| word.text.as_str());
            scope.workdir = join(&scope.workdir, to);
        }
        _ => {}
    }
    let (text, heredocs) = (rest.to_owned(), line.heredocs.clone());
    Instruction { line: line.number, keyword, flags, words, is_list, text, heredocs, workdir }
}

/// `NAME=value …`, or the old form `NAME value`.
fn environment(rest: &str, escape: char) -> Vec<(String, String)> {
    let words = words::quoted(rest, escape);
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        return vec![(name.to_owned(), value.trim().to_owned())];
    }
    words.iter().filter_map(|word| word.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// `--name=value`s at the beginning, and what follows them.
fn flags(text: &str) -> (Vec<(&str, &str)>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        if flag.is_empty() {
            break;
        }
        flags.push(flag.split_once('=').unwrap_or((flag, "")));
    }
    (flags, rest)
}

/// Where `path` leads from `folder`, without `.` and `..`; nothing lies above `/`.
pub fn join(folder: &Utf8Path, path: impl AsRef<Utf8Path>) -> Utf8PathBuf {
    let mut parts: Vec<String> = Vec::new();
    for part in folder.join(path.as_ref()).components() {
        match part.as_str() {
            "/" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    Utf8PathBuf::from(format!("/{}", parts.join("/")))
}
