//! What a RUN does, as far as its text tells: which commands, in which folder, what they build and what they put where.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Instruction, join};

/// One command of a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments, unquoted.
    pub words: Vec<String>,
    /// Where its output goes.
    pub writes: Vec<String>,
    /// The folder that it runs in.
    pub workdir: Utf8PathBuf,
}

/// `cargo build`, and what is selected for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoBuild {
    pub packages: Vec<String>,
    pub bins: Vec<String>,
    /// `--workspace`.
    pub is_all: bool,
    /// `--locked` or `--frozen`.
    pub is_locked: bool,
    /// The folder that cargo looks for a manifest in.
    pub folder: Utf8PathBuf,
}

/// Whether a RUN may have put something into its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Makes {
    /// Not this.
    No,
    /// Nobody can tell.
    Perhaps,
    /// It names it.
    Names,
}

/// Words of the shell that a command may follow.
const BEFORE: [&str; 14] =
    ["if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "exec", "env", "sudo", "command"];
/// Commands that put nothing into an image but what belongs to the system, or that only change what is there.
const HARMLESS: [&str; 57] = [
    ":",
    "[",
    "[[",
    "addgroup",
    "adduser",
    "apk",
    "apt",
    "apt-get",
    "cat",
    "cd",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "dnf",
    "done",
    "dpkg",
    "echo",
    "esac",
    "exit",
    "export",
    "false",
    "fi",
    "find",
    "for",
    "grep",
    "groupadd",
    "head",
    "ldconfig",
    "locale-gen",
    "ls",
    "microdnf",
    "printf",
    "pwd",
    "rm",
    "rustup",
    "sed",
    "set",
    "setcap",
    "sha256sum",
    "sleep",
    "strip",
    "tail",
    "test",
    "true",
    "tzdata",
    "umask",
    "unset",
    "update-ca-certificates",
    "useradd",
    "usermod",
    "wc",
    "which",
    "yum",
    "zypper",
    "}",
    "cargo",
];
/// Commands that put something where their arguments say.
const PLACING: [&str; 10] = ["cp", "dd", "install", "ln", "mkdir", "mktemp", "mv", "tee", "touch", "rmdir"];

/// The commands of a RUN in their order; those in a substitution count as well.
pub fn commands(run: &Instruction) -> Vec<Command> {
    if run.keyword != "RUN" {
        return Vec::new();
    }
    let mut workdir = run.workdir.clone();
    let mut all = Vec::new();
    for tokens in words(&run.script()) {
        let mut command = Command { workdir: workdir.clone(), ..Command::default() };
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let redirect = token.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
            if let Some(to) = redirect.strip_prefix('>') {
                let to = to.trim_start_matches(['>', '|', '&']).to_owned();
                command.writes.extend(if to.is_empty() { tokens.next() } else { Some(to) });
                continue;
            }
            let is_setting = token.split_once('=').is_some_and(|(name, _)| is_name(name));
            if command.words.is_empty() && (is_setting || BEFORE.contains(&token.as_str())) {
                continue;
            }
            command.words.push(token);
        }
        if let [cd, folder, ..] = &command.words[..]
            && cd == "cd"
        {
            workdir = join(&workdir, folder);
        }
        if !command.words.is_empty() || !command.writes.is_empty() {
            all.push(command);
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The words of each simple command, unquoted; `>` stays before what it writes to.
pub fn words(text: &str) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    let (mut word, mut has_word, mut quote) = (String::new(), false, None);
    let mut chars = text.chars().peekable();
    let end = |all: &mut Vec<Vec<String>>, word: &mut String, has: &mut bool| {
        if std::mem::take(has) {
            all.last_mut().unwrap_or(&mut Vec::new()).push(std::mem::take(word));
        }
    };
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.push(c),
            (_, '\\') => word.extend(chars.next().filter(|c| *c != '\n')),
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => (quote, has_word) = (Some(c), true),
            (None, '#') if !has_word => drop(chars.by_ref().find(|c| *c == '\n')),
            // `&>` and `>&` belong to a redirection.
            (None, '&') if word.ends_with('>') || chars.peek() == Some(&'>') => word.push('&'),
            (None, '\n' | ';' | '&' | '|' | '(' | ')' | '`') => {
                end(&mut all, &mut word, &mut has_word);
                all.push(Vec::new());
            }
            (None, c) if c.is_whitespace() => end(&mut all, &mut word, &mut has_word),
            (None, '>') if has_word && !word.chars().all(|c| c.is_ascii_digit() || c == '>' || c == '&') => {
                end(&mut all, &mut word, &mut has_word);
                (word, has_word) = (">".into(), true);
            }
            (None, c) => {
                word.push(c);
                has_word = true;
            }
        }
    }
    end(&mut all, &mut word, &mut has_word);
    all.retain(|words| !words.is_empty());
    all
}

