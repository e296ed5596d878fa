//! What each spec took: a file that every machine has alike, written from recorded runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Split;
use crate::error::WrongUsage;
use crate::events::{SpecStatus, Timeline};
use crate::hash::hex;
use crate::suite::Suite;
use crate::suite::yaml::{Problem, Source};

/// How many of a spec's newest times count.
const NEWEST: usize = 5;
/// Times are written in steps of so many milliseconds, one at least: what differs by less is noise, as events are read that
/// often, and would change the file each time.
const STEP_MS: u64 = 50;

/// What the specs of a suite took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// By the spec's name.
    pub specs: BTreeMap<String, Time>,
    /// The hash of the file; none where there is none.
    pub hash: Option<String>,
}

/// What one spec took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// In milliseconds, the median of several runs.
    pub ms: u64,
    /// Whether it runs alone.
    #[serde(default)]
    pub alone: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    specs: BTreeMap<String, Time>,
}

impl Times {
    /// The times in `file`, a path relative to `root` or an absolute one.
    ///
    /// # Errors
    /// The file cannot be read, or is none of times: with its line.
    pub fn read(root: &Utf8Path, file: &Utf8Path) -> Result<Self, Problem> {
        let source = Source::read(root, file)?;
        let Written { specs } = source.parse()?;
        Ok(Self { specs, hash: Some(hex(&Sha256::digest(source.text.as_bytes()))) })
    }

    /// What shards of this suite are split by: the file `passed`, or else the one that the suite names, or else nothing.
    ///
    /// # Errors
    /// [`WrongUsage`] where the file that is to be used is not there or is none of times.
    pub fn of(root: &Utf8Path, suite: &Suite, passed: Option<&Utf8Path>) -> Result<Self, WrongUsage> {
        let named = suite.specs.as_ref().and_then(|specs| specs.times.as_deref());
        let (what, root, file) = match (passed, named) {
            // As any argument: from where the user stands.
            (Some(file), _) => ("--times", Utf8Path::new(""), file),
            (None, Some(file)) => ("specs.times of the suite", root, file),
            (None, None) => return Ok(Self::default()),
        };
        Self::read(root, file).map_err(|problem| {
            let name = &suite.name;
            WrongUsage(format!("{what}: {problem}; `cargo xtask times {name}` writes it from recorded runs"))
        })
    }

    /// The medians of what these runs, the newest last, show of their specs. What a run lists and none shows a time of
    /// keeps the one that `before` has.
    pub fn measured(runs: &[Timeline], before: &Self) -> Self {
        let mut listed: BTreeMap<&str, bool> = BTreeMap::new();
        let mut found: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for run in runs.iter().rev() {
            for spec in &run.specs {
                listed.entry(&spec.name).or_insert(spec.alone);
            }
            // What was tried twice, failed or was cut short tells nothing of what it takes.
            let well = run.specs.iter().filter(|spec| spec.status == SpecStatus::Passed && spec.attempts == 1);
            for spec in well {
                let times = found.entry(&spec.name).or_default();
                if times.len() < NEWEST {
                    times.extend(spec.elapsed_us(run.last_us).map(|us| us / 1000));
                }
            }
        }
        // Of other shards' specs only the names are known.
        for name in runs.iter().flat_map(|run| &run.split).flat_map(Split::all) {
            listed.entry(name).or_insert_with(|| before.specs.get(name).is_some_and(|time| time.alone));
        }
        let time = |(name, alone): (&str, bool)| {
            let ms = match found.get_mut(name) {
                Some(times) => {
                    times.sort_unstable();
                    times.get(times.len() / 2).map(|ms| ms.max(&1).div_ceil(STEP_MS) * STEP_MS)
                }
                None => before.specs.get(name).map(|time| time.ms),
            };
            Some((name.to_owned(), Time { ms: ms?, alone }))
        };
        Self { specs: listed.into_iter().filter_map(time).collect(), hash: None }
    }

    /// The text of a file of these times for the suite `suite`.
    pub fn text(&self, suite: &str) -> String {
        let mut out = format!(
            "# What each spec takes, in milliseconds: shards (`cargo xtask e2e {suite} --partition K/N`) are split by it.\n\
             # Written by `cargo xtask times {suite}`.\nspecs:\n"
        );
        if self.specs.is_empty() {
            out.truncate(out.len() - 1);
            out.push_str(" {}\n");
        }
        for (name, time) in &self.specs {
            let alone = if time.alone { ", alone: true" } else { "" };
            // A JSON string is one of YAML, too.
            let _ = writeln!(out, "  {}: {{ ms: {}{alone} }}", serde_json::Value::from(name.as_str()), time.ms);
        }
        out
    }

    /// Where the times of a suite are written: to `passed`, or else to the file that it names.
    ///
    /// # Errors
    /// [`WrongUsage`] where there is neither.
    pub fn file(root: &Utf8Path, suite: &Suite, passed: Option<&Utf8Path>) -> Result<Utf8PathBuf, WrongUsage> {
        let named = suite.specs.as_ref().and_then(|specs| specs.times.as_deref());
        passed.map(Utf8Path::to_owned).or_else(|| named.map(|file| root.join(file))).ok_or_else(|| {
            let name = &suite.name;
            WrongUsage(format!(
                "the suite {name} names no file of times: write `times: FILE` into its `specs`, or say `--to FILE`"
            ))
        })
    }
}
