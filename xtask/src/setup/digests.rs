//! Public images whose publisher names no digest: which ones they are is noted, so that a change is seen.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::engine::Engine;
use e2e_support::pull::digests;

/// A public image as a run uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub reference: String,
    /// Its digests, sorted.
    pub digests: Vec<String>,
    /// Those that it had the last time, where they were others.
    pub before: Option<Vec<String>>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.reference, self.digests.join(" "))?;
        match &self.before {
            Some(before) => write!(f, " (the last time {})", before.join(" ")),
            None => Ok(()),
        }
    }
}

/// Looks at the images `references`, and notes in the cache what they are. An image counts as changed when it shares
/// no digest with the one of the last time.
///
/// # Errors
/// When the engine does not answer, or the note cannot be written.
pub fn note(cache: &Utf8Path, engine: &Engine, references: &[&str]) -> Result<Vec<Seen>> {
    let mut now = BTreeMap::new();
    for &reference in references {
        let image = engine.image(reference)?.unwrap_or_default();
        now.insert(reference.to_owned(), digests(&image, reference)?);
    }
    compare(&cache.join("digests").join(format!("{}.json", engine.flavor())), now)
}

fn compare(path: &Utf8Path, now: BTreeMap<String, Vec<String>>) -> Result<Vec<Seen>> {
    // One that cannot be read is as none: it is a cache.
    let old = std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
    let old: BTreeMap<String, Vec<String>> = old.unwrap_or_default();
    let mut all = old.clone();
    all.extend(now.clone());
    if all != old {
        let doing = || format!("noting the digests of images in {path}");
        let folder = path.parent().context("the note of digests has a folder")?;
        std::fs::create_dir_all(folder).with_context(doing)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(doing)?;
        serde_json::to_writer_pretty(&mut file, &all).with_context(doing)?;
        file.persist(path).with_context(doing)?;
    }
    Ok(now
        .into_iter()
        .map(|(reference, digests)| {
            let before = old.get(&reference).filter(|before| !before.iter().any(|one| digests.contains(one)));
            Seen { before: before.cloned(), reference, digests }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("digests/podman.json");
        let with = |digests: &[&str]| {
            let digests = digests.iter().map(|&digest| digest.to_owned()).collect();
            compare(&path, BTreeMap::from([("redis:7".to_owned(), digests)])).unwrap().remove(0)
        };
        assert_eq!(with(&["a", "b"]).before, None);
        assert_eq!(with(&["b"]).before, None, "one of its digests is the same");
        let changed = with(&["c"]);
        assert_eq!(changed.before.as_deref(), Some(&["b".to_owned()][..]));
        assert_eq!(changed.to_string(), "redis:7 c (the last time b)");
        assert_eq!(with(&["c"]).before, None);
        let other = compare(&path, BTreeMap::from([("postgres:15".to_owned(), vec!["d".to_owned()])])).unwrap();
        assert_eq!(other[0].before, None);
        assert_eq!(with(&["c"]).before, None, "one that a run does not use is not forgotten");
    }
}
