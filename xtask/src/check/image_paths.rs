//! A path inside an image that a manifest or Dockerfile names and that nothing puts there.
//!
//! What a base image holds is not known here, and many a path is a route or will be made at run time. So only those are
//! judged that the image's own COPYs speak of: names beside its own files, or nearly the same.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde_yaml::Value;

use super::layout::{Layout, Point, Presence};
use super::subject::{Built, Subject, close, listed};
use crate::dockerfile::{WORKDIR_OF_BASE, join};
use crate::plan::Object;
use crate::plan::object::{get, list};
use crate::suite::yaml::{Problem, Segment, Source};

/// The folders at the root of a Linux system.
/// <https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html>
const SYSTEM: [&str; 20] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
];
/// Endings of what a program writes, and of what the web is asked for: no file of the image.
const MADE_OR_ASKED: [&str; 19] = [
    "css", "db", "html", "ico", "js", "json", "lock", "log", "out", "pid", "png", "sock", "socket", "sqlite", "svg",
    "tmp", "txt", "xml", "gz",
];

/// What a path is named as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It is run.
    Program,
    /// It is an argument, a variable, a line of a configuration.
    Text,
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    subject.built.par_iter().flat_map_iter(|built| of_image(subject, built)).collect()
}

fn of_image(subject: &Subject<'_>, built: &Built<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(files) = Files::of(built, subject.elsewhere.is_some()) else { return problems };
    let stage = &built.file.stages[files.point.stage];
    for instruction in &stage.instructions {
        let runs = matches!(instruction.keyword.as_str(), "ENTRYPOINT" | "CMD");
        if !runs && instruction.keyword != "ENV" {
            continue;
        }
        for (at, word) in instruction.words.iter().enumerate().filter(|(_, word)| word.known) {
            let role = if runs && at == 0 { Role::Program } else { Role::Text };
            for path in role.paths(&word.text, &instruction.workdir) {
                if let Some((why, hint)) = files.missing(&path, role, &[]) {
                    let message = format!("{} names {path}, and {why}", instruction.keyword);
                    problems.push(built.on_line(instruction.line, message, hint));
                }
            }
        }
    }
    let uses = subject.uses.get(&crate::image_name::full(&built.image.reference));
    for &(object, ref place, spec, container) in uses.into_iter().flatten() {
        of_container(subject, &files, object, place, spec, container, &mut problems);
    }
    problems
}

impl Role {
    /// The paths in a text of this role.
    fn paths(self, text: &str, workdir: &Utf8Path) -> Vec<Utf8PathBuf> {
        match self {
            Role::Program => program(text, workdir),
            Role::Text => paths(text),
        }
    }
}

/// Looks at what a container of the image names, and at the ConfigMaps that it mounts.
fn of_container(
    subject: &Subject<'_>,
    files: &Files<'_>,
    object: &Object,
    place: &[Segment],
    spec: &Value,
    container: &Value,
    problems: &mut Vec<Problem>,
) {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mounted: Vec<(String, String)> = list(container, &["volumeMounts"])
        .iter()
        .map(|mount| (text(mount, "name"), text(mount, "mountPath")))
        .collect();
    let mounts: Vec<&str> = mounted.iter().map(|(_, path)| path.as_str()).filter(|path| !path.is_empty()).collect();
    let workdir =
        container.get("workingDir").and_then(Value::as_str).map_or_else(|| files.workdir(), Utf8PathBuf::from);
    let source = subject.source(object);
    for part in ["command", "args", "env"] {
        let Some(value) = container.get(part) else { continue };
        let mut found = Vec::new();
        texts(value, &mut [place, &[Segment::from(part)]].concat(), &mut found);
        for (at, (way, text)) in found.iter().enumerate() {
            let role = if part == "command" && at == 0 { Role::Program } else { Role::Text };
            for path in role.paths(text, &workdir) {
                problems.extend(files.problem(&path, role, &mounts, source, object, way));
            }
        }
    }
    let is_mounted = |volume: &&Value| mounted.iter().any(|(name, _)| *name == text(volume, "name"));
    for volume in list(spec, &["volumes"]).iter().filter(is_mounted) {
        let projected = list(volume, &["projected", "sources"]).iter();
        for name in
            std::iter::once(volume).chain(projected).filter_map(|one| get(one, &["configMap", "name"])?.as_str())
        {
            let Some(map) = subject.find("ConfigMap", &object.reference.namespace, name) else { continue };
            let Some(data) = map.value.get("data") else { continue };
            let mut found = Vec::new();
            texts(data, &mut map.place(&["data"]), &mut found);
            for (way, text) in &found {
                for path in paths(text) {
                    problems.extend(files.problem(&path, Role::Text, &mounts, subject.source(map), map, way));
                }
            }
        }
    }
}

