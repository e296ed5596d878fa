//! The engine's images.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use serde_json::Value;
use xshell::Shell;

use super::client::{ANSWER, Engine, string_map};
use super::flavor::Flavor;
use crate::cancel::Cancel;
use crate::process::Job;

impl Engine {
    /// Asks for several images in one call and remembers them until [`Engine::forget_images`]. Where
    /// one is missing none is remembered: the engine does not say which it was.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn look_up(&self, references: &[&str]) -> Result<()> {
        let sh = Shell::new()?;
        let words: Vec<&str> = ["image", "inspect"].iter().chain(references).copied().collect();
        let out = self.ask(&sh, &words).output()?;
        let images: Vec<Value> = serde_json::from_str(&out.stdout).unwrap_or_default();
        if out.success() && images.len() == references.len() {
            self.known().extend(references.iter().map(|&reference| reference.to_owned()).zip(images));
        }
        Ok(())
    }

    /// Images may have changed: the next question about one is asked of the engine again.
    pub fn forget_images(&self) {
        self.known().clear();
    }

    /// `inspect`s an image; `None` where the engine does not have it.
    ///
    /// # Errors
    /// When the engine does not answer, or not in JSON.
    pub fn image(&self, reference: &str) -> Result<Option<Value>> {
        if let Some(known) = self.known().get(reference) {
            return Ok(Some(known.clone()));
        }
        let sh = Shell::new()?;
        let out = self.ask(&sh, &["image", "inspect", reference]).output()?;
        if !out.success() {
            let said = out.tail.to_lowercase();
            ensure!(
                said.contains("no such image") || said.contains("not known") || said.contains("not found"),
                "asking {} for the image {reference}: {}",
                self.flavor,
                out.tail
            );
            return Ok(None);
        }
        let mut images: Vec<Value> = serde_json::from_str(&out.stdout)
            .with_context(|| format!("reading what {} says of the image {reference}", self.flavor))?;
        Ok(images.pop())
    }

    /// The id of an image (`sha256:…`), or `None` where the engine does not have it.
    ///
    /// # Errors
    /// As [`Engine::image`].
    pub fn image_id(&self, reference: &str) -> Result<Option<String>> {
        let Some(image) = self.image(reference)? else { return Ok(None) };
        let id = image["Id"].as_str().context("an image without an Id")?;
        Ok(Some(if id.starts_with("sha256:") { id.to_owned() } else { format!("sha256:{id}") }))
    }

    /// The labels of an image; empty where the engine does not have it.
    ///
    /// # Errors
    /// As [`Engine::image`].
    pub fn image_labels(&self, reference: &str) -> Result<Vec<(String, String)>> {
        let image = self.image(reference)?.unwrap_or_default();
        Ok(string_map(&image["Config"]["Labels"]))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn tag(&self, image: &str, reference: &str) -> Result<()> {
        self.forget_images();
        let sh = Shell::new()?;
        self.ask(&sh, &["tag", image, reference]).run()
    }

    /// Saves an image for [`crate::load`]: with podman as an OCI folder `to` with uncompressed layers,
    /// where blobs that are there from earlier are not written again; with docker as the archive
    /// `to`/image.tar, whole each time.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub(crate) fn save(&self, reference: &str, to: &Utf8Path, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let archive = to.join("image.tar");
        let cmd = self.cmd(&sh).arg("save");
        let cmd = match self.flavor {
            Flavor::Podman => cmd.args(["--quiet", "--format", "oci-dir", "--uncompressed", "--output", to.as_str()]),
            Flavor::Docker => cmd.args(["--output", archive.as_str()]),
        };
        Job::new(cmd.arg(reference)).log(log).cancel(cancel).run()
    }

    /// Saves an image as an archive, whole each time, in the engine's default format.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn save_archive(
        &self,
        reference: &str,
        to: &Utf8Path,
        deadline: Duration,
        log: &Utf8Path,
        cancel: &Cancel,
    ) -> Result<()> {
        let sh = Shell::new()?;
        let cmd = self.cmd(&sh).args(["save", "--output", to.as_str(), reference]);
        Job::new(cmd).deadline(deadline).log(log).cancel(cancel).run()
    }

    /// Pushes an image to a registry as `to`; only what the registry lacks is moved. `plain` says that the registry may speak
    /// plain HTTP; docker knows by itself that one of this machine may. Credentials are the engine's own. Returns the
    /// digest that the registry has it by.
    ///
    /// # Errors
    /// As [`Job::run`]; also where the engine tells no digest.
    pub fn push(
        &self,
        reference: &str,
        to: &str,
        plain: bool,
        deadline: Duration,
        log: &Utf8Path,
        cancel: &Cancel,
    ) -> Result<String> {
        let sh = Shell::new()?;
        let job = |cmd: xshell::Cmd<'_>| Job::new(cmd).deadline(deadline).log(log).cancel(cancel).run();
        let digest = match self.flavor {
            Flavor::Podman => {
                let folder = sh.create_temp_dir().context("making a folder for an image's digest")?;
                let file = folder.path().join("digest");
                let cmd = self.cmd(&sh).args(["push", "--quiet", "--digestfile"]).arg(&file);
                let cmd = if plain { cmd.arg("--tls-verify=false") } else { cmd };
                job(cmd.arg(reference).arg(format!("docker://{to}")))?;
                sh.read_file(&file).with_context(|| format!("reading the digest of {to}"))?.trim().to_owned()
            }
            Flavor::Docker => {
                Job::new(self.cmd(&sh).args(["tag", reference, to])).deadline(ANSWER).log(log).cancel(cancel).run()?;
                let begin = log.metadata().map_or(0, |log| log.len());
                let pushed = job(self.cmd(&sh).args(["push", to]));
                self.remove_images(&[to.to_owned()], ANSWER)?;
                pushed?;
                let said = sh.read_file(log).with_context(|| format!("reading {log}"))?;
                let said = said.get(usize::try_from(begin).unwrap_or(0)..).unwrap_or_default();
                digest_in(said).with_context(|| format!("docker pushed {to} and told no digest"))?
            }
        };
        ensure!(digest.starts_with("sha256:"), "pushing {to}: {} tells the digest {digest:?}", self.flavor);
        Ok(digest)
    }

    /// Removes images by name or id, with the untagged layers below them that nothing else uses. Those that are not
    /// there or are in use stay, and are no error.
    ///
    /// # Errors
    /// When the engine cannot be started or does not answer in time.
    pub fn remove_images(&self, images: &[String], deadline: Duration) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        self.forget_images();
        let sh = Shell::new()?;
        Job::new(self.cmd(&sh).arg("rmi").args(images)).deadline(deadline).output().map(drop)
    }

    /// The names of all images that carry this label, `key=value` or `key`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn named_images(&self, label: &str) -> Result<Vec<String>> {
        let sh = Shell::new()?;
        let list = self
            .cmd(&sh)
            .args(["images", &format!("--filter=label={label}")])
            .args(["--format", "{{.Repository}}:{{.Tag}}"]);
        let list = Job::new(list).deadline(Duration::from_secs(60)).read()?;
        Ok(list.lines().filter(|name| !name.contains("<none>")).map(str::to_owned).collect())
    }

    /// Removes the images that carry this label and have no name any more, with the layers below them that nothing else
    /// uses: what builds leave whose result was built anew. (One label: of several, podman 4.3 takes images with any.)
    ///
    /// # Errors
    /// When the engine does not answer, or does not remove them.
    pub fn remove_superseded(&self, label: &str, deadline: Duration) -> Result<()> {
        let sh = Shell::new()?;
        let prune = self.cmd(&sh).args(["image", "prune", "--force", &format!("--filter=label={label}")]);
        Job::new(prune).deadline(deadline).run()
    }

    /// The images that have no name, the layers of earlier builds among them, as the engine describes each.
    ///
    /// # Errors
    /// When the engine does not answer as expected.
    pub fn unnamed_images(&self) -> Result<Vec<Value>> {
        let sh = Shell::new()?;
        let words = ["images", "--all", "--quiet", "--no-trunc", "--filter", "dangling=true"];
        let ids = Job::new(self.cmd(&sh).args(words)).deadline(Duration::from_secs(60)).read()?;
        let ids: BTreeSet<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let inspect = self.cmd(&sh).args(["image", "inspect"]).args(&ids);
        let text = Job::new(inspect).deadline(Duration::from_secs(120)).read()?;
        serde_json::from_str(&text).context("reading the engine's list of images")
    }
}

/// The digest in what `docker push` says.
fn digest_in(said: &str) -> Option<String> {
    let line = said.lines().rev().find(|line| line.contains("digest: sha256:"))?;
    line.split_once("digest: ")?.1.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_tells_the_digest_at_the_end() {
        let said =
            "The push refers to repository [r/a]\n1f: Layer already exists\ntag: digest: sha256:12ab size: 528\n";
        assert_eq!(digest_in(said).as_deref(), Some("sha256:12ab"));
        assert_eq!(digest_in("unauthorized\n"), None);
    }
}
