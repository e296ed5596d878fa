//! As much of a Dockerfile as has to be understood here: stages, what they start from, what they copy.
//! <https://docs.docker.com/reference/dockerfile/>

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::plan::BuildMode;
use crate::suite::Image;

/// The stage of a Dockerfile that a folder of finished binaries replaces.
pub const BUILD_STAGE: &str = "build";

/// One instruction with its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The line it begins on, from 1.
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    /// `--name=value`, without the hyphens.
    pub flags: Vec<(String, String)>,
    /// What follows; `["a", "b"]` is taken apart.
    pub words: Vec<String>,
}

impl Instruction {
    /// The value of `--name=…`.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    /// Of a COPY or ADD: what is copied, and where to.
    pub fn copies(&self) -> Option<(&[String], &str)> {
        let (to, from) = self.words.split_last()?;
        (matches!(self.keyword.as_str(), "COPY" | "ADD") && !from.is_empty()).then_some((from, to.as_str()))
    }
}

/// One `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub line: usize,
    /// The image or the stage that it starts from.
    pub from: String,
    pub name: Option<String>,
    pub instructions: Vec<Instruction>,
}

impl Stage {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

/// A whole Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// Takes a text apart; what it does not know is kept as it stands.
    pub fn parse(text: &str) -> Dockerfile {
        let mut arguments: Vec<(String, String)> = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for mut instruction in instructions(text) {
            for word in instruction.words.iter_mut().chain(instruction.flags.iter_mut().map(|(_, value)| value)) {
                *word = fill(word, &arguments);
            }
            if matches!(instruction.keyword.as_str(), "ARG" | "ENV") {
                let values = instruction.words.iter().filter_map(|word| word.split_once('='));
                arguments.extend(values.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())));
            }
            if instruction.keyword == "FROM" {
                let name = match &instruction.words[..] {
                    [_, keyword, name, ..] if keyword.eq_ignore_ascii_case("as") => Some(name.clone()),
                    _ => None,
                };
                let from = instruction.words.first().cloned().unwrap_or_default();
                stages.push(Stage { line: instruction.line, from, name, instructions: Vec::new() });
            } else if let Some(stage) = stages.last_mut() {
                stage.instructions.push(instruction);
            }
        }
        Dockerfile { stages }
    }

    /// The stage of this name, or of this number.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let numbered = name.parse::<usize>().ok().and_then(|number| self.stages.get(number));
        self.stages.iter().find(|stage| stage.is(name)).or(numbered)
    }

    /// The stage and those that it starts from, first things first.
    pub fn chain<'a>(&'a self, stage: &'a Stage) -> Vec<&'a Stage> {
        let mut chain = vec![stage];
        while let Some(below) = chain.last().and_then(|stage| self.stage(&stage.from)) {
            if chain.iter().any(|stage| stage.line == below.line) {
                break;
            }
            chain.push(below);
        }
        chain.reverse();
        chain
    }

    /// The image whose layers the last stage ends up on; none where it stands on nothing.
    fn runtime_base(&self) -> Option<String> {
        let first = *self.chain(self.stages.last()?).first()?;
        Some(first.from.clone()).filter(|base| base != "scratch")
    }

    /// The images that the last stage needs, directly or through other stages; the stage `replaced`
    /// is not built.
    fn needed(&self, replaced: Option<&str>) -> Vec<String> {
        let mut bases = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&Stage> = self.stages.last().into_iter().collect();
        while let Some(stage) = open.pop() {
            let copied = stage.instructions.iter().filter_map(|instruction| instruction.flag("from"));
            for name in std::iter::once(stage.from.as_str()).chain(copied) {
                if Some(name) == replaced || seen.contains(&name) {
                    continue;
                }
                seen.push(name);
                match self.stage(name) {
                    Some(other) => open.push(other),
                    None if name == "scratch" => {}
                    None => bases.push(name.to_owned()),
                }
            }
        }
        bases.sort();
        bases
    }
}

/// The references that building `image` pulls, where its stages are built as `build` wants.
///
/// # Errors
/// When its Dockerfile cannot be read.
pub fn bases(root: &Utf8Path, image: &Image, build: BuildMode) -> Result<Vec<String>> {
    let replaced = (build == BuildMode::Host && image.package.is_some()).then_some(BUILD_STAGE);
    Ok(read(root, image)?.needed(replaced))
}

