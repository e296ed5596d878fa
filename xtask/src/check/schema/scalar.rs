//! Single values: what may stand where a type wants a number, a text, a quantity.

use serde_yaml::Value;

use super::types::Shape;
use crate::suite::yaml::{Problem, Replacement};

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) fix: Option<Box<Replacement>>,
}

/// What is wrong, and no more than that.
fn told(message: String, hint: Option<String>) -> Result<(), Wrong> {
    Err(Wrong { message, hint, fix: None })
}

/// `write …`, and the edit that does it.
fn write(message: String, wrong: &str, right: &str, how: &str) -> Result<(), Wrong> {
    let fix = Some(Box::new(Replacement { wrong: wrong.to_owned(), right: right.to_owned() }));
    Err(Wrong { message, hint: Some(format!("write {right}{how}")), fix })
}

/// A mapping's key as JSON has it: always a text.
pub(super) fn key(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

/// Looks at a value that its type wants to be of this shape. kubectl reads YAML 1.1, where a text without quotes may
/// be a number (`0440`) or a truth value (`yes`): `is_plain` tells whether it is written without.
pub(super) fn check(
    value: &Value,
    shape: &Shape<'_>,
    bounds: (Option<f64>, Option<f64>),
    is_plain: impl Fn() -> bool,
) -> Result<(), Wrong> {
    let message = |wanted: &str| format!("is {}, and {wanted} is wanted", called(value));
    let wrong = |wanted: &str| told(message(wanted), None);
    let quoted = |text: String| write(message("a text"), &text, &format!("\"{text}\""), "");
    let unquoted = |wanted: &str, text: &str, right: &str| {
        write(message(wanted), &format!("\"{text}\""), right, " without quotes")
    };
    match (shape, value) {
        (Shape::Text(values), Value::String(text)) => {
            if truth(text).is_some() && values.is_empty() && is_plain() {
                let message = format!("is `{text}`, which YAML 1.1 takes for true or false, and a text is wanted");
                return write(message, text, &format!("\"{text}\""), "");
            }
            one_of(text, values)
        }
        (Shape::Text(_), Value::Number(number)) => quoted(number.to_string()),
        (Shape::Text(_), Value::Bool(is)) => quoted(is.to_string()),
        (Shape::Text(_), _) => wrong("a text"),
        (Shape::Int, Value::Number(number)) => {
            let is_whole = number.as_f64().is_some_and(|number| number.fract() == 0.0);
            if is_whole { in_bounds(value, bounds) } else { wrong("a whole number") }
        }
        (Shape::Int | Shape::IntOrText, Value::String(text)) if is_old_number(text) && is_plain() => Ok(()),
        (Shape::Int, Value::String(text)) if text.parse::<i64>().is_ok() => unquoted("a number", text, text),
        (Shape::Int, _) => wrong("a number"),
        (Shape::Number, Value::Number(_)) => in_bounds(value, bounds),
        (Shape::Number, Value::String(text)) if text.parse::<f64>().is_ok() => unquoted("a number", text, text),
        (Shape::Number, _) => wrong("a number"),
        (Shape::Bool, Value::Bool(_)) => Ok(()),
        (Shape::Bool, Value::String(text)) => match truth(text) {
            Some(_) if is_plain() => Ok(()),
            Some(is) => unquoted("true or false", text, &is.to_string()),
            None => wrong("true or false"),
        },
        (Shape::Bool, _) => wrong("true or false"),
        (Shape::IntOrText, Value::Number(_) | Value::String(_)) => Ok(()),
        (Shape::IntOrText, _) => wrong("a number or a text"),
        (Shape::Quantity, Value::Number(_)) => Ok(()),
        (Shape::Quantity, Value::String(text)) => match quantity(text) {
            Some(_) => Ok(()),
            None => told(format!("is `{text}`, which is no quantity"), Some(quantity_hint(text))),
        },
        (Shape::Quantity, _) => wrong("a quantity"),
        (Shape::Base64, Value::String(text)) if is_base64(text) => Ok(()),
        (Shape::Base64, Value::String(_)) => {
            let hint = "encode it, or write it under `stringData`";
            told("is not encoded in base64".into(), Some(hint.into()))
        }
        (Shape::Base64, _) => wrong("a text in base64"),
        (Shape::List(_), _) => wrong("a list"),
        (Shape::Map(_) | Shape::Object { .. }, _) => wrong("an object"),
        (Shape::Any, _) => Ok(()),
    }
}

fn one_of(text: &str, values: &[&str]) -> Result<(), Wrong> {
    if values.is_empty() || text.is_empty() || values.contains(&text) {
        return Ok(());
    }
    let same = values.iter().copied().find(|value| value.eq_ignore_ascii_case(text));
    let meant = Problem::default().meant(text, same.map_or_else(|| values.to_vec(), |same| vec![same]));
    let own = same.map(|same| Box::new(Replacement { wrong: text.to_owned(), right: same.to_owned() }));
    let fix = own.or(meant.fix);
    let hint = same.map(|same| format!("did you mean `{same}`?")).or(meant.hint);
    let hint = hint.or_else(|| Some(format!("there are: {}", values.join(", "))));
    Err(Wrong { message: format!("is `{text}`, which it cannot be"), hint, fix })
}

fn in_bounds(value: &Value, (least, greatest): (Option<f64>, Option<f64>)) -> Result<(), Wrong> {
    let Some(number) = value.as_f64() else { return Ok(()) };
    let wrong = |bound: String| told(format!("is {number}"), Some(bound));
    match (least, greatest) {
        (Some(least), _) if number < least => wrong(format!("at least {least}")),
        (_, Some(greatest)) if number > greatest => wrong(format!("at most {greatest}")),
        _ => Ok(()),
    }
}

fn called(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(is) => format!("`{is}`, true or false"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.len() <= 40 && !text.contains('\n') => format!("the text \"{text}\""),
        Value::String(_) => "a text".into(),
        Value::Sequence(_) => "a list".into(),
        Value::Mapping(_) => "an object".into(),
        Value::Tagged(_) => "a value with a tag".into(),
    }
}

/// What YAML 1.1 takes for a truth value, and this parser for a text.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => Some(true),
        "no" | "off" | "false" => Some(false),
        _ => None,
    }
}

