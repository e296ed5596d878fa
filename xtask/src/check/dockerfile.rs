//! Dockerfiles that no builder reads: instructions, flags, lists and numbers that there are not.
//! <https://docs.docker.com/reference/dockerfile/>

use super::subject::{Built, close};
use crate::dockerfile::{Statement, statements};
use crate::suite::yaml::Problem;

const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
const MOUNTS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
/// How builds share a cache.
const SHARING: [&str; 3] = ["shared", "private", "locked"];

/// The flags of an instruction; none where what follows it is another program's.
fn flags(keyword: &str) -> Option<&'static [&'static str]> {
    Some(match keyword {
        "FROM" => &["--platform"],
        "COPY" => &["--from", "--chown", "--chmod", "--link", "--parents", "--exclude"],
        "ADD" => &["--chown", "--chmod", "--link", "--checksum", "--keep-git-dir", "--exclude", "--unpack"],
        "RUN" => &["--mount", "--network", "--security", "--device"],
        "HEALTHCHECK" => &["--interval", "--timeout", "--start-period", "--start-interval", "--retries"],
        _ => return None,
    })
}

/// What keeps the Dockerfile from being read. Of a part of a project only what `is_sure` is told: an instruction or a
/// flag that is nearly one may not be one of another builder's.
pub(super) fn check(built: &Built<'_>, is_sure: bool) -> Vec<Problem> {
    let text = &built.source.text;
    if is_of_another_reader(text) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut is_first = true;
    for statement in &statements(text) {
        let keyword = statement.keyword.to_uppercase();
        let at = |message: String| built.on_line(statement.line, message, None);
        if !INSTRUCTIONS.contains(&keyword.as_str()) {
            let near = close(&keyword, INSTRUCTIONS);
            if is_sure && near.is_none() {
                continue;
            }
            let problem = at(format!("there is no instruction `{}`", statement.keyword));
            problems.push(match near {
                Some(_) if keyword == statement.keyword => problem.meant(&keyword, INSTRUCTIONS),
                Some(near) => problem.hint(Some(format!("did you mean `{near}`?"))),
                None if is_first => problem.hint(Some("begin it with FROM".to_owned())),
                None => problem.hint(Some("end the line before it with `\\`, if it goes on here".to_owned())),
            });
        }
        is_first = false;
        problems
            .extend(of_flags(statement, &keyword, is_sure).into_iter().map(|(message, hint)| at(message).hint(hint)));
        match keyword.as_str() {
            "FROM" => problems.extend(from(statement).map(|(message, hint)| at(message).hint(Some(hint)))),
            "CMD" | "ENTRYPOINT" | "SHELL" | "RUN" => {
                if let Some(list) = list(&statement.text) {
                    let message = format!("what follows {keyword} is no list, and is given to a shell as it stands");
                    problems.push(at(message).hint(Some(format!("write {list}"))).replace(&statement.text, &list));
                }
            }
            "EXPOSE" => problems.extend(
                ports(&statement.text).map(|port| at(format!("{port} is no port")).hint(Some("1 to 65535".to_owned()))),
            ),
            _ => {}
        }
    }
    // A text without any may be a part of another one.
    if problems.is_empty() && !is_sure {
        problems.extend(built.without_stages());
    }
    problems
}

/// Whether another program than a builder of images reads the text first, or other instructions are in it than usual.
fn is_of_another_reader(text: &str) -> bool {
    let directives = text.lines().take_while(|line| line.starts_with('#'));
    let mut directives = directives.filter_map(|line| line.trim_start_matches('#').split_once('='));
    let frontend = directives.find(|(name, _)| name.trim().eq_ignore_ascii_case("syntax")).map(|(_, to)| to.trim());
    let is_own = |frontend: &str| !frontend.trim_start_matches("docker.io/").starts_with("docker/dockerfile");
    let is_mark = |line: &str| ["{{", "{%", "<%", "#include", "#if", "@@"].iter().any(|mark| line.starts_with(mark));
    frontend.is_some_and(is_own) || text.lines().any(|line| is_mark(line.trim_start()))
}

