//! Strict YAML: every problem has a file, a line, and the nearest right name.

mod locate;
mod near;

use std::collections::BTreeSet;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;

use self::locate::{Part, Seek, document_of, seek};

pub use locate::{Segment, locate};
pub use near::{did_you_mean, nearest, slips};

/// A YAML text and the name that its problems are reported under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// As the user would type it: relative to the workspace.
    pub file: Utf8PathBuf,
    /// The whole text.
    pub text: String,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the workspace.
    pub file: Utf8PathBuf,
    /// From 1; 0 where the problem is that of the file as a whole.
    pub line: usize,
    /// From 1; 0 as above.
    pub column: usize,
    /// What is wrong, and with which object.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The edit that mends it, where there is but one.
    pub fix: Option<Box<Replacement>>,
}

/// A text that stands at a problem's place, or behind it on its line, and what belongs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// As it is written; of quotes either kind.
    pub wrong: String,
    /// As it is to be written.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// All that is wrong with what was read, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// `Err` with everything that was collected, or `Ok` where nothing was.
    pub fn into_result(mut self) -> Result<(), Self> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by(|a, b| (&a.file, a.line, a.column, &a.message).cmp(&(&b.file, b.line, b.column, &b.message)));
        self.0.dedup();
        Err(self)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Source {
    /// A text under the name that its problems are reported with, without the byte order mark that some editors begin it
    /// with: kubectl and kind leave it out, and the parser does not.
    pub fn new(file: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        Self { file: file.into(), text }
    }

    /// Reads `file`, a path relative to `root`.
    ///
    /// # Errors
    /// The file cannot be read as UTF-8 text.
    pub fn read(root: &Utf8Path, file: &Utf8Path) -> Result<Self, Problem> {
        match read_file(&root.join(file)).and_then(|bytes| String::from_utf8(bytes).map_err(no_utf8)) {
            Ok(text) => Ok(Self::new(file, text)),
            Err(error) => Err(Problem {
                file: file.to_owned(),
                line: 0,
                column: 0,
                message: format!("cannot read it: {error}"),
                ..Problem::default()
            }),
        }
    }

    /// The text as a `T`; unknown and repeated keys are problems.
    ///
    /// # Errors
    /// The first thing that the text and `T` disagree on, with its line.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A generic value refuses the repeated keys that a map would let pass.
        serde_yaml::from_str::<serde_yaml::Value>(&self.text)
            .and_then(|_| serde_yaml::from_str(&self.text))
            .map_err(|error| self.syntax_problem(&error))
    }

    /// What serde says, under this file's name, with the nearest name where it lists the right ones.
    pub fn syntax_problem(&self, error: &serde_yaml::Error) -> Problem {
        let mut message = error.to_string();
        if let Some(end) = message.find(" at line ") {
            message.truncate(end);
        }
        // What a mapping is read into is nobody's business.
        if let Some(begin) = message.find("expected struct ") {
            message.replace_range(begin.., "expected a mapping");
        }
        let names = quoted(&message);
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let hint = match names.split_first() {
            Some((wrong, right)) if message.contains("unknown ") => did_you_mean(wrong, right.iter().copied()),
            _ => self.layout_hint(line, &error.to_string()),
        };
        Problem { file: self.file.clone(), line, column, message, hint, fix: None }
    }

    /// What a person would look at first, where the parser is lost in `line`: tabs, indentation, an open bracket.
    fn layout_hint(&self, line: usize, error: &str) -> Option<String> {
        let written = self.text.lines().nth(line.checked_sub(1)?).unwrap_or_default();
        let is_lost = ["found ", "did not find ", "mapping values "].iter().any(|begin| error.starts_with(begin));
        if is_lost && written.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t') {
            return Some("indent the line with spaces: YAML takes no tabs there".to_owned());
        }
        if error.starts_with("mapping values ") {
            return Some(
                "look at the indentation of this line and the one before, or put the value in quotes".to_owned(),
            );
        }
        let (_, context) = error.split_once("while parsing a ")?;
        // The first line is left out.
        let (what, begin) = context.split_once(" at line ").unwrap_or((context, "1 "));
        let begin = begin.split_once(' ')?.0;
        match what.split_once(' ')?.0 {
            "block" => Some(format!("look at the indentation from line {begin} on")),
            "flow" => Some(format!("look for the end of the bracket in line {begin}")),
            _ => None,
        }
    }

    /// A problem with the node at `path`, or with the nearest node above it that exists.
    pub fn problem(&self, path: &[Segment], message: impl Into<String>) -> Problem {
        self.problem_in(0, path, message)
    }

    /// As [`Source::problem`], in the `document`-th document of the text, from 0.
    pub fn problem_in(&self, document: usize, path: &[Segment], message: impl Into<String>) -> Problem {
        self.place_in(document, path, Part::Value, message.into())
    }

    /// As [`Source::problem_in`], with the last key of `path`, not with its value.
    pub fn key_problem_in(&self, document: usize, path: &[Segment], message: impl Into<String>) -> Problem {
        self.place_in(document, path, Part::Key, message.into())
    }

    /// A problem in a text that stands at `path`, after so many lines of it and characters of that line. Of a text that is
    /// no block of lines (`|`) only the beginning is known.
    pub fn problem_in_text(
        &self,
        document: usize,
        path: &[Segment],
        text: &str,
        lines: usize,
        characters: usize,
        message: impl Into<String>,
    ) -> Problem {
        let mut problem = self.problem_in(document, path, message);
        let begin = self.text.lines().nth(problem.line.saturating_sub(1)).unwrap_or_default();
        let is_block = begin.chars().nth(problem.column.saturating_sub(1)) == Some('|');
        let content = text.lines().nth(lines).unwrap_or_default();
        let written = self.text.lines().nth(problem.line + lines).unwrap_or_default();
        if let (true, Some(indent)) = (is_block, written.find(content)) {
            problem.line += lines + 1;
            problem.column = indent + characters + 1;
        }
        problem
    }

    fn place_in(&self, document: usize, path: &[Segment], part: Part, message: String) -> Problem {
        // Only the document itself is parsed: a file may have many, and much to tell of each.
        let (skipped, text, document) = match document_of(&self.text, document) {
            Some((skipped, text)) => (skipped, text, 0),
            None => (0, self.text.as_str(), document),
        };
        let at = seek(text, document, Seek(path, part));
        let at = at.or_else(|| (0..=path.len()).rev().find_map(|depth| locate(text, document, &path[..depth])));
        let (line, column) = at.map_or((0, 0), |at| (at.line() + skipped, at.column()));
        Problem { file: self.file.clone(), line, column, message, ..Problem::default() }
    }
}

