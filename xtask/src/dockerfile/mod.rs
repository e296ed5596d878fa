//! Dockerfiles as BuildKit reads them: stages, what they start from, what they copy.
//! <https://docs.docker.com/reference/dockerfile/>
//!
//! Written here because it is needed what a word means, which is a matter of scopes, and because a file with a
//! mistake in it is to be read too. The parsers on crates.io stop at the syntax, and at the first mistake.

mod lines;
mod parse;
pub mod pattern;
pub mod script;
#[cfg(test)]
mod tests;
mod words;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::plan::BuildMode;
use crate::suite::Image;

pub use lines::Heredoc;
pub use parse::{WORKDIR_OF_BASE, join};
pub use words::Word;

/// The stage of a Dockerfile that a folder of finished binaries replaces, where one has that name.
pub const BUILD_STAGE: &str = "build";

/// One instruction with its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The line it begins on, from 1.
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    /// `--name=value`, without the hyphens.
    pub flags: Vec<(String, Word)>,
    /// What follows; `["a", "b"]` is taken apart.
    pub words: Vec<Word>,
    /// Whether it was `["a", "b"]`.
    pub is_list: bool,
    /// What follows the flags, as it stands.
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    /// The folder that its relative paths begin at; [`WORKDIR_OF_BASE`] where an image decides.
    pub workdir: Utf8PathBuf,
}

/// An instruction as it stands, whatever it is called: also one that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The line it begins on, from 1.
    pub line: usize,
    pub keyword: String,
    /// `--name=value`, without the hyphens.
    pub flags: Vec<(String, String)>,
    /// What follows the flags.
    pub text: String,
}

/// The instructions of a text, in their order.
pub fn statements(text: &str) -> Vec<Statement> {
    lines::lines(text).1.iter().map(parse::statement).collect()
}

/// `RUN --mount=…`: something that is there for one RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `cache`, `secret` …
    pub kind: String,
    /// The stage or image that it comes from; none for the build context.
    pub from: Option<Word>,
    pub source: Word,
    pub target: Word,
}

impl Instruction {
    /// The value of `--name=…`.
    pub fn flag(&self, name: &str) -> Option<&Word> {
        self.flags.iter().find(|(flag, _)| flag == name).map(|(_, value)| value)
    }

    /// Of a COPY or ADD: what is copied, heredocs left out, and where to.
    pub fn copies(&self) -> Option<(Vec<&Word>, &Word)> {
        let (to, from) = self.words.split_last()?;
        let is_copy = matches!(self.keyword.as_str(), "COPY" | "ADD") && !from.is_empty();
        is_copy.then(|| (from.iter().filter(|word| lines::heredoc(&word.text).is_none()).collect(), to))
    }

    /// Of a RUN: what is mounted for it.
    pub fn mounts(&self) -> Vec<Mount> {
        let mounts = self.flags.iter().filter(|(name, _)| self.keyword == "RUN" && name == "mount");
        mounts.map(|(_, value)| mount(value)).collect()
    }

    /// Of a RUN: all that the shell gets to read.
    pub fn script(&self) -> String {
        let bodies = self.heredocs.iter().map(|heredoc| heredoc.text.as_str());
        let line = if self.is_list {
            self.words.iter().map(|w| w.text.clone()).collect::<Vec<_>>().join(" ")
        } else {
            self.text.clone()
        };
        std::iter::once(line.as_str()).chain(bodies).collect::<Vec<_>>().join("\n")
    }
}

fn mount(value: &Word) -> Mount {
    let mut mount = Mount { kind: "bind".into(), ..Mount::default() };
    mount.source = Word { text: "/".into(), known: true };
    for part in value.text.split(',') {
        let (key, text) = part.split_once('=').unwrap_or((part, ""));
        let word = Word { text: text.to_owned(), known: value.known || !text.contains("${") };
        match key {
            "type" => mount.kind = word.text,
            "from" => mount.from = Some(word),
            "source" | "src" => mount.source = word,
            "target" | "dst" | "destination" => mount.target = word,
            _ => {}
        }
    }
    mount
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// The stage of this place in the file.
    Stage(usize),
    /// An image, by its reference.
    Image(String),
    /// What only the build knows.
    Unknown,
}

