//! Long trials: scripts that break, interrupt or kill something on purpose, on a real cluster, and see what becomes of it.
//!
//! A trial is a script in [`FOLDER`] whose first comment says `# Trial: …`. It is asked in one of two ways:
//!
//! * `--list` prints its cases, one a line: the name, a tab, about how many seconds it takes. `-` in place of a name
//!   stands for what all of them need once.
//! * With names of cases it runs these, and appends a line for each to `target/trials/<trial>-<revision>.tsv`: the name,
//!   `passed` or `failed`, what was found, with tabs between. What has passed there is not run again.
//!
//! `# Not sampled: …` says why no case of it can be in a sample. A script with `# Measures: …` finds numbers and no
//! verdict, and is never run here.

mod run;
mod sample;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use crate::error::WrongUsage;
use crate::suite::yaml::did_you_mean;

pub use run::{carry_out, revision};
pub use sample::{Part, sample};

/// The folder of the scripts, relative to the workspace.
pub const FOLDER: &str = "scripts";
/// The folder that outcomes and logs are left in, relative to the workspace.
pub const RESULTS: &str = "target/trials";
/// Why a trial is not run whose script lists no case.
pub const NONE_HERE: &str = "it has no case on this machine";
/// A script that does not list its cases within this time has none.
const LIST: Duration = Duration::from_secs(20);

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It ends with a verdict.
    Trial,
    /// It finds numbers.
    Measurement,
}

/// A script of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub name: String,
    pub purpose: Purpose,
    /// What it does, in one line.
    pub about: String,
    /// Why it has no part in a sample, where it has none.
    pub not_sampled: Option<String>,
}

/// The cases of a trial; there may be none on this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cases {
    /// About how long it takes before the first one, in seconds.
    pub beforehand_s: f64,
    /// Each with about how long it takes, in seconds; in the script's order.
    pub cases: Vec<(String, f64)>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub passed: bool,
    /// In the script's words.
    pub found: String,
}

/// All trials and measurements of the workspace in `root`, by name.
///
/// # Errors
/// When a script cannot be read.
pub fn scripts(root: &Utf8Path) -> Result<Vec<Script>> {
    let folder = root.join(FOLDER);
    let mut scripts = Vec::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        let path = entry.with_context(|| format!("listing {folder}"))?.into_path();
        let (Some(name), Some("sh")) = (path.file_stem(), path.extension()) else { continue };
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        scripts.extend(Script::parse(name, &text));
    }
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scripts)
}

/// Those of `all` that are named in `names`, or all trials where none is.
///
/// # Errors
/// Where a name is no trial's: the nearest.
pub fn named<'s>(all: &'s [Script], names: &[String]) -> Result<Vec<&'s Script>> {
    let trials: Vec<&Script> = all.iter().filter(|script| script.purpose == Purpose::Trial).collect();
    let known = || trials.iter().map(|trial| trial.name.as_str());
    for name in names {
        if let Some(other) = all.iter().find(|script| script.name == *name && script.purpose == Purpose::Measurement) {
            let text = format!("{name} is no trial: it measures {}; run {FOLDER}/{name}.sh", other.about);
            return Err(WrongUsage(text).into());
        }
        if !known().any(|trial| trial == name) {
            let hint = did_you_mean(name, known()).unwrap_or_else(|| known().collect::<Vec<_>>().join(", "));
            return Err(WrongUsage(format!("no trial of the name {name} ({hint})")).into());
        }
    }
    Ok(trials.iter().copied().filter(|trial| names.is_empty() || names.contains(&trial.name)).collect())
}

impl Script {
    fn parse(name: &str, text: &str) -> Option<Script> {
        let comment = || text.lines().skip(1).take_while(|line| line.starts_with('#'));
        let after = |key: &str| comment().find_map(|line| line.strip_prefix(key).map(|rest| rest.trim().to_owned()));
        let (purpose, about) = match (after("# Trial:"), after("# Measures:")) {
            (Some(about), _) => (Purpose::Trial, about),
            (None, Some(about)) => (Purpose::Measurement, about),
            (None, None) => return None,
        };
        Some(Script { name: name.to_owned(), purpose, about, not_sampled: after("# Not sampled:") })
    }

    /// The script itself, relative to the workspace.
    pub fn path(&self) -> Utf8PathBuf {
        Utf8Path::new(FOLDER).join(format!("{}.sh", self.name))
    }

    /// Asks it for its cases.
    ///
    /// # Errors
    /// When it does not list them.
    pub fn cases(&self, root: &Utf8Path, cancel: &Cancel) -> Result<Cases> {
        Cases::ask(root, &self.path(), cancel)
    }
}

