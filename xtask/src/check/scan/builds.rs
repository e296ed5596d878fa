//! Builds of images that a project's own files speak of: compose and skaffold files, workflows, Tiltfiles, and calls of
//! `docker build` in Makefiles and scripts. What stands there in a variable that the file does not set is not guessed.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde::Deserialize as _;
use serde_yaml::Value;

use super::calls::{Call, call, commands, image, is_open, substitute, variables};
use super::tree::{Tree, within};
use crate::plan::object::list;
use crate::suite::yaml::{Segment, locate};

/// One build. Paths are relative to the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) dockerfile: Utf8PathBuf,
    pub(super) context: Utf8PathBuf,
    pub(super) target: Option<String>,
    pub(super) args: BTreeMap<String, String>,
    /// What the image is called, as far as it is known.
    pub(super) images: Vec<String>,
    /// Where that stands.
    pub(super) file: Utf8PathBuf,
    pub(super) line: usize,
}

/// The builds of all recipes, in the order of their files.
pub(super) fn find(tree: &Tree) -> Vec<Build> {
    let of_file = |file: &Utf8PathBuf| {
        let read: fn(&Tree, &Utf8Path, &str) -> Vec<Build> = match kind(file)? {
            Recipe::Compose => compose,
            Recipe::Skaffold => skaffold,
            Recipe::Workflow => workflow,
            Recipe::Tilt => tilt,
            Recipe::Script => script,
        };
        let text = tree.text(file)?;
        Some(read(tree, file, &text))
    };
    let found: Vec<Build> = tree.files.par_iter().filter_map(of_file).flatten_iter().collect();
    found.into_iter().filter(|build| tree.root.join(&build.dockerfile).is_file()).collect()
}

/// Whether a file may tell how images are built.
pub(super) fn is_recipe(file: &Utf8Path) -> bool {
    kind(file).is_some()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipe {
    Compose,
    Skaffold,
    Workflow,
    Tilt,
    Script,
}

fn kind(file: &Utf8Path) -> Option<Recipe> {
    let name = file.file_name()?;
    let is_yaml = matches!(file.extension(), Some("yaml" | "yml"));
    let stem = file.file_stem()?;
    let in_workflows = || file.as_str().contains(".github/");
    match name {
        _ if is_yaml && (stem.starts_with("docker-compose") || stem.starts_with("compose")) => Some(Recipe::Compose),
        _ if is_yaml && stem.starts_with("skaffold") => Some(Recipe::Skaffold),
        _ if is_yaml && in_workflows() => Some(Recipe::Workflow),
        _ if is_yaml && stem == "Taskfile" => Some(Recipe::Script),
        "Tiltfile" => Some(Recipe::Tilt),
        "Makefile" | "makefile" | "GNUmakefile" | "justfile" | "Justfile" => Some(Recipe::Script),
        _ if matches!(file.extension(), Some("mk" | "sh" | "bash" | "just")) => Some(Recipe::Script),
        _ => None,
    }
}

fn folder_of(file: &Utf8Path) -> &Utf8Path {
    file.parent().unwrap_or(Utf8Path::new(""))
}

/// The documents of a file, as far as they can be read.
fn documents(text: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // The parser cannot go on behind a mistake.
        let Ok(mut value) = Value::deserialize(document) else { break };
        if value.apply_merge().is_ok() {
            all.push(value);
        }
    }
    all
}

/// A text without variables at this key.
fn plain(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().filter(|text| !is_open(text)).map(str::to_owned)
}

/// The pairs of a mapping, or of a list of `NAME=value`, whose values are known.
fn pairs(value: Option<&Value>) -> BTreeMap<String, String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    };
    let of_list = |one: &Value| one.as_str()?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all: Vec<(String, String)> = match value {
        Some(Value::Mapping(map)) => {
            map.iter().filter_map(|(name, value)| Some((scalar(name)?, scalar(value)?))).collect()
        }
        Some(Value::Sequence(items)) => items.iter().filter_map(of_list).collect(),
        Some(Value::String(lines)) => lines
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|(_, value)| !is_open(value)).collect()
}