impl Problem {
    /// With what to do about it.
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// With the edit that mends it.
    pub fn replace(mut self, wrong: &str, right: &str) -> Self {
        self.fix = Some(Box::new(Replacement { wrong: wrong.to_owned(), right: right.to_owned() }));
        self
    }

    /// With the nearest one of `right` as what was meant by `wrong`; with the edit as well, where but one is a slip away.
    pub fn meant<'a>(self, wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Self {
        let right: BTreeSet<&str> = right.into_iter().collect();
        let hint = did_you_mean(wrong, right.iter().copied());
        let slips: Vec<&str> = slips(wrong, right.iter().copied()).map(|(_, name)| name).collect();
        let told = self.hint(hint);
        match slips.as_slice() {
            [only] => told.replace(wrong, only),
            _ => told,
        }
    }

    /// With this hint, where it has none.
    pub fn or_hint(mut self, hint: impl FnOnce() -> String) -> Self {
        self.hint = self.hint.or_else(|| Some(hint()));
        self
    }
}

/// The content of a file; a pipe or a device, which may never end, is none.
///
/// # Errors
/// It is not there, it is no file, or it cannot be read. A link that leads nowhere is told as one.
pub fn read_file(path: &Utf8Path) -> std::io::Result<Vec<u8>> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => std::fs::read(path),
        Ok(_) => Err(std::io::Error::other("it is no file")),
        Err(error) => Err(match path.read_link_utf8() {
            Ok(to) => std::io::Error::other(format!("it is a link to `{to}`: {error}")),
            Err(_) => error,
        }),
    }
}

