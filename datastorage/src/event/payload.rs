//! Whether PostgreSQL can keep a piece of JSON as `jsonb`. The text itself is stored, so that a number
//! keeps every digit that the client wrote; for that reason JSON that is correct, but more than `jsonb`
//! can hold, has to be found here.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// `jsonb` keeps numbers as `numeric`: at most 131,072 digits before and 16,383 after the point. Far
/// below both, so that a few bytes such as `1e9999` do not turn into kilobytes of zeros.
const DIGITS_MAX: usize = 400;
const EXPONENT_MAX: u32 = 400;
/// What all exponents of a text may add to it when PostgreSQL writes it out.
const ADDED_MAX: u32 = 64 * 1024;

/// Checks that `json`, which is correct JSON, is an object that `jsonb` can hold.
///
/// # Errors
/// What it holds that cannot be stored.
pub(super) fn check_object(json: &str) -> Result<(), String> {
    if !json.trim_start().starts_with('{') {
        return Err("must be a JSON object".to_owned());
    }
    serde_json::from_str::<Storable>(json).map_err(|error| error.to_string())?;
    check_numbers(json.as_bytes())
}

/// Visits all that there is, and keeps nothing of it. The parser itself finds lone surrogates, too deep
/// a nesting, and numbers that no double can hold.
struct Storable;

impl<'de> Deserialize<'de> for Storable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Storable, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Storable;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_unit<E>(self) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Storable, E> {
        if text.contains('\0') {
            return Err(E::custom("a text holds the character U+0000, which cannot be stored"));
        }
        Ok(Storable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Storable, A::Error> {
        while items.next_element::<Storable>()?.is_some() {}
        Ok(Storable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Storable, A::Error> {
        while entries.next_entry::<Storable, Storable>()?.is_some() {}
        Ok(Storable)
    }
}

fn check_numbers(json: &[u8]) -> Result<(), String> {
    let (mut at, mut added) = (0, 0);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at),
            b'-' | b'0'..=b'9' => {
                let length = json[at..].iter().take_while(|byte| is_number(**byte)).count();
                added += check_number(&json[at..at + length])?;
                if added > ADDED_MAX {
                    return Err(format!("the exponents of its numbers stand for more than {ADDED_MAX} digits"));
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// The place behind the string that starts at `start`.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn is_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Returns its exponent.
fn check_number(number: &[u8]) -> Result<u32, String> {
    let (digits, exponent) = match number.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b"0"[..]),
    };
    let exponent = exponent
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0_u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    if digits.len() > DIGITS_MAX || exponent > EXPONENT_MAX {
        return Err(format!("a number has more than {DIGITS_MAX} digits or an exponent beyond {EXPONENT_MAX}"));
    }
    Ok(exponent)
}