/// One `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub line: usize,
    /// As it stands there, with variables filled in.
    pub from: Word,
    pub base: Base,
    pub name: Option<String>,
    /// Those that the stage below asked for (ONBUILD) come first.
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
    /// As [`Dockerfile::parse_with`], without arguments of the build.
    pub fn parse(text: &str) -> Dockerfile {
        Dockerfile::parse_with(text, &[])
    }

    /// The place of the stage of this name, or of this number.
    pub fn stage(&self, name: &str) -> Option<usize> {
        let numbered = name.parse::<usize>().ok().filter(|number| *number < self.stages.len());
        self.stages.iter().rposition(|stage| stage.is(name)).or(numbered)
    }

    /// The place of the stage that an image is made of: the one it names, else the last.
    pub fn target(&self, image: &Image) -> Option<usize> {
        image.target.as_deref().map_or(self.stages.len().checked_sub(1), |name| self.stage(name))
    }

    /// The places of the stage and of those that it starts from, first things first.
    pub fn chain(&self, stage: usize) -> Vec<usize> {
        let mut chain = vec![stage];
        // A stage starts from an earlier one only, so that this ends.
        while let Some(Base::Stage(below)) = chain.last().and_then(|at| self.stages.get(*at)).map(|stage| &stage.base) {
            chain.push(*below);
        }
        chain.reverse();
        chain
    }

    /// The image that the stage ends up on: none where it stands on nothing, or where only the build knows.
    pub fn base_image(&self, stage: usize) -> Option<&str> {
        match &self.stages.get(*self.chain(stage).first()?)?.base {
            Base::Image(image) => Some(image),
            _ => None,
        }
    }

    /// The places of the stages that `target` needs, itself among them, and the images that they need; the stage
    /// `replaced` is not built.
    pub fn needed(&self, target: usize, replaced: Option<usize>) -> (Vec<usize>, Vec<String>) {
        let (mut stages, mut images) = (Vec::new(), Vec::new());
        let mut open = vec![target];
        while let Some(at) = open.pop() {
            let Some(stage) = self.stages.get(at).filter(|_| Some(at) != replaced && !stages.contains(&at)) else {
                continue;
            };
            stages.push(at);
            match &stage.base {
                Base::Stage(below) => open.push(*below),
                Base::Image(image) => images.push(image.clone()),
                Base::Scratch | Base::Unknown => {}
            }
            let mounts = stage.instructions.iter().flat_map(|run| run.mounts()).filter_map(|mount| mount.from);
            let copied = stage.instructions.iter().filter_map(|instruction| instruction.flag("from").cloned());
            for from in copied.chain(mounts).filter(|from| from.known) {
                match self.stage(&from.text) {
                    Some(other) => open.push(other),
                    None if from.text == "scratch" => {}
                    None => images.push(from.text),
                }
            }
        }
        stages.sort_unstable();
        images.sort();
        images.dedup();
        (stages, images)
    }

    /// The place of the stage that compiles what `target` needs: the one that is `told`, else the one of the usual name,
    /// else the last that calls cargo to build. None where the one that is told is not needed.
    pub fn compiles(&self, target: usize, told: Option<&str>) -> Option<usize> {
        let (needed, _) = self.needed(target, None);
        if let Some(told) = told {
            return self.stage(told).filter(|stage| *stage != target && needed.contains(stage));
        }
        let named = needed.iter().rfind(|at| self.stages[**at].is(BUILD_STAGE));
        let calls = |at: &&usize| {
            **at != target && self.stages[**at].instructions.iter().any(|run| !script::builds(run).is_empty())
        };
        named.or_else(|| needed.iter().rfind(calls)).copied()
    }
}

/// The references that building `image` pulls in the container alone, in the stages that a build on the host replaces.
///
/// # Errors
/// As [`bases`].
pub fn replaced_bases(root: &Utf8Path, image: &Image) -> Result<Vec<String>> {
    let left = bases(root, image, BuildMode::Host)?;
    let mut all = bases(root, image, BuildMode::Container)?;
    all.retain(|base| !left.contains(base));
    Ok(all)
}

/// The references that building `image` pulls, where its stages are built as `build` wants.
///
/// # Errors
/// When its Dockerfile cannot be read.
pub fn bases(root: &Utf8Path, image: &Image, build: BuildMode) -> Result<Vec<String>> {
    let file = read(root, image)?;
    let Some(target) = file.target(image) else { return Ok(Vec::new()) };
    let compiles = file.compiles(target, image.stage.as_deref());
    let replaced = compiles.filter(|_| build == BuildMode::Host && image.is_compiled());
    Ok(file.needed(target, replaced).1)
}

/// The image whose layers `image` ends up on; none where it stands on nothing.
///
/// # Errors
/// When its Dockerfile cannot be read.
pub fn runtime_base(root: &Utf8Path, image: &Image) -> Result<Option<String>> {
    let file = read(root, image)?;
    Ok(file.target(image).and_then(|target| file.base_image(target)).map(str::to_owned))
}

/// The name of the stage that a folder of finished binaries replaces where `image` is compiled on the host.
///
/// # Errors
/// When its Dockerfile cannot be read.
pub fn replaced_stage(root: &Utf8Path, image: &Image) -> Result<String> {
    let file = read(root, image)?;
    let stage = file.target(image).and_then(|target| file.compiles(target, image.stage.as_deref()));
    Ok(stage.and_then(|at| file.stages[at].name.clone()).unwrap_or_else(|| BUILD_STAGE.to_owned()))
}

fn read(root: &Utf8Path, image: &Image) -> Result<Dockerfile> {
    let path = root.join(&image.dockerfile);
    let text = std::fs::read(&path).with_context(|| format!("reading {}", image.dockerfile))?;
    let args: Vec<(String, String)> = image.args.clone().into_iter().collect();
    Ok(Dockerfile::parse_with(&String::from_utf8_lossy(&text), &args))
}
