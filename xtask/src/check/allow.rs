//! Comments that say that something is meant: `# check: allow ID reason`, on the line of what is found or above it.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::rules::{ALLOW, Finding, ids};
use crate::suite::yaml::{Problem, read_file};

/// How such a comment begins.
const MARK: &str = "# check: allow";

/// One such comment.
#[derive(Debug, PartialEq, Eq)]
struct Allowed<'t> {
    /// The line that it stands in, from 1, and its column.
    line: usize,
    column: usize,
    /// The line that it speaks of.
    of: usize,
    id: &'t str,
    reason: &'t str,
}

/// Takes out of `found` what comments allow, and adds what is wrong with the comments in these files, of which those
/// that allow nothing count only where `all` that could be found is among it.
pub fn apply(root: &Utf8Path, files: BTreeSet<Utf8PathBuf>, found: Vec<Finding>, all: bool) -> Vec<Finding> {
    let of_findings = found.iter().map(|finding| finding.problem.file.clone());
    let files: BTreeSet<Utf8PathBuf> = files.into_iter().chain(of_findings).collect();
    let read = |file: &Utf8PathBuf| Some((file.clone(), String::from_utf8(read_file(&root.join(file)).ok()?).ok()?));
    let texts: BTreeMap<Utf8PathBuf, String> =
        files.iter().filter_map(read).filter(|(_, text)| text.contains(MARK)).collect();
    let allowed: BTreeMap<&Utf8PathBuf, (Vec<Allowed<'_>>, usize)> =
        texts.iter().map(|(file, text)| (file, (comments(text), first_line(text)))).collect();
    let mut used = BTreeSet::new();
    let mut left = Vec::new();
    for finding in found {
        let Problem { file, line, .. } = &finding.problem;
        let comment = allowed.get(file).and_then(|(comments, first)| {
            // What is wrong with a file as a whole is allowed at its head.
            let line = if *line == 0 { *first } else { *line };
            comments.iter().find(|comment| comment.of == line && comment.id == finding.class.id)
        });
        match comment {
            Some(comment) => drop(used.insert((file.clone(), comment.line))),
            None => left.push(finding),
        }
    }
    for (file, (comments, _)) in &allowed {
        for comment in comments {
            let problem = |message: String| Problem {
                file: (*file).clone(),
                line: comment.line,
                column: comment.column,
                message,
                ..Problem::default()
            };
            let mut add = |problem: Problem| left.push(Finding { class: ALLOW, problem });
            if !ids().any(|id| id == comment.id) {
                let known: Vec<&str> = ids().collect();
                add(problem(format!("no class of mistakes has the id `{}`", comment.id)).meant(comment.id, known));
            } else if !used.contains(&((*file).clone(), comment.line)) {
                if all {
                    let message = format!("nothing of `{}` is found in line {}", comment.id, comment.of);
                    add(problem(message).hint(Some("remove the comment".to_owned())));
                }
            } else if comment.reason.is_empty() {
                let hint = Some(format!("write why it is meant behind `{}`", comment.id));
                add(problem("it says no reason".to_owned()).hint(hint));
            }
        }
    }
    left
}

/// All such comments of a text. One that stands alone speaks of the next line that has anything else.
fn comments(text: &str) -> Vec<Allowed<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(begin) = line.find(MARK) else { continue };
        let said = &line[begin + MARK.len()..];
        let (before, is_word) = (&line[..begin], said.is_empty() || said.starts_with(char::is_whitespace));
        if !is_word || !(before.is_empty() || before.ends_with(char::is_whitespace)) {
            continue;
        }
        let (id, reason) = said.trim().split_once(char::is_whitespace).unwrap_or((said.trim(), ""));
        let below = || lines[at + 1..].iter().position(|line| is_content(line)).map_or(at, |next| at + 1 + next);
        let of = if before.trim().is_empty() { below() } else { at } + 1;
        let column = before.chars().count() + 1;
        found.push(Allowed { line: at + 1, column, of, id, reason: reason.trim() });
    }
    found
}

/// Whether a line has more than a comment or a mark between documents.
fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

/// The first line that has anything but comments, from 1.
fn first_line(text: &str) -> usize {
    text.lines().position(is_content).unwrap_or_default() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_speaks_of_its_own_line_or_of_the_next() {
        let text = "# check: allow suite  all of it\n\n# more\n---\na: 1  # check: allow port because\n  # check: allow schema\n\
                    b: x# check: allow port no\n# check: allowed\n";
        let found: Vec<(usize, usize, &str, &str)> =
            comments(text).iter().map(|one| (one.line, one.of, one.id, one.reason)).collect();
        assert_eq!(found, [(1, 5, "suite", "all of it"), (5, 5, "port", "because"), (6, 7, "schema", "")]);
        assert_eq!(first_line(text), 5);
    }
}