/// The builds of a RUN by cargo.
pub fn builds(run: &Instruction) -> Vec<CargoBuild> {
    commands(run).iter().filter_map(cargo_build).collect()
}

fn program(command: &Command) -> &str {
    let program = command.words.first().map_or("", String::as_str);
    program.rsplit('/').next().unwrap_or(program)
}

fn cargo_build(command: &Command) -> Option<CargoBuild> {
    let at =
        command.words.iter().position(|word| word.rsplit('/').next().is_some_and(|name| name.ends_with("cargo")))?;
    let mut words = command.words[at + 1..].iter().map(String::as_str).peekable();
    let mut subcommand = words.next()?;
    while subcommand.starts_with(['+', '-']) || subcommand == "auditable" {
        if matches!(subcommand, "--config" | "-Z" | "-C" | "--color") {
            words.next();
        }
        subcommand = words.next()?;
    }
    if !matches!(subcommand, "build" | "b" | "rustc" | "zigbuild" | "install") {
        return None;
    }
    let mut build = CargoBuild { folder: command.workdir.clone(), ..CargoBuild::default() };
    while let Some(word) = words.next() {
        let (flag, value) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
        let mut value = || value.or_else(|| words.next()).map(str::to_owned);
        match flag {
            "--package" | "-p" => build.packages.extend(value()),
            "--bin" => build.bins.extend(value()),
            "--manifest-path" => {
                let path = value().unwrap_or_default();
                build.folder = join(&command.workdir, Utf8Path::new(&path).parent().unwrap_or(Utf8Path::new("")));
            }
            "--path" => build.folder = join(&command.workdir, value().unwrap_or_default()),
            "--workspace" | "--all" => build.is_all = true,
            "--locked" | "--frozen" => build.is_locked = true,
            "--" => break,
            _ => {}
        }
    }
    // `cargo install ripgrep` builds nothing of ours.
    (subcommand != "install" || command.words.iter().any(|word| word.starts_with("--path"))).then_some(build)
}

/// What a RUN may have put into its stage, made ready to be asked often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The paths that its commands name as what they make.
    named: BTreeSet<Utf8PathBuf>,
    /// Whether there are commands of which nobody can tell.
    is_open: bool,
}

impl Effects {
    /// Those of one RUN.
    pub fn of(run: &Instruction) -> Effects {
        let mut effects = Effects::default();
        for command in commands(run) {
            effects.take(&command);
        }
        effects
    }

    fn take(&mut self, command: &Command) {
        let program = program(command);
        let is_cargo_new = program == "cargo" && command.words.iter().any(|word| word == "new" || word == "init");
        let places = PLACING.contains(&program) || is_cargo_new || program == "strip";
        let is_harmless = HARMLESS.contains(&program) || program.is_empty();
        let arguments = command.words.iter().skip(1).filter(|_| places || !is_harmless);
        let words = arguments.chain(&command.writes).map(|word| word.rsplit('=').next().unwrap_or(word));
        let words = words.filter(|word| !word.is_empty() && !word.starts_with('-') && !word.contains('$'));
        self.named.extend(words.map(|word| join(&command.workdir, word)));
        self.is_open |= !places && !is_harmless;
    }

