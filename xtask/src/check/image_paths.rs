//! A path inside an image that a manifest or Dockerfile names and that nothing puts there.
//!
//! What a base image holds is not known here, so only two kinds of path are judged: those in a
//! folder that the image's own COPYs fill, and those whose first folder no Linux system has.

use camino::Utf8Path;
use serde_yaml::Value;

use super::images::LISTS;
use super::{Subject, on_line};
use crate::dockerfile::Dockerfile;
use crate::plan::Object;
use crate::plan::object::{get, list, pod_spec_at};
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean, nearest};

/// The folders at the root of a Linux system.
/// <https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html>
const SYSTEM: [&str; 19] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr",
];

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (image, source, dockerfile) in &subject.dockerfiles {
        let files = Files::of(subject.root.join(&image.context).as_path(), dockerfile);
        if let Some(last) = dockerfile.stages.last() {
            let names = |keyword: &str| matches!(keyword, "ENTRYPOINT" | "CMD" | "ENV");
            for instruction in last.instructions.iter().filter(|instruction| names(&instruction.keyword)) {
                for path in instruction.words.iter().flat_map(|word| paths(word)) {
                    problems.extend(files.missing(path, &[]).map(|hint| {
                        let message =
                            format!("{} names {path}, and nothing puts that into the image", instruction.keyword);
                        on_line(source, instruction.line, message, hint)
                    }));
                }
            }
        }
        for (manifest, object) in &subject.objects {
            check_object(subject, manifest, object, &image.reference, &files, &mut problems);
        }
    }
    problems
}

/// Looks at the containers of `object` that are made of the image `reference`, and at the
/// ConfigMaps that they mount.
fn check_object(
    subject: &Subject<'_>,
    source: &Source,
    object: &Object,
    reference: &str,
    files: &Files,
    problems: &mut Vec<Problem>,
) {
    let Some((way, spec)) = pod_spec_at(object) else { return };
    for key in LISTS {
        for (at, container) in list(spec, &[key]).iter().enumerate() {
            if container.get("image").and_then(Value::as_str) != Some(reference) {
                continue;
            }
            let mounts: Vec<&str> = list(container, &["volumeMounts"])
                .iter()
                .filter_map(|mount| mount.get("mountPath").and_then(Value::as_str))
                .collect();
            let mut here: Vec<Segment> = way.iter().map(|key| Segment::from(*key)).collect();
            here.extend([Segment::from(key), Segment::from(at)]);
            for part in ["command", "args", "env"] {
                let Some(value) = container.get(part) else { continue };
                let mut found = Vec::new();
                texts(value, &mut [here.as_slice(), &[Segment::from(part)]].concat(), &mut found);
                report(source, object.document, &found, files, &mounts, problems);
            }
            for name in
                list(spec, &["volumes"]).iter().filter_map(|volume| get(volume, &["configMap", "name"])?.as_str())
            {
                let maps = subject.objects.iter().filter(|(_, other)| {
                    other.reference.kind == "ConfigMap"
                        && other.reference.name == name
                        && other.reference.namespace == object.reference.namespace
                });
                for (source, map) in maps {
                    let Some(data) = map.value.get("data") else { continue };
                    let mut found = Vec::new();
                    texts(data, &mut vec![Segment::from("data")], &mut found);
                    report(source, map.document, &found, files, &mounts, problems);
                }
            }
        }
    }
}

