//! What people and programs are shown of a run. Every report follows from its events alone.

pub mod analysis;
pub mod frame;
pub mod github;
pub mod html;
mod html_tables;
pub mod junit;
pub mod lines;
pub mod live;
pub mod merged;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod text;
pub mod trace;

use std::fs;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use camino::Utf8PathBuf;

use crate::events::{Reporter, RunFolder, Timeline};

/// The reporters for this process: a live picture on a terminal, else lines, folded where GitHub Actions reads them.
pub fn reporters(folder: &RunFolder) -> Vec<Box<dyn Reporter>> {
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        return vec![Box::new(github::Github::new(folder.clone()))];
    }
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stderr().is_terminal() && std::env::var_os("CI").is_none() && !dumb {
        return vec![Box::new(live::Live::new(folder.clone()))];
    }
    vec![Box::new(lines::Lines::new(std::io::stderr(), folder.clone()))]
}

/// Writes the reports that are made at the end beside the run's events: page, trace, JUnit.
///
/// # Errors
/// One of them cannot be written: the first such. The others are there.
pub fn write(folder: &RunFolder, timeline: &Timeline) -> anyhow::Result<()> {
    let reports = [
        (folder.html(), html::page(timeline)),
        (folder.trace(), trace::trace(timeline)),
        (folder.junit(), junit::junit(timeline)),
    ];
    let write = |(path, text): (Utf8PathBuf, String)| fs::write(&path, text).with_context(|| format!("writing {path}"));
    reports.map(write).into_iter().collect()
}