/// Flags that the instruction has not, and values of them that there are not: each with what to write.
fn of_flags(statement: &Statement, keyword: &str, is_sure: bool) -> Vec<(String, Option<String>)> {
    let Some(known) = flags(keyword) else { return Vec::new() };
    let meant = |near: &str| format!("did you mean `{near}`?");
    let mut wrong = Vec::new();
    for (name, value) in &statement.flags {
        let flag = format!("--{name}");
        if !known.contains(&flag.as_str()) {
            let near = close(&flag, known.iter().copied());
            if near.is_some() || !is_sure {
                let hint = near.map_or_else(|| format!("it has {}", known.join(", ")), meant);
                wrong.push((format!("{keyword} has no flag `{flag}`"), Some(hint)));
            }
        }
        if name == "chmod" && value.chars().all(|c| c.is_ascii_digit()) {
            let is_octal = value.chars().all(|c| c < '8') && (1..=4).contains(&value.len());
            if !is_octal {
                let hint = "up to four digits from 0 to 7, as in 0755".to_owned();
                wrong.push((format!("{value} is no mode of a file"), Some(hint)));
            }
        }
        if name != "mount" || value.contains('$') {
            continue;
        }
        for part in value.split(',') {
            let (what, known, value) = match part.split_once('=') {
                Some(("type", value)) => ("mount of the type", &MOUNTS[..], value),
                Some(("sharing", value)) => ("way to share a cache that is called", &SHARING[..], value),
                _ => continue,
            };
            if !known.contains(&value) {
                let near = close(value, known.iter().copied());
                let hint = near.map_or_else(|| format!("there are: {}", known.join(", ")), meant);
                wrong.push((format!("there is no {what} `{value}`"), Some(hint)));
            }
        }
    }
    wrong
}

/// What is wrong with what follows FROM: an image, or an image and a name.
fn from(statement: &Statement) -> Option<(String, String)> {
    let words: Vec<&str> = statement.text.split_whitespace().collect();
    let is_read = match words.as_slice() {
        [_] => true,
        [_, word, _] => word.eq_ignore_ascii_case("as"),
        _ => false,
    };
    // A variable's default may have a space in it.
    let is_known = !statement.text.contains('$');
    let image = words.first().unwrap_or(&"IMAGE");
    let hint = format!("write `FROM {image}` or `FROM {image} AS NAME`");
    (!is_read && is_known).then(|| ("FROM takes an image, and a name behind AS".to_owned(), hint))
}

/// The list that was meant by a text that is nearly one: with other quotes, or with a comma at its end.
fn list(text: &str) -> Option<String> {
    let is_list = |text: &str| serde_json::from_str::<Vec<String>>(text).is_ok();
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    if is_list(text) {
        return None;
    }
    let inside = inside.replace(['\'', '“', '”', '‘', '’'], "\"");
    let inside = inside.trim().trim_end_matches(',');
    let list = format!("[{inside}]");
    is_list(&list).then_some(list)
}

/// Numbers that no port has.
fn ports(text: &str) -> impl Iterator<Item = u64> {
    let words = text.split_whitespace().filter(|word| !word.contains('$'));
    let numbers = words.flat_map(|word| word.split('/').next().unwrap_or_default().split('-'));
    numbers.filter_map(|number| number.parse().ok()).filter(|port| !(1..=65535).contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_list_is_told_from_what_is_the_shells() {
        for (text, expected) in [
            ("['/a', \"b\"]", Some("[\"/a\", \"b\"]")),
            ("[\"a\",]", Some("[\"a\"]")),
            ("[“a”]", Some("[\"a\"]")),
            ("[\"a\"]", None),
            ("[]", None),
            ("[ -f /x ]", None),
            ("[ \"$A\" = 'b' ]", None),
            ("[ -f /x ] && [ 'a' ]", None),
            ("echo '[1]'", None),
        ] {
            assert_eq!(list(text).as_deref(), expected, "{text}");
        }
    }
}
