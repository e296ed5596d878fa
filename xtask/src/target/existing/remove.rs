//! Removes what a run has made on a cluster, and nothing else.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::clock::Instant;
use e2e_support::kubectl::Kubectl;
use e2e_support::{Cancel, Job};
use rayon::prelude::*;
use xshell::Shell;

use super::record::{Record, namespaces_of};
use super::shared::Sharing;

/// How long it may take.
const ALL: Duration = Duration::from_secs(240);
/// Pods have this long to end, in seconds: nothing of them is wanted any more.
const GRACE_S: &str = "1";

/// Removes everything that bears the label of `record`, and gives up what it shares. Returns once it is gone.
///
/// # Errors
/// When the API server does not answer, or something is still there after some minutes.
pub(super) fn remove(kubectl: &Kubectl, record: &Record, log: &Utf8Path) -> Result<()> {
    let (end, selector) = (Instant::now() + ALL, record.selector());
    let cancel = Cancel::new();
    let left = || end.saturating_duration_since(Instant::now());
    let run = |words: &[&str]| -> Result<()> {
        let sh = Shell::new()?;
        Job::new(kubectl.cmd(&sh).args(words)).deadline(left()).log(log).cancel(&cancel).run()
    };
    let namespaces = kubectl.read(&namespaces_of(&selector))?;
    let namespaces: Vec<&str> = namespaces.split_whitespace().collect();
    if !namespaces.is_empty() {
        let words = ["delete", "namespaces", "--selector", &selector, "--wait=false", "--ignore-not-found"];
        run(&words).context("deleting the run's namespaces")?;
        std::thread::scope(|scope| {
            for namespace in record.namespaces.iter().filter(|name| namespaces.contains(&name.as_str())) {
                let words =
                    ["--namespace", namespace, "delete", "pods", "--all", "--wait=false", "--grace-period", GRACE_S];
                // They go with their namespace all the same, only later.
                scope.spawn(move || run(&words));
            }
        });
    }
    if !record.kinds.is_empty() {
        let words = ["delete", &record.kinds.join(","), "--selector", &selector, "--ignore-not-found"];
        run(&words).context("deleting the run's cluster-wide objects")?;
    }
    if !namespaces.is_empty() {
        let timeout = format!("--timeout={}s", left().as_secs());
        let words = ["wait", "--for=delete", "namespaces", "--selector", &selector, &timeout];
        run(&words).context("waiting until the run's namespaces are gone")?;
    }
    let namespace = record.namespaces.first().map(String::as_str).unwrap_or_default();
    let sharing = Sharing { kubectl, id: &record.id, namespace, end, log, cancel: &cancel };
    record.shared.par_iter().try_for_each(|object| sharing.release(object))
}
