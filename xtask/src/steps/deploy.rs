//! Applying manifests.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use e2e_support::clock::Instant;
use serde_json::Value;

use super::refused::{self, Bringer, Served, group_version};
use super::render::render;
use crate::plan::{Object, ObjectRef};
use crate::target::session::Running;

/// Between two tries of an apply that a young cluster refused.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// A kind that the API server does not have, and that nobody brings, is asked for again for so long.
const UNKNOWN: Duration = Duration::from_secs(2);

impl Running<'_> {
    /// Applies the files of a group. What only a cluster that is still starting answers is tried
    /// again until the step's time is over; what cannot be changed is made anew.
    pub(super) fn apply(&self, group: &str) -> Result<()> {
        let session = self.session;
        let group = session.suite.group(group).with_context(|| format!("the suite has no manifests {group}"))?;
        let names: Vec<&str> = group.sources().map(|file| file.as_str()).collect();
        let doing = || format!("applying {}", names.join(", "));
        let mut yaml = String::new();
        for file in group.sources() {
            // References stay the same from run to run.
            let id = |reference: &str| {
                let Some(image) = session.suite.images.iter().find(|image| image.reference == reference) else {
                    return Ok(None);
                };
                let id = session.engine()?.image_id(&session.image_reference(image))?;
                id.with_context(|| format!("{reference} was not built")).map(Some)
            };
            yaml.push_str("---\n");
            let placed = |reference: &str| session.target.pod_image(reference);
            yaml.push_str(&render(&session.manifests, file, session.instance.id(), id, placed).with_context(doing)?);
            yaml.push('\n');
        }
        if yaml.split("---").all(|document| document.trim().is_empty()) {
            // The target itself has applied all of it.
            return Ok(());
        }
        let objects: Vec<&Object> = session.manifests.of(group.sources()).collect();
        let kubectl = session.kubectl();
        let mut replaced = BTreeSet::new();
        let mut unknown_since = None;
        let mut before = None;
        self.context.asks_for("an apply that a young cluster refused", PAUSE);
        loop {
            let error = match kubectl.apply(&yaml, self.left(), self.log, self.cancel) {
                Ok(()) => return Ok(()),
                Err(error) => self.telling(error, before.take()),
            };
            let text = format!("{error:#}");
            if self.left().is_zero() || self.cancel.is_cancelled() {
                return Err(error).with_context(doing);
            }
            if self.replace_unchangeable(&objects, &text, &mut replaced).with_context(doing)? {
                continue;
            }
            let unknown = refused::unknown_kinds(&text);
            if let Some(why) = unknown.iter().find_map(|(kind, version)| self.unknown(&objects, kind, version)) {
                if unknown_since.get_or_insert_with(Instant::now).elapsed() >= UNKNOWN {
                    return Err(anyhow!(why));
                }
            } else if unknown.is_empty() && !refused::is_of_a_young_cluster(&text) {
                return Err(error).with_context(doing);
            }
            if self.cancel.sleep(PAUSE) {
                return Err(error).with_context(doing);
            }
            self.target_must_run()?;
            self.progress("the API server is not ready for it yet");
            before = Some(error);
        }
    }

    /// Why the kind `kind`, which kubectl did not find, will not come; `None` where it may.
    fn unknown(&self, objects: &[&Object], kind: &str, api_version: &str) -> Option<String> {
        let manifests = &self.session.manifests;
        let bringer = refused::bringer(manifests, kind, api_version);
        if bringer == Bringer::Manifests {
            return None;
        }
        let of_it = |object: &&&Object| object.reference.kind == kind && object.api_version == api_version;
        let object = objects.iter().find(of_it)?;
        // An API server that does not answer is a young one.
        refused::hopeless(manifests, object, &self.served(api_version)?, &bringer)
    }

    /// What the API server has of an apiVersion; `None` where it does not say.
    fn served(&self, api_version: &str) -> Option<Served> {
        let kubectl = self.session.kubectl();
        let ask = |path: &str| kubectl.read(&["get", "--raw", path]);
        let list = |answer: &str, list: &str, key: &str| -> Option<Vec<String>> {
            let answer: Value = serde_json::from_str(answer).ok()?;
            let texts = answer[list].as_array()?.iter().filter_map(|entry| entry[key].as_str());
            Some(texts.map(str::to_owned).collect())
        };
        let path = match group_version(api_version) {
            ("", version) => format!("/api/{version}"),
            _ => format!("/apis/{api_version}"),
        };
        match ask(&path) {
            Ok(answer) => list(&answer, "resources", "kind").map(Served::Kinds),
            Err(error) if format!("{error:#}").contains("NotFound") => {
                let answer: Value = serde_json::from_str(&ask("/apis").ok()?).ok()?;
                let versions = answer["groups"].as_array()?.iter().filter_map(|group| group["versions"].as_array());
                let names = versions.flatten().filter_map(|version| version["groupVersion"].as_str());
                Some(Served::Versions(names.chain(["v1"]).map(str::to_owned).collect()))
            }
            Err(_) => None,
        }
    }

    /// Makes those of `objects` anew that by `error` cannot be changed; false where there are none, or none that were
    /// not made anew before.
    fn replace_unchangeable(
        &self,
        objects: &[&Object],
        error: &str,
        replaced: &mut BTreeSet<ObjectRef>,
    ) -> Result<bool> {
        let mut wanted = Vec::new();
        for refusal in refused::unchangeable(error) {
            // kubectl names no namespace.
            let of_it = |object: &&&Object| {
                object.reference.kind == refusal.kind
                    && object.reference.name == refusal.name
                    && !replaced.contains(&object.reference)
            };
            wanted.extend(objects.iter().filter(of_it).map(|object| (*object, refusal.clone())));
        }
        if wanted.is_empty() {
            return Ok(false);
        }
        self.replace(&wanted)?;
        replaced.extend(wanted.iter().map(|(object, _)| object.reference.clone()));
        Ok(true)
    }
}