/// A number in a form that only YAML 1.1 has: `0440`, `1_000`.
fn is_old_number(text: &str) -> bool {
    let is_octal = text.len() > 1 && text.starts_with('0') && text.chars().all(|c| ('0'..='7').contains(&c));
    let is_split = text.contains('_') && text.chars().all(|c| c.is_ascii_digit() || c == '_');
    is_octal || (is_split && text.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_base64(text: &str) -> bool {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len().is_multiple_of(4) && padding <= 2 && text[..text.len() - padding].iter().all(is_digit)
}

/// The number that a quantity stands for.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let has_digit = number.contains(|c: char| c.is_ascii_digit());
    let number: f64 = if has_digit { number.parse().ok()? } else { return None };
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        // `1e3`
        _ => 10f64.powi(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

/// What a text that is no quantity was probably meant to be.
fn quantity_hint(text: &str) -> String {
    let near = match text.trim_end_matches(char::is_alphabetic) {
        number if quantity(number).is_none() => None,
        number => match &text[number.len()..] {
            "MB" | "Mb" | "mb" | "MiB" | "mi" | "MI" => Some(format!("{number}Mi")),
            "GB" | "Gb" | "gb" | "g" | "GiB" | "gi" | "GI" => Some(format!("{number}Gi")),
            "KB" | "kb" | "K" | "KiB" | "ki" | "KI" => Some(format!("{number}Ki")),
            _ => None,
        },
    };
    near.map_or_else(|| "as in 500m, 1.5, 128Mi, 2Gi".to_owned(), |near| format!("did you mean `{near}`?"))
}