impl Cases {
    /// Asks the script at `path`, relative to the workspace, for its cases.
    ///
    /// # Errors
    /// When it does not list them.
    pub fn ask(root: &Utf8Path, path: &Utf8Path, cancel: &Cancel) -> Result<Cases> {
        let sh = Shell::new()?;
        sh.change_dir(root);
        let list = Job::new(cmd!(sh, "bash {path} --list")).deadline(LIST).cancel(cancel).read();
        let list = list.with_context(|| format!("asking {path} for its cases"))?;
        Cases::parse(&list).with_context(|| format!("reading the cases of {path}"))
    }

    fn parse(list: &str) -> Result<Cases> {
        let mut cases = Cases::default();
        for line in list.lines() {
            let (name, seconds) = line.split_once('\t').with_context(|| format!("no tab in the line {line:?}"))?;
            let seconds: f64 = seconds.parse().with_context(|| format!("{seconds:?} is no number of seconds"))?;
            match name {
                "-" => cases.beforehand_s = seconds,
                _ => cases.cases.push((name.to_owned(), seconds)),
            }
        }
        Ok(cases)
    }
}

/// Where a trial leaves its outcomes at this revision.
pub fn results(target: &Utf8Path, trial: &str, revision: &str) -> Utf8PathBuf {
    target.join(format!("{trial}-{revision}.tsv"))
}

/// The outcomes in such a file, by case; none where there is no file. The last of a case counts.
///
/// # Errors
/// When it cannot be read, or a line of it is something else.
pub fn outcomes(path: &Utf8Path) -> Result<BTreeMap<String, Outcome>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {path}")),
    };
    let mut outcomes = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, '\t');
        let (name, verdict) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        ensure!(
            matches!(verdict, "passed" | "failed"),
            "{path} has the line {line:?}, which is no case with its verdict; remove the file, and run the trial again"
        );
        let found = fields.next().unwrap_or_default().to_owned();
        outcomes.insert(name.to_owned(), Outcome { passed: verdict == "passed", found });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: &str =
        "#!/usr/bin/env bash\n# Trial: kills things.\n# More.\n# Not sampled: too long\nset -e\n# Trial: no\n";

    #[test]
    fn a_scripts_first_comment_says_what_it_is() {
        let trial = Script::parse("kill", TRIAL).unwrap();
        assert_eq!((trial.purpose, trial.about.as_str()), (Purpose::Trial, "kills things."));
        assert_eq!(trial.not_sampled.as_deref(), Some("too long"));
        let measurement = Script::parse("race", "#!/bin/sh\n# Measures: how long.\n").unwrap();
        assert_eq!((measurement.purpose, measurement.not_sampled), (Purpose::Measurement, None));
        assert_eq!(Script::parse("help", "# Sourced by trials.\n\n# Trial: no\n"), None);
    }

    #[test]
    fn only_trials_can_be_named() {
        let all = [Script::parse("kill", TRIAL).unwrap(), Script::parse("race", "\n# Measures: time\n").unwrap()];
        assert_eq!(named(&all, &[]).unwrap().len(), 1);
        let error = |name: &str| named(&all, &[name.to_owned()]).unwrap_err().to_string();
        assert!(error("race").contains("no trial: it measures time"), "{}", error("race"));
        assert!(error("kil").contains("did you mean `kill`"), "{}", error("kil"));
    }

    #[test]
    fn cases_have_names_and_seconds() {
        let cases = Cases::parse("-\t90\none\t2.5\ntwo\t30\n").unwrap();
        assert_eq!(cases, Cases { beforehand_s: 90.0, cases: vec![("one".into(), 2.5), ("two".into(), 30.0)] });
        assert_eq!(Cases::parse("").unwrap(), Cases::default());
        for wrong in ["one", "one\tsoon"] {
            assert!(Cases::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_last_outcome_of_a_case_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = results(Utf8Path::from_path(dir.path()).unwrap(), "kill", "abc");
        assert!(outcomes(&path).unwrap().is_empty());
        std::fs::write(&path, "a\tfailed\tno\nb\tpassed\nb\tpassed\tx\ty\na\tpassed\tyes\n").unwrap();
        let outcome = |found: &str| Outcome { passed: true, found: found.to_owned() };
        let all = outcomes(&path).unwrap();
        assert_eq!(all, BTreeMap::from([("a".to_owned(), outcome("yes")), ("b".to_owned(), outcome("x\ty"))]));
        std::fs::write(&path, "a\tgreen\n").unwrap();
        assert!(outcomes(&path).unwrap_err().to_string().contains("no case with its verdict"));
    }
}
