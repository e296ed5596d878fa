//! What a scan finds, and what its parts have in common.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::check::rules::{Finding, Knows, RULES};
use crate::check::subject::Subject;
use crate::suite::yaml::Source;
use crate::suite::{Cluster, Image, Suite};

/// What a file or folder was taken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Taken {
    /// Relative to the project.
    pub path: Utf8PathBuf,
    /// What it was taken for, and why.
    pub as_what: String,
}

/// What a scan has found.
#[derive(Debug, Default)]
pub struct Scanned {
    pub findings: Vec<Finding>,
    /// In the order of their paths.
    pub taken: Vec<Taken>,
    /// What could not be looked at or is not known.
    pub notes: Vec<String>,
}

/// A path of the project for people: the project's own folder is `.`.
pub(super) fn shown(path: &Utf8Path) -> &Utf8Path {
    if path.as_str().is_empty() { Utf8Path::new(".") } else { path }
}

pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for rule in RULES.iter().filter(|rule| rule.knows == Knows::Part) {
        let found = (rule.check)(subject).into_iter();
        findings.extend(found.map(|problem| Finding { class: rule.class, problem }));
    }
}

/// A suite that says nothing.
pub(super) fn empty_suite() -> Suite {
    let (name, phase, node) = (String::new(), String::new(), String::new());
    Suite {
        name: name.clone(),
        phases: Vec::new(),
        cluster: Cluster { name, config: Utf8PathBuf::new(), node, preload: Vec::new(), phase },
        build: None,
        images: Vec::<Image>::new(),
        manifests: Vec::new(),
        processes: None,
        services: Vec::new(),
        specs: None,
        access: None,
        steps: BTreeMap::new(),
        keep: Default::default(),
        bench: None,
        source: Source::default(),
    }
}
