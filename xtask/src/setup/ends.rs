//! Versions that nobody mends any more.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use serde::Deserialize;

/// The day from which a line of versions gets no more mends from its publisher.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// As `2026-10-27`.
    pub on: String,
    /// Where its publisher says so.
    pub source: String,
}

/// The ends of lines of versions, by what has them and the line: `kubernetes`, `1.34`.
pub type Ends = BTreeMap<String, BTreeMap<String, End>>;

/// Fails where a line's end is not written as it is read, or a version's line has none.
///
/// # Errors
/// Says which.
pub(super) fn check(ends: &Ends, versions: &BTreeMap<String, String>) -> Result<()> {
    for (name, lines) in ends {
        for (line, End { on, .. }) in lines {
            let is_date = humantime::parse_rfc3339(&format!("{on}T00:00:00Z")).is_ok();
            ensure!(is_date, "the end of {name} {line}: {on:?} is no day such as 2026-10-27");
        }
        let Some(version) = versions.get(name) else {
            anyhow::bail!("`ends` has {name}, which is not among `versions`");
        };
        ensure!(end_of(lines, version).is_some(), "`ends` does not say when {name} {version} ends");
    }
    Ok(())
}

/// What is said of the versions that had ended by that day, one line each.
pub fn ended(ends: &Ends, versions: &BTreeMap<String, String>, now: SystemTime) -> Vec<String> {
    let now = humantime::format_rfc3339_seconds(now).to_string();
    let of = |(name, version): (&String, &String)| {
        let (line, End { on, source }) = end_of(ends.get(name)?, version)?;
        // Days in this order of year, month and day compare as texts.
        (on.as_str() <= &now[..10]).then(|| {
            format!("{name} {version} has reached its end of life: {line} gets no mends since {on} ({source})")
        })
    };
    versions.iter().filter_map(of).collect()
}

/// The line that the version belongs to.
fn end_of<'a>(lines: &'a BTreeMap<String, End>, version: &str) -> Option<(&'a String, &'a End)> {
    // `v1.34.3` and `1.34.3` are of the line 1.34; a name, as of Debian's versions, is its own line.
    let numbers = version.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let version = numbers.unwrap_or(version);
    lines.iter().find(|(line, _)| {
        version.strip_prefix(line.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Half a day before and after the 27th of October 2026 begins.
    const BEFORE: u64 = 1_793_016_000;
    const AFTER: u64 = BEFORE + 86_400;

    fn ends(on: &str) -> Ends {
        let end = End { on: on.into(), source: "https://x".into() };
        [("kubernetes".to_owned(), [("1.34".to_owned(), end)].into())].into()
    }

    fn versions(version: &str) -> BTreeMap<String, String> {
        [("kubernetes".to_owned(), version.to_owned())].into()
    }

    #[test]
    fn a_version_is_told_from_the_day_of_its_end_on() {
        let said = |version: &str, seconds| {
            ended(&ends("2026-10-27"), &versions(version), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        assert_eq!(said("v1.34.3", BEFORE), [""; 0]);
        let told = ["kubernetes v1.34.3 has reached its end of life: 1.34 gets no mends since 2026-10-27 (https://x)"];
        assert_eq!(said("v1.34.3", AFTER), told);
        assert_eq!(said("v1.340.3", AFTER), [""; 0], "another line");
    }

    #[test]
    fn what_is_not_known_or_not_read_is_an_error() {
        assert!(check(&ends("2026-10-27"), &versions("v1.34.3")).is_ok());
        for (on, version, word) in
            [("27.10.2026", "v1.34.3", "is no day"), ("2026-10-27", "v1.35.0", "does not say when kubernetes v1.35.0")]
        {
            let error = check(&ends(on), &versions(version)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let error = check(&ends("2026-10-27"), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("not among `versions`"), "{error}");
    }
}
