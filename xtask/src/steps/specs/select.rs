//! What to say of a filter that lets no spec through.

use crate::error::WrongUsage;

/// How many names are shown.
const SHOWN: usize = 3;

/// The error of the filter `filter` that none of the specs `all` passes but, maybe, some that are `ignored`.
pub(super) fn nothing(filter: &str, all: &[String], ignored: &[String]) -> WrongUsage {
    let found: Vec<&str> = ignored.iter().map(String::as_str).filter(|name| name.contains(filter)).collect();
    let count = all.len();
    if !found.is_empty() {
        return WrongUsage(format!("--filter {filter}: lets only ignored specs through: {}", found.join(", ")));
    }
    let nearest = nearest(filter, all);
    let hint = if nearest.is_empty() {
        format!("they are called like {}", all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
    } else {
        format!("the nearest: {}", nearest.join(", "))
    };
    WrongUsage(format!("--filter {filter}: none of the {count} specs has this in its name; {hint}"))
}

/// The names with a part that is most like `filter`, the most alike first; none where nothing is near.
fn nearest<'a>(filter: &str, all: &'a [String]) -> Vec<&'a str> {
    let filter: Vec<char> = filter.to_lowercase().chars().collect();
    let limit = (filter.len() / 3).max(1);
    let mut near: Vec<(usize, &str)> = all
        .iter()
        .map(|name| (distance(&filter, name), name.as_str()))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    near.into_iter().take(SHOWN).map(|(_, name)| name).collect()
}

/// How far `filter` is from the nearest part of `name` that begins where a word does.
fn distance(filter: &[char], name: &str) -> usize {
    let wanted: String = filter.iter().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let begins = |&at: &usize| at == 0 || !name[at - 1].is_alphanumeric();
    let parts = (0..name.len()).filter(begins).flat_map(|at| {
        let lengths = filter.len().saturating_sub(1).max(1)..=filter.len() + 1;
        let name = &name;
        lengths.map(move |length| name[at..name.len().min(at + length)].iter().collect::<String>())
    });
    parts.map(|part| strsim::damerau_levenshtein(&wanted, &part)).min().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_were_probably_meant_are_told() {
        let all = ["auth::s46_no_token_is_401", "dedup::s02_a_repeat_is_a_duplicate", "dedup::s03_a_count"];
        let all = all.map(str::to_owned);
        for (filter, expected) in [
            ("auht", "none of the 3 specs has this in its name; the nearest: auth::s46_no_token_is_401"),
            ("DEDUP", "the nearest: dedup::s02_a_repeat_is_a_duplicate, dedup::s03_a_count"),
            ("s46_no_tokn", "the nearest: auth::s46_no_token_is_401"),
            ("weather", "they are called like auth::s46_no_token_is_401, dedup::"),
        ] {
            let told = nothing(filter, &all, &[]).to_string();
            assert!(told.contains(expected), "{filter}: {told}");
        }
        let told = nothing("s03", &all, &all[2..]).to_string();
        assert_eq!(told, "--filter s03: lets only ignored specs through: dedup::s03_a_count");
    }
}
