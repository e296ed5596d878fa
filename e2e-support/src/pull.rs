//! Images from registries: asked for, pulled, and known by their digests.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use serde_json::Value;
use xshell::Shell;

use crate::cancel::Cancel;
use crate::engine::{Engine, Flavor};
use crate::process::Job;

impl Engine {
    /// Asks, by the engine, whether the registry of `reference` has that image, and pulls nothing. Where only a pull
    /// can tell, the answer is yes: docker's client goes to the registry itself, not by the daemon's mirrors and
    /// proxies.
    ///
    /// # Errors
    /// What the engine said, when its answer is no or there is none by `deadline`.
    pub fn offers(&self, reference: &str, deadline: Duration, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let ask = self.cmd(&sh).args(["manifest", "inspect", reference]);
        // podman tries again for minutes where a registry says that it is asked too often, and tells it nowhere else.
        let ask = if self.flavor() == Flavor::Podman { ask.args(["--log-level", "debug"]) } else { ask };
        let error = match Job::new(ask).deadline(deadline).cancel(cancel).read() {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let answered = match self.flavor() {
            // It wants a list of images by architecture, and names what it got in its place.
            Flavor::Podman => format!("{error:#}").contains("parsing manifest"),
            Flavor::Docker => self.daemon_goes_its_own_way(cancel),
        };
        if answered { Ok(()) } else { Err(error) }
    }

    /// Whether docker's daemon has mirrors or proxies.
    fn daemon_goes_its_own_way(&self, cancel: &Cancel) -> bool {
        let format = "{{len .RegistryConfig.Mirrors}}{{.HTTPProxy}}{{.HTTPSProxy}}";
        let Ok(sh) = Shell::new() else { return false };
        let said = self.ask(&sh, &["info", "--format", format]).cancel(cancel).read();
        said.is_ok_and(|said| said != "0")
    }

    /// Pulls an image from its registry, for `platform` (`linux/amd64`) whatever the environment says. With a digest,
    /// `reference` has no tag: podman refuses both at once.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn pull(
        &self,
        reference: &str,
        platform: &str,
        deadline: Duration,
        log: &Utf8Path,
        cancel: &Cancel,
    ) -> Result<()> {
        self.forget_images();
        let sh = Shell::new()?;
        let words = ["pull", "--quiet", "--platform", platform, reference];
        Job::new(self.cmd(&sh).args(words)).deadline(deadline).log(log).cancel(cancel).run()
    }
}

/// The digests (`sha256:…`, sorted) that an inspected `image` has in the repository of `reference`; for an image of
/// several architectures podman lists that of their list, too.
///
/// # Errors
/// When `reference` names no repository.
pub fn digests(image: &Value, reference: &str) -> Result<Vec<String>> {
    let wanted = short(repository(reference));
    anyhow::ensure!(!wanted.is_empty(), "{reference:?} names no image");
    let listed = image["RepoDigests"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut found: Vec<String> = listed
        .filter_map(|entry| entry.split_once('@'))
        .filter(|(name, _)| short(name) == wanted)
        .map(|(_, digest)| digest.to_owned())
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// `name@digest` for a `reference` with a tag.
///
/// # Errors
/// When the digest is none.
pub fn by_digest(reference: &str, digest: &str) -> Result<String> {
    let hex = digest.strip_prefix("sha256:").context("a digest begins with sha256:")?;
    anyhow::ensure!(
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{digest:?} is no digest: 64 hexadecimal digits follow sha256:"
    );
    Ok(format!("{}@{digest}", repository(reference)))
}

/// A reference without tag and digest. (A colon before the last slash is that of a port.)
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

/// docker leaves out what goes without saying.
fn short(repository: &str) -> &str {
    let name = repository.strip_prefix("docker.io/").unwrap_or(repository);
    name.strip_prefix("library/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_takes_the_tags_place() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let exact = by_digest("docker.io/kindest/node:v1.34.3", &digest).unwrap();
        assert_eq!(exact, format!("docker.io/kindest/node@{digest}"));
        let exact = by_digest("localhost:5000/node", &digest).unwrap();
        assert_eq!(exact, format!("localhost:5000/node@{digest}"));
        assert!(by_digest("node:1", "sha256:abc").is_err());
    }

    #[test]
    fn only_digests_of_that_repository_count() {
        let image = json!({"RepoDigests": [
            "docker.io/library/redis@sha256:b", "docker.io/library/redis@sha256:a", "docker.io/other/redis@sha256:c",
        ]});
        assert_eq!(digests(&image, "docker.io/library/redis:7").unwrap(), ["sha256:a", "sha256:b"]);
        let docker = json!({"RepoDigests": ["redis@sha256:a"]});
        assert_eq!(digests(&docker, "docker.io/library/redis:7").unwrap(), ["sha256:a"]);
        assert_eq!(digests(&json!({}), "docker.io/library/redis:7").unwrap(), [""; 0]);
    }
}
