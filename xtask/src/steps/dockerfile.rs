//! The images that a Dockerfile starts from.

use anyhow::{Context, Result};
use camino::Utf8Path;

use super::build::BUILD_STAGE;
use crate::plan::BuildMode;
use crate::suite::Image;

/// The references that building `image` pulls, where its stages are built as `build` wants.
///
/// # Errors
/// When its Dockerfile cannot be read.
pub fn bases(root: &Utf8Path, image: &Image, build: BuildMode) -> Result<Vec<String>> {
    let path = root.join(&image.dockerfile);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", image.dockerfile))?;
    let replaced = (build == BuildMode::Host && image.package.is_some()).then_some(BUILD_STAGE);
    Ok(needed(&text, replaced))
}

/// A stage: the image or stage it starts from, its name, the stages it copies from.
struct Stage {
    from: String,
    name: Option<String>,
    copies: Vec<String>,
}

/// What the last stage needs, directly or through other stages; the stage `replaced` is not built.
fn needed(dockerfile: &str, replaced: Option<&str>) -> Vec<String> {
    let stages = stages(dockerfile);
    let find = |name: &str| stages.iter().find(|stage| stage.name.as_deref() == Some(name));
    let mut bases = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    let mut open: Vec<&Stage> = stages.last().into_iter().collect();
    while let Some(stage) = open.pop() {
        for name in std::iter::once(&stage.from).chain(&stage.copies) {
            if Some(name.as_str()) == replaced || seen.contains(&name.as_str()) {
                continue;
            }
            seen.push(name);
            match find(name) {
                Some(other) => open.push(other),
                None => bases.push(name.clone()),
            }
        }
    }
    bases.sort();
    bases
}

fn stages(dockerfile: &str) -> Vec<Stage> {
    let mut args: Vec<(String, String)> = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for line in dockerfile.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(instruction) = words.first() else { continue };
        match instruction.to_uppercase().as_str() {
            "ARG" => {
                let value = words.get(1).and_then(|word| word.split_once('='));
                args.extend(value.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())));
            }
            "FROM" => {
                let words: Vec<&str> = words.into_iter().skip(1).filter(|word| !word.starts_with("--")).collect();
                let from = words.first().map(|from| fill(from, &args)).unwrap_or_default();
                let name = words.get(2).filter(|_| words[1].eq_ignore_ascii_case("as"));
                stages.push(Stage { from, name: name.map(|name| (*name).to_owned()), copies: Vec::new() });
            }
            "COPY" => {
                let from = words.iter().find_map(|word| word.strip_prefix("--from="));
                if let (Some(from), Some(stage)) = (from, stages.last_mut()) {
                    stage.copies.push(from.to_owned());
                }
            }
            _ => {}
        }
    }
    stages
}

fn fill(text: &str, args: &[(String, String)]) -> String {
    args.iter().rev().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
ARG BUILDER=docker.io/library/rust:1
ARG BASE=docker.io/library/debian:12
FROM ${BUILDER} AS dependencies
FROM dependencies AS build
COPY --from=unused:1 a b
FROM --platform=linux/amd64 $BASE
COPY --from=build /out/a /a
";

    #[test]
    fn a_build_in_the_container_needs_every_base_and_one_on_the_host_only_the_last() {
        let all = ["docker.io/library/debian:12", "docker.io/library/rust:1", "unused:1"];
        assert_eq!(needed(FILE, None), all);
        assert_eq!(needed(FILE, Some("build")), ["docker.io/library/debian:12"]);
    }
}
