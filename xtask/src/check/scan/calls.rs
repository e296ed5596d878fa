//! Calls of `docker build` and its kin, as they stand in Makefiles, scripts and workflows.

use std::collections::BTreeMap;

use crate::dockerfile::script::words;

/// So deep may variables of a recipe stand in each other.
const NESTED: usize = 5;

/// Whether a text has a variable in it.
pub(super) fn is_open(text: &str) -> bool {
    text.contains('$') || text.contains("{{") || text.contains('<') || text.contains('`')
}

/// The name of an image, without what is not known of it: a tag in a variable is left out.
pub(super) fn image(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'']);
    let name = match text.split_once(['$', '{']) {
        Some((before, _)) => before.strip_suffix(':')?,
        None => text,
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "./:-_@".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits);
    (is_name && !name.ends_with('/')).then(|| name.to_owned())
}

/// What is set once in a recipe, by name: `NAME = value`, `NAME ?= value`, `NAME="value"`.
pub(super) fn variables(text: &str) -> BTreeMap<&str, Option<&str>> {
    let mut all: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = ["export ", "readonly ", "local "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim_end_matches([':', '?', ' ', '+']).trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
        let same = all.get(name).is_none_or(|before| *before == Some(value));
        all.insert(name, same.then_some(value));
    }
    all
}

/// `$(NAME)`, `${NAME}` and `${NAME:-default}` with what is known of them; others stay.
pub(super) fn substitute(text: &str, variables: &BTreeMap<&str, Option<&str>>) -> String {
    let mut text = text.to_owned();
    for _ in 0..NESTED {
        let mut next = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            next.push_str(before);
            let braced = after
                .strip_prefix('(')
                .and_then(|inside| inside.split_once(')'))
                .or_else(|| after.strip_prefix('{').and_then(|inside| inside.split_once('}')));
            let (name, behind) = braced.unwrap_or_else(|| {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at(end)
            });
            let default = name.split_once(":-").or_else(|| name.split_once('-'));
            let (name, default) = default.map_or((name, None), |(name, default)| (name, Some(default)));
            match variables.get(name).copied().flatten().or(default) {
                Some(value) => next.push_str(value),
                None => next.push_str(&format!("${{{name}}}")),
            }
            rest = behind;
        }
        next.push_str(rest);
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// The lines that call a builder, each from the call on, with its continuations and the line it begins on.
pub(super) fn commands(text: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let mut whole = line.to_owned();
        while whole.trim_end().ends_with('\\') {
            whole.truncate(whole.trim_end().len() - 1);
            let Some((_, next)) = lines.next() else { break };
            whole.push(' ');
            whole.push_str(next.trim());
        }
        let calls = ["docker", "podman", "nerdctl", "buildah"];
        let begin = calls.iter().filter_map(|call| whole.find(&format!("{call} "))).min();
        let Some(begin) = begin.filter(|_| !whole.trim_start().starts_with('#')) else { continue };
        if whole.contains(" build") || whole.contains(" bud ") {
            all.push((at + 1, whole[begin..].to_owned()));
        }
    }
    all
}

/// One call of a builder, with paths as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) context: String,
    pub(super) dockerfile: Option<String>,
    pub(super) target: Option<String>,
    pub(super) args: BTreeMap<String, String>,
    pub(super) images: Vec<String>,
}

/// The options of `docker build` that have a value and are not looked at.
const WITH_VALUE: [&str; 24] = [
    "--add-host",
    "--annotation",
    "--attest",
    "--authfile",
    "--build-context",
    "--builder",
    "--cache-from",
    "--cache-to",
    "--cgroup-parent",
    "--format",
    "--iidfile",
    "--label",
    "--memory",
    "--metadata-file",
    "--network",
    "--output",
    "--platform",
    "--progress",
    "--secret",
    "--shm-size",
    "--ssh",
    "--ulimit",
    "-m",
    "-o",
];

/// What `docker build …` at the beginning of `text` builds; none where it is no build, or its context is not known.
pub(super) fn call(text: &str) -> Option<Call> {
    let first = words(text).into_iter().next()?;
    let mut words = first.iter().map(String::as_str);
    words.next()?;
    let mut subcommand = words.next()?;
    while matches!(subcommand, "buildx" | "image" | "builder") || subcommand.starts_with('-') {
        subcommand = words.next()?;
    }
    if !matches!(subcommand, "build" | "bud") {
        return None;
    }
    let mut call = Call::default();
    let mut contexts: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        if !word.starts_with('-') || word == "-" {
            contexts.push(word);
            continue;
        }
        let (flag, inline) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
        let mut value = || inline.or_else(|| words.next());
        match flag {
            "-f" | "--file" => call.dockerfile = Some(value()?.to_owned()),
            "-t" | "--tag" => call.images.extend(value().and_then(image)),
            "--target" => call.target = value().map(str::to_owned),
            "--build-arg" => {
                let pair = value().and_then(|pair| pair.split_once('='));
                call.args.extend(pair.filter(|(_, value)| !is_open(value)).map(|(n, v)| (n.to_owned(), v.to_owned())));
            }
            flag if WITH_VALUE.contains(&flag) => drop(value()),
            _ => {}
        }
    }
    let [context] = contexts[..] else { return None };
    let known = [Some(context), call.dockerfile.as_deref()].into_iter().flatten().all(|path| !is_open(path));
    call.target = call.target.filter(|target| !is_open(target));
    call.context = context.to_owned();
    (known && !context.contains("://") && context != "-").then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_builders_are_read() {
        let text = "IMG ?= r.example/shop:dev\nDIR=deploy # where\nbuild:\n\tdocker build -t $(IMG) -f ${DIR}/Dockerfile \\\n\t  --platform linux/amd64 --build-arg A=1 --build-arg B=$(X) .\n";
        let variables = variables(text);
        let (line, command) = commands(text).remove(0);
        let call = call(&substitute(&command, &variables)).unwrap();
        assert_eq!((line, call.context.as_str(), call.dockerfile.as_deref()), (4, ".", Some("deploy/Dockerfile")));
        assert_eq!((call.images, call.args.len()), (vec!["r.example/shop:dev".to_owned()], 1));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for text in [
            "docker build -t a $DIR",
            "docker build -f $(F) .",
            "docker build - < Dockerfile",
            "docker build https://example.com/a.git",
            "docker run build .",
            "docker compose build a",
            "docker build",
        ] {
            assert_eq!(call(text), None, "{text}");
        }
        for (text, name) in [
            ("a/b:1", Some("a/b:1")),
            ("a/b:$TAG", Some("a/b")),
            ("a/b:{{ x }}", Some("a/b")),
            ("$REGISTRY/b:1", None),
            ("a/b-$ARCH:1", None),
            ("<you>/b", None),
        ] {
            assert_eq!(image(text).as_deref(), name, "{text}");
        }
    }
}