/// <https://docs.docker.com/reference/compose-file/build/>
fn compose(tree: &Tree, file: &Utf8Path, text: &str) -> Vec<Build> {
    // The variables of a compose file are set in a file beside it.
    let env = tree.text(&folder_of(file).join(".env")).unwrap_or_default();
    let variables = variables(&env);
    let filled = |text: &str| substitute(text, &variables);
    let mut builds = Vec::new();
    for document in documents(text) {
        for (name, service) in document.get("services").and_then(Value::as_mapping).into_iter().flatten() {
            let Some(build) = service.get("build") else { continue };
            let context = match build {
                Value::String(context) => Some(filled(context)),
                _ => Some(build.get("context").and_then(Value::as_str).map_or_else(|| ".".into(), filled)),
            };
            let Some(context) = context.filter(|context| !is_open(context)).and_then(|c| within(folder_of(file), &c))
            else {
                continue;
            };
            let dockerfile = build.get("dockerfile").and_then(Value::as_str).map(filled);
            let dockerfile = dockerfile.unwrap_or_else(|| "Dockerfile".into());
            if is_open(&dockerfile) || build.get("dockerfile_inline").is_some() {
                continue;
            }
            let Some(dockerfile) = within(&context, &dockerfile) else { continue };
            let line = line_of(text, &crate::at!["services", name.as_str().unwrap_or_default(), "build"]);
            builds.push(Build {
                dockerfile,
                context,
                target: plain(build, "target"),
                args: pairs(build.get("args")),
                images: service
                    .get("image")
                    .and_then(Value::as_str)
                    .map(filled)
                    .and_then(|i| image(&i))
                    .into_iter()
                    .collect(),
                file: file.to_owned(),
                line,
            });
        }
    }
    builds
}

fn line_of(text: &str, place: &[Segment]) -> usize {
    locate(text, 0, place).map_or(1, |at| at.line())
}

/// <https://skaffold.dev/docs/references/yaml/>
fn skaffold(_: &Tree, file: &Utf8Path, text: &str) -> Vec<Build> {
    let mut builds = Vec::new();
    for document in documents(text) {
        let of_profiles =
            list(&document, &["profiles"]).iter().flat_map(|profile| list(profile, &["build", "artifacts"]));
        for artifact in list(&document, &["build", "artifacts"]).iter().chain(of_profiles) {
            let others = ["bazel", "buildpacks", "custom", "jib", "ko"];
            if others.iter().any(|builder| artifact.get(builder).is_some()) {
                continue;
            }
            let name = artifact.get("image").and_then(Value::as_str).unwrap_or_default();
            let docker = artifact.get("docker").or_else(|| artifact.get("kaniko")).unwrap_or(&Value::Null);
            let context = artifact.get("context").and_then(Value::as_str).unwrap_or(".");
            let dockerfile = docker.get("dockerfile").and_then(Value::as_str).unwrap_or("Dockerfile");
            if is_open(context) || is_open(dockerfile) {
                continue;
            }
            let Some(context) = within(folder_of(file), context) else { continue };
            let Some(dockerfile) = within(&context, dockerfile) else { continue };
            builds.push(Build {
                dockerfile,
                context,
                target: plain(docker, "target"),
                args: pairs(docker.get("buildArgs")),
                images: image(name).into_iter().collect(),
                file: file.to_owned(),
                line: text.lines().position(|line| line.contains(&format!("image: {name}"))).map_or(1, |at| at + 1),
            });
        }
    }
    builds
}

/// Steps with `docker/build-push-action`, and the commands of the others.
/// <https://github.com/docker/build-push-action#inputs>
fn workflow(tree: &Tree, file: &Utf8Path, text: &str) -> Vec<Build> {
    let mut builds = script(tree, file, text);
    for document in documents(text) {
        let jobs = document.get("jobs").and_then(Value::as_mapping).into_iter().flatten();
        let steps = jobs.flat_map(|(_, job)| list(job, &["steps"])).chain(list(&document, &["runs", "steps"]));
        for step in steps {
            let uses = step.get("uses").and_then(Value::as_str).unwrap_or_default();
            let Some(with) = step.get("with").filter(|_| uses.contains("build-push-action")) else { continue };
            let context = with.get("context").and_then(Value::as_str).unwrap_or(".");
            let Some(context) = Some(context).filter(|text| !is_open(text)).and_then(|c| within("".into(), c)) else {
                continue;
            };
            let dockerfile = match with.get("file").and_then(Value::as_str) {
                Some(file) if is_open(file) => continue,
                Some(file) => within("".into(), file),
                None => Some(context.join("Dockerfile")),
            };
            let Some(dockerfile) = dockerfile else { continue };
            let tags = with.get("tags").and_then(Value::as_str).unwrap_or_default();
            let line = text.lines().position(|line| line.contains(uses)).map_or(1, |at| at + 1);
            builds.push(Build {
                dockerfile,
                context,
                target: plain(with, "target"),
                args: pairs(with.get("build-args")),
                images: tags.split(['\n', ',']).filter_map(image).collect(),
                file: file.to_owned(),
                line,
            });
        }
    }
    builds
}

