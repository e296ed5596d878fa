//! What a failed run leaves to look at: of its own namespaces, and nothing of others.

use anyhow::Result;
use e2e_support::clock::Instant;
use rayon::prelude::*;
use xshell::Shell;

use super::record::namespaces_of;
use super::there::There;
use crate::events::RunFolder;
use crate::evidence::{ask, containers, keep};
use crate::target::session::Session;

/// Writes logs of pods, events and objects of the run's namespaces and of those that its specs made into the run's
/// folder.
pub(super) fn collect(there: &There, session: &Session, folder: &RunFolder, end: Instant) {
    let kubectl = session.kubectl();
    let ask = |words: &[&str]| -> Result<String> {
        let sh = Shell::new()?;
        ask(kubectl.cmd(&sh).args(words), end)
    };
    let namespaces: Vec<String> = match ask(&namespaces_of(&there.record.selector())) {
        Ok(names) => names.split_whitespace().map(str::to_owned).collect(),
        Err(error) => return keep(&folder.path().join("cluster/namespaces.txt"), Err(error)),
    };
    let kept = |file: String, words: &[&str]| keep(&folder.path().join("cluster").join(file), ask(words));
    kept("nodes.txt".to_owned(), &["get", "nodes", "--output", "wide"]);
    namespaces.par_iter().for_each(|namespace| {
        let of = ["--namespace", namespace];
        let asked: [(&str, &[&str]); 3] = [
            ("objects", &["get", "all,pvc,configmaps,serviceaccounts", "--output", "wide"]),
            ("events", &["get", "events", "--sort-by", ".lastTimestamp"]),
            ("pods", &["describe", "pods"]),
        ];
        for (name, words) in asked {
            kept(format!("{namespace}.{name}.txt"), &[&of[..], words].concat());
        }
        let pods = ask(&[&of[..], &["get", "pods", "--output", "json"]].concat()).unwrap_or_default();
        for (_, pod, container) in containers(&pods) {
            let path = folder.pods().join(namespace).join(&pod);
            let words = [&of[..], &["logs", &pod, "--container", &container, "--timestamps"]].concat();
            keep(&path.join(format!("{container}.log")), ask(&words));
            let before = ask(&[&words[..], &["--previous"]].concat());
            if before.is_ok() {
                keep(&path.join(format!("{container}.previous.log")), before);
            }
        }
    });
}
