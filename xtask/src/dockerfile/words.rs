//! Words: how they are split, unquoted, and what variables in them stand for.
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>

use std::collections::BTreeMap;

/// A word as the engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Unquoted; a variable whose value only the build knows stands as `${NAME}`.
    pub text: String,
    /// Whether there is no such variable in it.
    pub known: bool,
}

impl Word {
    /// A word that stands for itself.
    pub fn plain(text: impl Into<String>) -> Word {
        Word { text: text.into(), known: true }
    }
}

/// How deep variables may stand in each other's defaults; deeper, nobody means it.
const NESTED: usize = 20;

/// What a variable stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Known(String),
    /// An ARG that is declared, and not given: empty, unless somebody calls the build in another way.
    NotGiven,
    /// Only the build knows.
    Unknown,
}

impl From<Word> for Value {
    fn from(word: Word) -> Value {
        if word.known { Value::Known(word.text) } else { Value::Unknown }
    }
}

/// Variables by name.
pub(super) type Values = BTreeMap<String, Value>;

/// What is meant by a variable that nobody has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unset {
    /// The image below may have set it.
    Unknown,
    /// It is empty for sure.
    Empty,
}

/// Unquotes `text` and puts values in.
pub(super) fn expand(text: &str, escape: char, values: &Values, unset: Unset) -> Word {
    let mut word = Word { text: String::new(), known: true };
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' if !quoted => word.text.extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => quoted = !quoted,
            c if c == escape => match chars.next() {
                Some(next) if quoted && !['"', '$', escape].contains(&next) => word.text.extend([escape, next]),
                Some(next) => word.text.push(next),
                None => {}
            },
            '$' if chars.peek() == Some(&'{') => {
                chars.next();
                let inside = braced(&mut chars);
                substitute(&inside, escape, values, unset, &mut word);
            }
            '$' => {
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if name.is_empty() {
                    word.text.push('$');
                } else {
                    substitute(&name, escape, values, unset, &mut word);
                }
            }
            c => word.text.push(c),
        }
    }
    word
}

/// What stands before the brace that closes.
fn braced(chars: &mut impl Iterator<Item = char>) -> String {
    let mut depth = 0;
    let mut inside = String::new();
    for c in chars {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
        inside.push(c);
    }
    inside
}

/// `NAME`, `NAME:-word`, `NAME:+word` and the like; patterns (`#`, `%`, `/`) are not worked out.
fn substitute(inside: &str, escape: char, values: &Values, unset: Unset, word: &mut Word) {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, modifier) = inside.split_at(end);
    let value = values.get(name).cloned().unwrap_or(match unset {
        Unset::Unknown => Value::Unknown,
        Unset::Empty => Value::NotGiven,
    });
    let operator = modifier.strip_prefix(':').unwrap_or(modifier);
    let other = || expand(operator.get(1..).unwrap_or_default(), escape, values, unset);
    let unknown = || Word { text: format!("${{{inside}}}"), known: false };
    // With a colon an empty value is as none.
    let there = match &value {
        Value::Known(value) if value.is_empty() && modifier.starts_with(':') => Value::NotGiven,
        _ => value.clone(),
    };
    let result = match (operator.chars().next(), there) {
        _ if inside.matches('{').count() > NESTED => unknown(),
        (None, Value::Known(value)) if modifier.is_empty() => Word::plain(value),
        (None, Value::NotGiven) if modifier.is_empty() && !values.contains_key(name) => Word::plain(""),
        (Some('-'), Value::Known(value)) => Word::plain(value),
        (Some('-'), Value::NotGiven) | (Some('+'), Value::Known(_)) => other(),
        (Some('+'), Value::NotGiven) => Word::plain(""),
        (Some('?'), Value::Known(value)) => Word::plain(value),
        _ => unknown(),
    };
    word.text.push_str(&result.text);
    word.known &= result.known;
}

/// Words between blanks, with quotes and escapes as they stand: a blank in quotes splits nothing.
pub(super) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Words as a shell would split them, quotes kept.
pub(super) fn shell(text: &str) -> Vec<String> {
    quoted(text, '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_quotes_and_escapes() {
        let known = |value: &str| Value::Known(value.into());
        let values = [
            ("A", known("one")),
            ("E", known("")),
            ("U", Value::Unknown),
            ("AB", known("two")),
            ("G", Value::NotGiven),
        ];
        let values: Values = values.map(|(name, value)| (name.to_owned(), value)).into();
        for (text, expected, known) in [
            ("", "", true),
            ("$A/x", "one/x", true),
            ("${A}B", "oneB", true),
            ("$AB", "two", true),
            ("$A.yaml", "one.yaml", true),
            ("'$A'", "$A", true),
            ("\"$A\"", "one", true),
            ("\\$A", "$A", true),
            ("\"a\\b\"", "a\\b", true),
            ("${E:-x}", "x", true),
            ("${E-x}", "", true),
            ("${G:-x}", "x", true),
            ("${G+x}", "", true),
            ("$G", "${G}", false),
            ("${N:-x/$A}", "x/one", true),
            ("${N-${A}}", "one", true),
            ("${A:+y}", "y", true),
            ("${E:+y}", "", true),
            ("${U:-x}", "${U:-x}", false),
            ("$U/b", "${U}/b", false),
            ("${A%e}", "${A%e}", false),
            ("$", "$", true),
            ("${", "", true),
            ("'open", "open", true),
        ] {
            assert_eq!(expand(text, '\\', &values, Unset::Empty), Word { text: expected.into(), known }, "{text}");
        }
        assert!(!expand("$N", '\\', &values, Unset::Unknown).known);
        assert_eq!(expand("c:\\a`$A", '`', &values, Unset::Empty).text, "c:\\a$A");
    }

    #[test]
    fn a_blank_in_quotes_splits_nothing() {
        assert_eq!(shell("a 'b c' \"d  e\"f g\\ h"), ["a", "'b c'", "\"d  e\"f", "g\\ h"]);
        assert_eq!(shell("  "), [""; 0]);
        assert_eq!(shell("'open a"), ["'open a"]);
    }
}