/// All texts below `value`, each with the way to it.
fn texts<'v>(value: &'v Value, way: &mut Vec<Segment>, found: &mut Vec<(Vec<Segment>, &'v str)>) {
    match value {
        Value::String(text) => found.push((way.clone(), text)),
        Value::Sequence(items) => {
            for (at, item) in items.iter().enumerate() {
                way.push(Segment::from(at));
                texts(item, way, found);
                way.pop();
            }
        }
        Value::Mapping(items) => {
            for (key, item) in items {
                way.push(Segment::from(key.as_str().unwrap_or_default()));
                texts(item, way, found);
                way.pop();
            }
        }
        _ => {}
    }
}

/// The absolute paths of at least two parts in a text; addresses of the web are none.
fn paths(text: &str) -> Vec<Utf8PathBuf> {
    let ends = |c: char| c.is_whitespace() || "\"'=,;()[]{}<>`|&".contains(c);
    let mut found = BTreeSet::new();
    for word in text.split(ends).filter(|word| !word.contains("://") && !word.contains(['$', '*'])) {
        // `key:/path`, and lists: `/one:/two`. A route with a parameter (`/a/:id`) is neither.
        for part in word.split(':').filter(|_| !word.contains("/:")) {
            let path = part.trim_end_matches(['.', '/']);
            let is_path =
                path.starts_with('/') && !path.starts_with("//") && path.trim_start_matches('/').contains('/');
            if is_path && path.is_ascii() {
                found.insert(join("/".into(), path));
            }
        }
    }
    found.into_iter().collect()
}

/// The path of what is run, where it is named by one.
fn program(text: &str, workdir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let is_path = text.contains('/') && !text.contains([' ', '$']) && !text.ends_with('/');
    is_path.then(|| join(workdir, text)).into_iter().collect()
}

/// What an image's own COPYs put into it.
struct Files<'a> {
    layout: Layout<'a>,
    point: Point,
    /// The base's name, for folders that are the base's own.
    base: &'a str,
    endings: OnceCell<BTreeSet<String>>,
    /// Whether only slips of what is there are told: a step before the build may make files that nobody knows of.
    only_slips: bool,
}

