//! Edits in place for findings that have but one right answer.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use super::Finding;
use crate::suite::yaml::{Problem, Replacement};

/// What was changed: file, line, and the texts before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub file: Utf8PathBuf,
    /// From 1.
    pub line: usize,
    pub wrong: String,
    pub right: String,
}

/// Makes the edits of these findings in the files below `root`, each file at once; all else in them stays as it is.
///
/// # Errors
/// When a file cannot be read or written, or has changed meanwhile. Files before it are changed.
pub fn fix(root: &Utf8Path, findings: &[Finding]) -> Result<Vec<Changed>> {
    let mut by_file: BTreeMap<&Utf8PathBuf, Vec<&Problem>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.problem.fix.is_some() && finding.problem.line > 0) {
        by_file.entry(&finding.problem.file).or_default().push(&finding.problem);
    }
    let mut changed = Vec::new();
    for (file, problems) in by_file {
        let path = root.join(file);
        let before = std::fs::read_to_string(&path).with_context(|| format!("reading {file} to mend it"))?;
        let (after, edits) = edited(&before, &problems);
        if edits.is_empty() {
            continue;
        }
        write(&path, &before, &after).with_context(|| format!("mending {file}"))?;
        changed.extend(edits.into_iter().map(|(line, edit)| Changed {
            file: file.clone(),
            line,
            wrong: edit.wrong,
            right: edit.right,
        }));
    }
    Ok(changed)
}

/// The text with the edits that fit it, and these, in the order of their lines. Where two are for one place the first
/// is made; the other is found again.
fn edited(text: &str, problems: &[&Problem]) -> (String, Vec<(usize, Replacement)>) {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut problems: Vec<&&Problem> = problems.iter().collect();
    // From the end of a line to its beginning, so that columns stay true.
    problems.sort_by_key(|problem| (problem.line, std::cmp::Reverse(problem.column)));
    let mut done: Vec<(usize, Replacement)> = Vec::new();
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    for problem in problems {
        let (Some(fix), Some(line)) = (&problem.fix, lines.get_mut(problem.line - 1)) else { continue };
        let begin = line.char_indices().nth(problem.column.max(1) - 1).map_or(line.len(), |(at, _)| at);
        let Some((at, wrong)) = place(line, begin, &fix.wrong) else { continue };
        if taken.get(&problem.line).is_some_and(|first| at + wrong.len() > *first) {
            continue;
        }
        taken.insert(problem.line, at);
        line.replace_range(at..at + wrong.len(), &fix.right);
        done.push((problem.line, Replacement { wrong, right: fix.right.clone() }));
    }
    (lines.concat(), done)
}

/// Where `wrong` stands as a whole in a line: at `begin`, or else once behind it. A text in quotes may have the other
/// kind.
fn place(line: &str, begin: usize, wrong: &str) -> Option<(usize, String)> {
    let other = wrong.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map(|text| format!("'{text}'"));
    for wrong in [Some(wrong.to_owned()), other].into_iter().flatten() {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_whole = |at: &usize| {
            let before = line[..*at].chars().next_back();
            let after = line[at + wrong.len()..].chars().next();
            let is_edge =
                |inner: Option<char>, outer: Option<char>| !(inner.is_some_and(is_part) && outer.is_some_and(is_part));
            is_edge(wrong.chars().next(), before) && is_edge(wrong.chars().next_back(), after)
        };
        let found: Vec<usize> =
            line[begin..].match_indices(wrong.as_str()).map(|(at, _)| begin + at).filter(is_whole).collect();
        // The value itself, perhaps behind its opening quote.
        let first = found.first().copied().filter(|at| *at <= begin + 1);
        if let Some(at) = first.or_else(|| found.first().copied().filter(|_| found.len() == 1)) {
            return Some((at, wrong));
        }
    }
    None
}

/// Puts `after` in the place of `before`, all at once, with the same rights. A link stays one.
fn write(path: &Utf8Path, before: &str, after: &str) -> Result<()> {
    let path = path.canonicalize_utf8()?;
    let folder = path.parent().context("a file without a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(after.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    ensure!(std::fs::read_to_string(&path)? == before, "it was changed meanwhile; nothing was written");
    file.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize, column: usize, wrong: &str, right: &str) -> Problem {
        Problem { line, column, ..Problem::default() }.replace(wrong, right)
    }

    #[test]
    fn only_the_wrong_text_is_changed() {
        for (text, problems, expected) in [
            ("a:  wrng  # wrng\r\nb: 1\n", vec![problem(1, 5, "wrng", "right")], "a:  right  # wrng\r\nb: 1\n"),
            ("a: 'wrng'\n", vec![problem(1, 4, "wrng", "right")], "a: 'right'\n"),
            ("a: '2'\n", vec![problem(1, 4, "\"2\"", "2")], "a: 2\n"),
            ("a: 2, b: 22\n", vec![problem(1, 4, "2", "\"2\"")], "a: \"2\", b: 22\n"),
            // Both, whatever the order is.
            ("{a: x, b: yy}", vec![problem(1, 5, "x", "xxx"), problem(1, 11, "yy", "z")], "{a: xxx, b: z}"),
            // Behind the place, where it is there once.
            ("COPY rn /x\n", vec![problem(1, 1, "rn", "run")], "COPY run /x\n"),
            ("COPY rn rn\n", vec![problem(1, 1, "rn", "run")], "COPY rn rn\n"),
            ("COPY rnx /x\n", vec![problem(1, 1, "rn", "run")], "COPY rnx /x\n"),
            // Not there any more.
            ("a: right\n", vec![problem(1, 4, "wrng", "right"), problem(9, 1, "a", "b")], "a: right\n"),
            ("ü: wrng\n", vec![problem(1, 4, "wrng", "right")], "ü: right\n"),
            ("a: x\n", vec![problem(1, 4, "x", "y"), problem(1, 4, "x", "z")], "a: y\n"),
        ] {
            let problems: Vec<&Problem> = problems.iter().collect();
            assert_eq!(edited(text, &problems).0, expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(dir.path()).unwrap().join("f");
        std::fs::write(&file, "new").unwrap();
        assert!(write(&file, "old", "mended").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        write(&file, "new", "mended").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mended");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