    /// Whether `path` may be one of them.
    pub fn on(&self, path: &Utf8Path) -> Makes {
        // A folder of the first level says nothing of what lies below it.
        let above = |folder: &Utf8Path| folder.components().count() > 2 && self.named.contains(folder);
        let below = || self.named.range(path.to_owned()..).next().is_some_and(|named| named.starts_with(path));
        if path.ancestors().any(above) || below() {
            Makes::Names
        } else if self.is_open {
            Makes::Perhaps
        } else {
            Makes::No
        }
    }
}

/// Whether a RUN changes the file `path` in place.
pub fn rewrites(run: &Instruction, path: &Utf8Path) -> bool {
    let named = |command: &Command, word: &String| !word.contains(['$', '*']) && join(&command.workdir, word) == path;
    commands(run).iter().any(|command| {
        let changes = matches!(program(command), "sed" | "perl" | "awk" | "mv" | "cp" | "tee" | "patch" | "toml");
        (changes && command.words.iter().any(|word| named(command, word)))
            || command.writes.iter().any(|word| named(command, word))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Dockerfile;
    use super::*;

    fn run(text: &str) -> Instruction {
        let text = format!("FROM a\nWORKDIR /src\nRUN {text}\n");
        Dockerfile::parse(&text).stages[0].instructions[1].clone()
    }

    #[test]
    fn builds_are_found_with_what_they_select() {
        let build = |packages: &[&str], bins: &[&str], folder: &str| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            CargoBuild { packages: owned(packages), bins: owned(bins), folder: folder.into(), ..CargoBuild::default() }
        };
        for (text, expected) in [
            ("cargo build", vec![build(&[], &[], "/src")]),
            ("cargo build -p a --package=b --bin c", vec![build(&["a", "b"], &["c"], "/src")]),
            ("cd app && A=1 /usr/bin/cargo +nightly --offline b -p a", vec![build(&["a"], &[], "/src/app")]),
            ("--mount=type=cache,target=/x set -e; if true; then cargo build; fi", vec![build(&[], &[], "/src")]),
            ("cargo build --manifest-path /w/app/Cargo.toml", vec![build(&[], &[], "/w/app")]),
            ("cargo install --path app", vec![build(&[], &[], "/src/app")]),
            ("[\"cargo\", \"build\", \"-p\", \"a b\"]", vec![build(&["a"], &[], "/src")]),
            ("<<E\ncd /w\ncargo build\nE", vec![build(&[], &[], "/w")]),
            ("cargo install ripgrep && cargo chef cook && echo cargo && cargo", vec![]),
            ("echo 'cargo build'", vec![]),
        ] {
            assert_eq!(builds(&run(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_a_run_may_have_made() {
        for (text, path, expected) in [
            ("mkdir -p /app/data", "/app/data/x", Makes::Names),
            ("mkdir -p data/x", "/src/data", Makes::Names),
            ("mkdir /app", "/app/x", Makes::No),
            ("echo a > /app/x.yaml", "/app/x.yaml", Makes::Names),
            ("echo a >/app/x.yaml 2>&1", "/app/x.yaml", Makes::Names),
            ("chown -R 1 /app/data", "/app/data/x", Makes::No),
            ("apt-get update && apt-get install -y curl", "/app/x", Makes::No),
            ("make install", "/app/x", Makes::Perhaps),
            ("curl -o /app/x https://a.example/x", "/app/x", Makes::Names),
            ("for m in */Cargo.toml; do : > \"${m%/*}/src/lib.rs\"; done", "/src/app/src/lib.rs", Makes::No),
            ("cargo new app", "/src/app/src/main.rs", Makes::Names),
            ("cargo build", "/src/app", Makes::No),
            ("", "/src/app", Makes::No),
        ] {
            assert_eq!(Effects::of(&run(text)).on(Utf8Path::new(path)), expected, "{text}");
        }
        assert!(rewrites(&run("sed -i '/x/d' Cargo.toml"), Utf8Path::new("/src/Cargo.toml")));
        assert!(!rewrites(&run("sed -i '/x/d' */Cargo.toml"), Utf8Path::new("/src/Cargo.toml")));
    }
}
