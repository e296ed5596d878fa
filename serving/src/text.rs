//! What clients wrote, as it is repeated to them.

use serde_json::error::Category;

/// The longest prefix of at most `max` characters.
pub fn cut_chars(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// Why a text is no JSON, and where, if it is none. How it is read is none of the client's business.
pub fn not_json(error: &serde_json::Error) -> Option<String> {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => None,
        Category::Eof => Some(format!("not JSON: it breaks off at {place}")),
        Category::Syntax | Category::Io => Some(format!("not JSON: see {place}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cut_chars_keeps_exactly_so_many(text in ".{0,80}", max in 0_usize..100) {
            let cut = cut_chars(&text, max);
            prop_assert!(text.starts_with(cut));
            prop_assert_eq!(cut.chars().count(), max.min(text.chars().count()));
        }
    }
}
