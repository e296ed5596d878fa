//! Cutting text to what a field or a label may hold.

/// The most bytes of a label value.
pub const LABEL_VALUE_MAX_BYTES: usize = 63;
/// The most characters of the name fields of a RemediationRequest.
pub const NAME_MAX_CHARS: usize = 253;

/// The longest prefix of at most `max` bytes that ends on a character boundary.
pub fn cut_bytes(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The text as a Kubernetes label value: what such a value cannot hold becomes `_`, and it is cut to 63 bytes.
pub fn label_value(text: &str) -> String {
    let replaced: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .take(LABEL_VALUE_MAX_BYTES)
        .collect();
    replaced.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// Whether an object can have this name at all: a DNS subdomain. Anything else must not get into a URL of the API.
pub fn is_object_name(name: &str) -> bool {
    name.len() <= NAME_MAX_CHARS && name.split('.').all(is_dns_part)
}

/// Whether a namespace can have this name at all: a DNS label.
pub fn is_namespace_name(name: &str) -> bool {
    name.len() <= LABEL_VALUE_MAX_BYTES && is_dns_part(name)
}

fn is_dns_part(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// Whether a piece of JSON text holds what no database takes: the character U+0000, or half of a surrogate pair.
pub fn has_unstorable(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    let mut high = false;
    while let Some(next) = bytes[at..].iter().position(|b| *b == b'\\') {
        // Half of a pair that something else than its other half follows.
        if high && next > 0 {
            return true;
        }
        at += next;
        let code = match bytes.get(at + 1) {
            Some(b'u') => bytes.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok()),
            _ => None,
        };
        let code = code.and_then(|hex| u16::from_str_radix(hex, 16).ok());
        match code {
            Some(0) => return true,
            Some(0xD800..=0xDBFF) if !high => high = true,
            Some(0xDC00..=0xDFFF) if high => high = false,
            Some(0xD800..=0xDFFF) => return true,
            _ if high => return true,
            _ => {}
        }
        at = (at + if code.is_some() { 6 } else { 2 }).min(bytes.len());
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_could_leave_their_place_in_a_url_are_none() {
        for good in ["a", "web-7d9f-x2", "a.b.c", "0"] {
            assert!(is_object_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../secrets", "a/b", "a?b", "A", "-a", "a-", "a..b", "a b", "ä", "a%2f"] {
            assert!(!is_object_name(bad), "{bad}");
            assert!(!is_namespace_name(bad), "{bad}");
        }
        assert!(!is_namespace_name("a.b"), "a namespace has no dots");
        assert!(!is_namespace_name(&"a".repeat(64)));
        assert!(!is_object_name(&"a".repeat(254)));
    }

    #[test]
    fn what_no_database_takes_is_found_wherever_it_is_written() {
        for good in ["", r#""a\\u0000""#, r#""\ud83d\ude00""#, r#""\n\u00e4\\""#, "\"ü😀\"", r#""\uD83D\uDE00x\u0041""#]
        {
            assert!(!has_unstorable(good), "{good}");
        }
        for bad in [
            r#""\u0000""#,
            r#""\\\u0000""#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx\ude00""#,
            r#""\ud83d\n""#,
            r#""\ude00\ud83d""#,
        ] {
            assert!(has_unstorable(bad), "{bad}");
        }
    }

    #[test]
    fn a_label_value_keeps_what_it_can() {
        assert_eq!(label_value("my namespace!"), "my_namespace");
        assert_eq!(label_value("production"), "production");
        assert_eq!(label_value("--"), "");
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_judged_by_its_characters(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(has_unstorable(&json), text.contains('\0'));
        }

        #[test]
        fn cut_bytes_is_the_longest_prefix_that_fits(text in ".{0,80}", max in 0_usize..100) {
            let cut = cut_bytes(&text, max);
            prop_assert!(cut.len() <= max && text.starts_with(cut));
            if let Some(next) = text[cut.len()..].chars().next() {
                prop_assert!(cut.len() + next.len_utf8() > max);
            }
        }

        #[test]
        fn label_values_are_what_the_api_server_takes(text in ".{0,200}") {
            let value = label_value(&text);
            prop_assert!(value.len() <= LABEL_VALUE_MAX_BYTES);
            prop_assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            prop_assert!(value.is_empty() || value.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(value.is_empty() || value.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