/// `docker_build('name', 'context', dockerfile='…', target='…')`.
/// <https://docs.tilt.dev/api.html#api.docker_build>
fn tilt(_: &Tree, file: &Utf8Path, text: &str) -> Vec<Build> {
    let mut builds = Vec::new();
    for (at, _) in text.match_indices("docker_build(") {
        let line = text[..at].matches('\n').count() + 1;
        let inside = text[at..].split_once('(').map_or("", |(_, rest)| rest);
        let mut places = Vec::new();
        let mut keys = BTreeMap::new();
        for part in arguments(inside) {
            let literal = |text: &str| {
                let bare = text.trim().strip_prefix(['\'', '"'])?.strip_suffix(['\'', '"'])?;
                (!is_open(bare)).then(|| bare.to_owned())
            };
            match part
                .split_once('=')
                .filter(|(key, _)| key.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            {
                Some((key, value)) => drop(keys.insert(key.trim(), literal(value))),
                None => places.push(literal(part)),
            }
        }
        let mut argument = |at: usize, key: &str| match places.get(at) {
            Some(literal) => literal.clone(),
            None => keys.remove(key).flatten(),
        };
        let (name, context) = (argument(0, "ref"), argument(1, "context"));
        let Some(context) = context.and_then(|context| within(folder_of(file), &context)) else { continue };
        let dockerfile = match keys.get("dockerfile") {
            Some(None) => continue,
            Some(Some(dockerfile)) => within(folder_of(file), dockerfile),
            None => Some(context.join("Dockerfile")),
        };
        let Some(dockerfile) = dockerfile else { continue };
        let target = keys.get("target").cloned().flatten();
        let images = name.as_deref().and_then(image).into_iter().collect();
        let (file, args) = (file.to_owned(), BTreeMap::new());
        builds.push(Build { dockerfile, context, target, args, images, file, line });
    }
    builds
}

/// The arguments of a call, of which `text` is what follows the parenthesis: what is in brackets stays together.
fn arguments(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let (mut depth, mut quote, mut begin) = (0, None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') if depth > 0 => depth -= 1,
            (None, ',' | ')') if depth == 0 => {
                all.push(text[begin..at].trim());
                begin = at + 1;
                if c == ')' {
                    break;
                }
            }
            _ => {}
        }
    }
    all
}

/// The calls of `docker build` and its kin in a Makefile, a script, or a workflow's commands.
fn script(tree: &Tree, file: &Utf8Path, text: &str) -> Vec<Build> {
    let variables = variables(text);
    let mut builds = Vec::new();
    for (line, command) in commands(text) {
        let command = substitute(&command, &variables);
        let Some(call) = call(&command) else { continue };
        // A script may be called from its own folder or from the project's.
        let folders = [folder_of(file), Utf8Path::new("")];
        let build = folders.iter().find_map(|folder| {
            let context = within(folder, &call.context)?;
            let dockerfile = match &call.dockerfile {
                Some(dockerfile) => within(folder, dockerfile)?,
                None => context.join("Dockerfile"),
            };
            let is_there = tree.root.join(&context).is_dir() && tree.root.join(&dockerfile).is_file();
            let Call { target, args, images, .. } = call.clone();
            is_there.then(|| Build { dockerfile, context, target, args, images, file: file.to_owned(), line })
        });
        builds.extend(build);
    }
    builds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_tell_their_builds() {
        let compose_text = "services:\n  shop:\n    image: r.example/shop:${TAG:-1}\n    build: {context: .., dockerfile: docker/Dockerfile, target: run, args: [A=1]}\n  db: {image: db}\n  web: {build: ./web}\n";
        let tree = Tree::default();
        let found = compose(&tree, "deploy/compose.yaml".into(), compose_text);
        let places: Vec<(&str, &str, usize)> =
            found.iter().map(|build| (build.dockerfile.as_str(), build.context.as_str(), build.line)).collect();
        assert_eq!(places, [("docker/Dockerfile", "", 4), ("deploy/web/Dockerfile", "deploy/web", 6)]);
        assert_eq!(found[0].images, ["r.example/shop:1"]);
        let skaffold_text = "apiVersion: skaffold/v4\nbuild:\n  artifacts:\n    - image: shop\n      context: src\n      docker: {dockerfile: D}\n    - {image: x, jib: {}}\n";
        let found = skaffold(&tree, "skaffold.yaml".into(), skaffold_text);
        assert_eq!((found.len(), found[0].dockerfile.as_str(), found[0].line), (1, "src/D", 4));
        let workflow_text = "jobs:\n  a:\n    steps:\n      - uses: docker/build-push-action@v6\n        with: {context: ., file: d/Dockerfile, tags: 'a/b:1,a/b:${{ x }}'}\n";
        let found = workflow(&tree, ".github/workflows/a.yaml".into(), workflow_text);
        assert_eq!(
            (found[0].dockerfile.as_str(), &found[0].images[..]),
            ("d/Dockerfile", &["a/b:1".to_owned(), "a/b".to_owned()][..])
        );
        let found = tilt(
            &tree,
            "Tiltfile".into(),
            "docker_build(\n  'shop', context='.', only=['a', 'b'], run=f('x, y'), dockerfile='D')\n",
        );
        assert_eq!((found[0].dockerfile.as_str(), found[0].images[0].as_str(), found[0].line), ("D", "shop", 1));
    }
}