/// The image whose layers `image` ends up on; none where it stands on nothing.
///
/// # Errors
/// When its Dockerfile cannot be read.
pub fn runtime_base(root: &Utf8Path, image: &Image) -> Result<Option<String>> {
    Ok(read(root, image)?.runtime_base())
}

fn read(root: &Utf8Path, image: &Image) -> Result<Dockerfile> {
    let path = root.join(&image.dockerfile);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", image.dockerfile))?;
    Ok(Dockerfile::parse(&text))
}

fn instructions(text: &str) -> Vec<Instruction> {
    let mut all = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        // Comments and empty lines do not end an instruction that goes on.
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (content, goes_on) = match trimmed.strip_suffix('\\') {
            Some(content) => (content, true),
            None => (trimmed, false),
        };
        let (_, text) = open.get_or_insert_with(|| (at + 1, String::new()));
        text.push_str(content);
        text.push(' ');
        if !goes_on && let Some((line, text)) = open.take() {
            all.extend(instruction(line, &text));
        }
    }
    all.extend(open.and_then(|(line, text)| instruction(line, &text)));
    all
}

fn instruction(line: usize, text: &str) -> Option<Instruction> {
    let (keyword, mut rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let mut flags = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(flag) = rest.strip_prefix("--") else { break };
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        flags.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    let words = serde_json::from_str(rest.trim())
        .unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect::<Vec<String>>());
    (!keyword.is_empty()).then(|| Instruction { line, keyword: keyword.to_uppercase(), flags, words })
}

fn fill(text: &str, arguments: &[(String, String)]) -> String {
    arguments.iter().rev().fold(text.to_owned(), |text, (name, value)| {
        let text = text.replace(&format!("${{{name}}}"), value);
        // `$NAME` stands for itself where a longer name follows.
        match text.split_once(&format!("${name}")) {
            Some((before, after)) if !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => {
                format!("{before}{value}{after}")
            }
            _ => text,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
ARG BUILDER=docker.io/library/rust:1
ARG BASE=docker.io/library/debian:12
FROM ${BUILDER} AS dependencies
FROM dependencies AS build
COPY --from=unused:1 a b
RUN one \
    # between
    && two
FROM --platform=linux/amd64 $BASE
COPY --from=build --chmod=0555 /out/a /a
ENTRYPOINT ["/a", "--flag"]
"#;

    #[test]
    fn a_build_in_the_container_needs_every_base_and_one_on_the_host_only_the_last() {
        let file = Dockerfile::parse(FILE);
        let all = ["docker.io/library/debian:12", "docker.io/library/rust:1", "unused:1"];
        assert_eq!(file.needed(None), all);
        assert_eq!(file.needed(Some("build")), ["docker.io/library/debian:12"]);
    }

    #[test]
    fn an_image_ends_up_on_the_layers_of_its_last_stages_base() {
        for (text, expected) in [
            (FILE, Some("docker.io/library/debian:12")),
            ("FROM a:1 AS one\nFROM one AS two\nFROM two\n", Some("a:1")),
            ("FROM a:1 AS build\nFROM scratch\nCOPY --from=build /x /x\n", None),
            ("", None),
        ] {
            assert_eq!(Dockerfile::parse(text).runtime_base().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn instructions_keep_their_lines_flags_and_words() {
        let file = Dockerfile::parse(FILE);
        let [_, build, last] = &file.stages[..] else { panic!("{file:?}") };
        assert_eq!((build.instructions[1].line, build.instructions[1].words.join(" ")), (7, "one && two".into()));
        let (from, to) = last.instructions[0].copies().unwrap();
        assert_eq!((from, to), (&["/out/a".to_owned()][..], "/a"));
        assert_eq!(last.instructions[0].flag("from"), Some("build"));
        assert_eq!(last.instructions[1].words, ["/a", "--flag"]);
        let chain = file.chain(build);
        assert_eq!(
            chain.iter().map(|stage| stage.name.as_deref()).collect::<Vec<_>>(),
            [Some("dependencies"), Some("build")]
        );
    }
}