impl<'a> Files<'a> {
    fn of(built: &'a Built<'_>, only_slips: bool) -> Option<Files<'a>> {
        let layout = Layout::new(&built.file, &built.context);
        let target = built.target?;
        let base = built.file.base_image(target).unwrap_or_default();
        Some(Files { point: layout.end(target), base, layout, endings: OnceCell::new(), only_slips })
    }

    fn workdir(&self) -> Utf8PathBuf {
        let last = self.layout.before(self.point).last();
        last.map_or_else(
            || WORKDIR_OF_BASE.into(),
            |last| match last.keyword.as_str() {
                "WORKDIR" => join(&last.workdir, last.words.first().map_or("", |word| word.text.as_str())),
                _ => last.workdir.clone(),
            },
        )
    }

    fn problem(
        &self,
        path: &Utf8Path,
        role: Role,
        mounts: &[&str],
        source: &Source,
        object: &Object,
        way: &[Segment],
    ) -> Option<Problem> {
        let (why, hint) = self.missing(path, role, mounts)?;
        let message = format!("{path} is named here, and {why}");
        let mut problem = source.problem_in(object.document, way, message).hint(hint);
        // A text may go over many lines, in whichever way YAML writes it.
        let lines = source.text.lines().enumerate().skip(problem.line.saturating_sub(1));
        let from = |at: usize| if at + 1 == problem.line { problem.column.saturating_sub(1) } else { 0 };
        let mut named = lines.filter_map(|(at, line)| {
            let begin = from(at);
            let column = line.get(begin..).and_then(|rest| rest.find(path.as_str()))?;
            Some((at + 1, line[..begin + column].chars().count() + 1))
        });
        if let Some((line, column)) = named.next().filter(|(line, _)| *line != problem.line) {
            (problem.line, problem.column) = (line, column);
        }
        Some(problem)
    }

    /// Why `path` is not in the image, where it is one that is judged, and what to do.
    fn missing(&self, path: &Utf8Path, role: Role, mounts: &[&str]) -> Option<(String, Option<String>)> {
        if path.starts_with(WORKDIR_OF_BASE) && role == Role::Text || mounts.iter().any(|mount| path.starts_with(mount))
        {
            return None;
        }
        let presence = self.layout.look(self.point, path);
        let nothing = "nothing puts that into the image".to_owned();
        let (folder, name) = (path.parent()?, path.file_name()?);
        match presence {
            Presence::Here | Presence::Unknown => return None,
            Presence::Ignored => {
                let ignore = &self.layout.context.ignore.file;
                return Some((format!("{ignore} keeps it out of the build context"), None));
            }
            Presence::Missing | Presence::Perhaps => {}
        }
        let beside: Vec<String> = self.layout.names(self.point, folder).into_iter().collect();
        let near = close(name, beside.iter().map(String::as_str)).filter(|near| Self::may_be_meant(name, near, role));
        let hint = match near {
            Some(near) => Some(format!("did you mean `{}`?", folder.join(near))),
            None => listed(folder, &beside),
        };
        if near.is_some() {
            return Some((nothing, hint));
        }
        let bare = role == Role::Program && self.layout.stands_on_nothing(self.point.stage);
        let judged = presence == Presence::Missing
            && !self.only_slips
            && (bare || self.speaks_of(path, folder, role, !beside.is_empty()));
        judged.then_some((nothing, hint))
    }

    /// Short names are near to many others; what has an ending is meant with the same one.
    fn may_be_meant(name: &str, near: &str, role: Role) -> bool {
        let ending = |name: &str| Utf8Path::new(name).extension().map(str::to_owned);
        let stem = Utf8Path::new(name).file_stem().unwrap_or(name);
        role == Role::Program || (stem.len() > 3 && ending(name) == ending(near))
    }

    /// Whether the image's own files lie so that this one should be theirs.
    fn speaks_of(&self, path: &Utf8Path, folder: &Utf8Path, role: Role, has_neighbours: bool) -> bool {
        let ending = path
            .extension()
            .filter(|ending| !MADE_OR_ASKED.contains(ending) && !ending.starts_with(|c: char| c.is_ascii_digit()));
        let first = path.components().nth(1).map_or("", |part| part.as_str());
        let is_system = SYSTEM.contains(&first);
        // nginx has its own /etc/nginx.
        let parts = folder.components().skip(1).map(|part| part.as_str());
        if parts.filter(|part| part.len() > 2 && !SYSTEM.contains(part)).any(|part| self.base.contains(part)) {
            return false;
        }
        if has_neighbours && folder != "/" {
            // In a folder of the system lie files of the base; one below may be our own.
            let depth = folder.components().count() - 1;
            let is_own =
                !is_system || depth > 2 || (depth == 2 && !folder.starts_with("/usr") && !folder.starts_with("/var"));
            return is_own && (ending.is_some() || (role == Role::Program && !is_system));
        }
        if is_system || ending.is_none() {
            return false;
        }
        // A folder that nothing fills, of a name that no system has: where the image has files of that kind elsewhere.
        ending.is_some_and(|ending| self.endings.get_or_init(|| self.own_endings()).contains(ending))
    }

    /// The endings of the image's own files, as far as they lie in the folders that are filled.
    fn own_endings(&self) -> BTreeSet<String> {
        let endings = self.layout.roots(self.point).into_iter().flat_map(|root| {
            let names = self.layout.names(self.point, root);
            names.into_iter().chain(root.file_name().map(str::to_owned))
        });
        endings.filter_map(|name| Utf8Path::new(&name).extension().map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_arguments_and_texts() {
        for (text, expected) in [
            ("--policy=/config/a.rego", &["/config/a.rego"][..]),
            ("policy: \"/config/a.rego\"", &["/config/a.rego"]),
            ("/opt/a/bin:/usr/bin", &["/opt/a/bin", "/usr/bin"]),
            ("file:/etc/a/b", &["/etc/a/b"]),
            ("url: http://host:8080/api/v1", &[]),
            ("/healthz", &[]),
            ("/", &[]),
            ("//", &[]),
            ("/.", &[]),
            ("a / b // note", &[]),
            ("///", &[]),
            ("/users/:id/x", &[]),
            ("/a/../b", &["/b"]),
            ("/ä/ö", &[]),
            ("", &[]),
        ] {
            assert_eq!(paths(text), expected.iter().map(Utf8PathBuf::from).collect::<Vec<_>>(), "{text}");
        }
    }
}