fn no_utf8(error: std::string::FromUtf8Error) -> std::io::Error {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = valid.split(|byte| *byte == b'\n').count();
    std::io::Error::other(format!("its line {line} is no UTF-8, so save it as that"))
}

/// What stands between backticks, in order.
fn quoted(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at;

    const TEXT: &str = "\
# a comment
name: one
list:
  - a: 1
  - a: &anchor 2
    b: {c: [x, yy]}
---
other: *anchor
";

    #[test]
    fn every_node_is_found_where_it_stands() {
        for (path, line, column) in [
            (at![].to_vec(), 2, 1),
            (at!["name"].to_vec(), 2, 7),
            (at!["list"].to_vec(), 4, 3),
            (at!["list", 0].to_vec(), 4, 5),
            (at!["list", 1, "a"].to_vec(), 5, 8),
            (at!["list", 1, "b", "c", 1].to_vec(), 6, 16),
        ] {
            let at = locate(TEXT, 0, &path).unwrap_or_else(|| panic!("{path:?} is not found"));
            assert_eq!((at.line(), at.column()), (line, column), "{path:?}");
        }
        assert!(locate(TEXT, 0, &at!["list", 2]).is_none());
        assert!(locate(TEXT, 0, &at!["nme"]).is_none());
        assert!(locate(TEXT, 5, &at!["name"]).is_none());
    }

    #[test]
    fn a_key_is_found_where_it_stands() {
        let source = Source::new("f.yaml", TEXT);
        for (path, line, column) in [
            (at!["name"].to_vec(), 2, 1),
            (at!["list"].to_vec(), 3, 1),
            (at!["list", 1, "b"].to_vec(), 6, 5),
            (at!["list", 1, "b", "c"].to_vec(), 6, 9),
            // Nearest above it.
            (at!["list", 1, "zz"].to_vec(), 5, 5),
        ] {
            let problem = source.key_problem_in(0, &path, "no");
            assert_eq!((problem.line, problem.column), (line, column), "{path:?}");
        }
    }

    #[test]
    fn a_document_alone_has_the_same_places_as_in_its_file() {
        for text in [
            TEXT,
            "a: 1",
            "---\na: 1\n---\na: 2\n",
            "# only this\n\n--- # c\na: 1\n--- {a: 2}\n---\n---\na: |\n  ---\n  x\n",
            "a: 1\r\n---\r\na: 2\r\n",
            "%YAML 1.2\n---\na: 1\n...\n---\na: 2\n",
            "---x: 1\na: 2\n",
            "",
        ] {
            let source = Source::new("f.yaml", text);
            for document in 0..6 {
                let place = |path: &[Segment]| locate(text, document, path).map(|at| (at.line(), at.column()));
                let expected = place(&at!["a"]).or_else(|| place(&[])).unwrap_or((0, 0));
                let problem = source.problem_in(document, &at!["a"], "no");
                assert_eq!((problem.line, problem.column), expected, "document {document} of {text:?}");
            }
        }
    }

    #[test]
    fn a_missing_node_is_reported_at_its_parent() {
        let problem = Source::new("f.yaml", TEXT).problem(&at!["list", 1, "zz"], "no");
        assert_eq!((problem.line, problem.column), (5, 5));
        assert_eq!(problem.to_string(), "f.yaml:5:5: no");
    }

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        for (wrong, expected) in
            [("gatewey", Some("gateway")), ("datastorag", Some("datastorage")), ("pg", None), ("zebra", None)]
        {
            assert_eq!(nearest(wrong, ["gateway", "datastorage", "postgres"]), expected);
        }
    }

    #[test]
    fn repeated_keys_are_refused_with_a_line() {
        let source = Source::new("f.yaml", "a: 1\nb: 2\na: 3\n");
        let problem = source.parse::<std::collections::BTreeMap<String, u8>>().unwrap_err();
        assert!(problem.message.contains("duplicate"), "{problem}");
        assert!(problem.line > 0, "{problem}");
    }
}
