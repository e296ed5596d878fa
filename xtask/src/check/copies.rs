//! A COPY whose source is not in the build context.

use camino::{Utf8Path, Utf8PathBuf};

use super::{Subject, on_line};
use crate::suite::yaml::{Problem, did_you_mean};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (image, source, dockerfile) in &subject.dockerfiles {
        let context = subject.root.join(&image.context);
        let ignore = Ignore::read(&context);
        for stage in &dockerfile.stages {
            for instruction in &stage.instructions {
                let Some((from, _)) = instruction.copies() else { continue };
                if let Some(name) = instruction.flag("from") {
                    let names = dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref());
                    // What looks like an image is pulled; a bare word must be a stage.
                    if dockerfile.stage(name).is_none() && !name.contains(['/', ':', '.']) {
                        let message = format!("COPY --from={name}: no stage has that name");
                        problems.push(on_line(source, instruction.line, message, did_you_mean(name, names)));
                    }
                    continue;
                }
                for path in from.iter().filter(|path| !path.contains(['$', '<']) && !path.contains("://")) {
                    problems.extend(find(&context, path, &ignore).map(|(what, hint)| {
                        on_line(source, instruction.line, format!("{} {path}: {what}", instruction.keyword), hint)
                    }));
                }
            }
        }
    }
    problems
}

/// Why `path` is not in the context, if it is not.
fn find(context: &Utf8Path, path: &str, ignore: &Ignore) -> Option<(String, Option<String>)> {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let clean = path.trim_end_matches('/');
    if clean.is_empty() || clean == "." {
        return None;
    }
    let (folder, name) = clean.rsplit_once('/').unwrap_or(("", clean));
    let entries = || {
        let list = context.join(folder).read_dir_utf8().into_iter().flatten().flatten();
        list.map(|entry| Utf8PathBuf::from(folder).join(entry.file_name()).into_string()).collect::<Vec<_>>()
    };
    if name.contains('*') || name.contains('?') {
        let found = entries().iter().any(|entry| matches(name, entry.rsplit('/').next().unwrap_or(entry)));
        return (!found).then(|| ("nothing in the build context matches it".into(), None));
    }
    if !context.join(clean).exists() {
        let near = entries();
        let hint = did_you_mean(clean, near.iter().map(String::as_str))
            .or_else(|| (!near.is_empty() && !folder.is_empty()).then(|| format!("{folder}/ has {}", names(&near))));
        return Some(("it is not in the build context".into(), hint));
    }
    let excluded = ignore.excludes(clean) && !ignore.keeps_below(clean);
    excluded
        .then(|| ("the .dockerignore keeps it out of the build context".into(), Some(format!("add `!{clean}` to it"))))
}

fn names(paths: &[String]) -> String {
    paths.iter().map(|path| path.rsplit('/').next().unwrap_or(path)).collect::<Vec<_>>().join(", ")
}

/// `.dockerignore`, as far as lists of folders, files and exceptions go.
/// <https://docs.docker.com/build/concepts/context/#dockerignore-files>
pub(super) struct Ignore(Vec<(bool, String)>);

impl Ignore {
    pub(super) fn read(context: &Utf8Path) -> Ignore {
        Ignore::parse(&std::fs::read_to_string(context.join(".dockerignore")).unwrap_or_default())
    }

    fn parse(text: &str) -> Ignore {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let rule = |line: &str| {
            let (kept, pattern) = line.strip_prefix('!').map_or((false, line), |pattern| (true, pattern));
            (kept, pattern.trim().trim_start_matches('/').trim_end_matches('/').to_owned())
        };
        Ignore(lines.map(rule).collect())
    }

    /// Whether the last rule that fits `path` or a folder above it excludes it.
    fn excludes(&self, path: &str) -> bool {
        let fits = |pattern: &str| {
            let mut at = Some(Utf8Path::new(path));
            while let Some(here) = at.filter(|here| !here.as_str().is_empty()) {
                if matches(pattern, here.as_str()) {
                    return true;
                }
                at = here.parent();
            }
            false
        };
        self.0.iter().rfind(|(_, pattern)| fits(pattern)).is_some_and(|(kept, _)| !kept)
    }

    /// Whether something below the folder `path` is kept by an exception.
    fn keeps_below(&self, path: &str) -> bool {
        self.0.iter().any(|(kept, pattern)| *kept && Utf8Path::new(pattern).starts_with(path))
    }
}

/// Whether a pattern with `*`, `**` and `?` fits; `*` stops at a slash.
fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix("**"), pattern.strip_prefix('*'), pattern.chars().next(), text.chars().next()) {
        (_, _, None, None) => true,
        (Some(rest), ..) => {
            let rest = rest.trim_start_matches('/');
            (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))
        }
        (None, Some(rest), ..) => {
            let end = text.find('/').unwrap_or(text.len());
            (0..=end).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))
        }
        (_, _, Some(p), Some(t)) if p == t || (p == '?' && t != '/') => {
            matches(&pattern[p.len_utf8()..], &text[t.len_utf8()..])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allow_list_lets_only_its_exceptions_in() {
        let ignore = Ignore::parse("# all\n*\n!api/src\n!Cargo.toml\n");
        for (path, excluded) in
            [("api/src/lib.rs", false), ("api/src", false), ("Cargo.toml", false), ("gateway/src", true)]
        {
            assert_eq!(ignore.excludes(path), excluded, "{path}");
        }
        assert!(ignore.keeps_below("api") && !ignore.keeps_below("gateway"));
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("*.rs", "lib.rs", true),
            ("*.rs", "src/lib.rs", false),
            ("**/*.rs", "a/b/lib.rs", true),
            ("li?.rs", "lib.rs", true),
            ("target", "target", true),
            ("target", "targets", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let context = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::create_dir_all(context.join("policies")).unwrap();
        std::fs::write(context.join("policies/remediation_path.rego"), "").unwrap();
        let ignore = Ignore::parse("");
        let (_, hint) = find(context, "policies/priority.rego", &ignore).unwrap();
        assert_eq!(hint.unwrap(), "policies/ has remediation_path.rego");
        let (_, hint) = find(context, "policies/remediation_pth.rego", &ignore).unwrap();
        assert!(hint.unwrap().contains("policies/remediation_path.rego"));
        assert!(find(context, "policies/", &ignore).is_none());
        assert!(find(context, "policies/*.rego", &ignore).is_none());
        assert!(find(context, "policies/*.txt", &ignore).is_some());
    }
}