fn report(
    source: &Source,
    document: usize,
    found: &[(Vec<Segment>, &str)],
    files: &Files,
    mounts: &[&str],
    problems: &mut Vec<Problem>,
) {
    for (way, text) in found {
        for (line, part) in text.lines().enumerate() {
            for path in paths(part) {
                let Some(hint) = files.missing(path, mounts) else { continue };
                let message = format!("{path} is named here, and nothing puts that into the image");
                let mut problem = source.problem_in(document, way, message).hint(hint);
                // The text of a block begins on the line behind its key.
                if text.lines().count() > 1 {
                    problem.line += line + 1;
                    problem.column = 1;
                }
                problems.push(problem);
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
fn paths(text: &str) -> Vec<&str> {
    let ends = |c: char| c.is_whitespace() || "\"'=,;()[]{}<>`".contains(c);
    let words = text.split(ends).filter_map(|word| {
        // `key:/path`, but not `https://host/path`.
        let from = word.find('/')?;
        (from == 0 || (word[..from].ends_with(':') && !word[from..].starts_with("//"))).then(|| &word[from..])
    });
    words
        .map(|path| path.trim_end_matches([':', '.', '/']))
        .filter(|path| path[1..].contains('/') && !path.starts_with("//"))
        .collect()
}

/// What an image's own COPYs put into it.
struct Files(Vec<String>);

impl Files {
    fn of(context: &Utf8Path, dockerfile: &Dockerfile) -> Files {
        let mut files = Vec::new();
        let Some(last) = dockerfile.stages.last() else { return Files(files) };
        for instruction in dockerfile.chain(last).iter().flat_map(|stage| &stage.instructions) {
            let Some((from, to)) = instruction.copies() else { continue };
            for path in from {
                let is_folder =
                    instruction.flag("from").is_none() && context.join(path.trim_start_matches('/')).is_dir();
                if is_folder {
                    // The folder's content lands in the target.
                    below(&context.join(path), Utf8Path::new(to), &mut files);
                } else if to.ends_with('/') || from.len() > 1 {
                    let name = path.rsplit('/').next().unwrap_or(path);
                    files.push(format!("{}/{name}", to.trim_end_matches('/')));
                } else {
                    files.push(to.to_owned());
                }
            }
        }
        Files(files)
    }

    /// `Some` with a hint, if `path` is one that is judged and nothing puts there.
    fn missing(&self, path: &str, mounts: &[&str]) -> Option<Option<String>> {
        let path = Utf8Path::new(path);
        if mounts.iter().any(|mount| path.starts_with(mount)) {
            return None;
        }
        if self.0.iter().any(|file| file == path.as_str() || Utf8Path::new(file).starts_with(path)) {
            return None;
        }
        let folder = path.parent().unwrap_or(path);
        let ours = self.0.iter().any(|file| Utf8Path::new(file).parent() == Some(folder));
        let first = path.components().nth(1).map_or("", |part| part.as_str());
        let foreign = !SYSTEM.contains(&first) && first != "var";
        // Beside our own files in a folder of the system may lie files of the base: only a name that is nearly ours,
        // or that of a data file, is judged there.
        let ours_here = self.0.iter().map(Utf8Path::new).filter(|file| file.parent() == Some(folder));
        let near = nearest(path.file_name().unwrap_or_default(), ours_here.filter_map(Utf8Path::file_name)).is_some();
        let judged = foreign || (ours && (near || path.extension().is_some()));
        judged.then(|| {
            did_you_mean(path.as_str(), self.0.iter().map(String::as_str)).or_else(|| {
                let beside: Vec<&str> = self
                    .0
                    .iter()
                    .filter(|file| Utf8Path::new(file).parent() == Some(folder))
                    .map(String::as_str)
                    .collect();
                (!beside.is_empty()).then(|| format!("the image has {}", beside.join(", ")))
            })
        })
    }
}

fn below(folder: &Utf8Path, to: &Utf8Path, files: &mut Vec<String>) {
    for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            below(entry.path(), &to, files);
        } else {
            files.push(to.into_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_arguments_and_texts() {
        assert_eq!(paths("--policy=/config/a.rego"), ["/config/a.rego"]);
        assert_eq!(paths("policy: \"/config/a.rego\""), ["/config/a.rego"]);
        assert!(paths("url: http://host:8080/api/v1").is_empty());
        assert!(paths("/healthz").is_empty());
    }

    #[test]
    fn a_path_beside_our_own_files_or_outside_of_the_system_is_judged() {
        let files = Files(vec!["/app/policies/remediation_path.rego".into(), "/usr/local/bin/gateway".into()]);
        let hint = files.missing("/app/policies/priority.rego", &[]).unwrap();
        assert_eq!(hint.unwrap(), "the image has /app/policies/remediation_path.rego");
        assert!(files.missing("/app/other/x.yaml", &[]).is_some());
        assert!(files.missing("/usr/local/bin/gatewey", &[]).unwrap().unwrap().contains("/usr/local/bin/gateway"));
        for fine in [
            "/app/policies",
            "/app/policies/remediation_path.rego",
            "/usr/bin/env",
            "/etc/ssl/certs",
            "/usr/local/bin/other",
        ] {
            assert!(files.missing(fine, &[]).is_none(), "{fine}");
        }
        assert!(files.missing("/app/policies/priority.rego", &["/app/policies"]).is_none());
    }
}
