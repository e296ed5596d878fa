//! Building images, and what is left of builds that were killed.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::Shell;

use super::client::Engine;
use super::flavor::Flavor;
use crate::builds;
use crate::cancel::Cancel;
use crate::meter::Meter;
use crate::process::{Ended, Job, ProcessError};

/// An image build; all paths are relative to the folder it runs in, or absolute.
#[derive(Clone, Debug, Default)]
pub struct Build {
    pub dockerfile: Utf8PathBuf,
    pub context: Utf8PathBuf,
    pub reference: String,
    /// `--build-arg`s.
    pub args: Vec<(String, String)>,
    /// `--build-arg`s whose values the engine takes from its environment, so that they are on no command line.
    pub inherited_args: Vec<String>,
    /// Folders that replace the stage of that name.
    pub contexts: Vec<(String, Utf8PathBuf)>,
    /// Files that `RUN --mount=type=secret,id=…` sees, and no image keeps.
    pub secrets: Vec<(String, Utf8PathBuf)>,
    pub labels: Vec<(String, String)>,
    /// The stage to stop at; none for the last.
    pub target: Option<String>,
    pub deadline: Option<Duration>,
}

impl Engine {
    /// From now on image builds are written down in the folder `journal`, and what builds left that
    /// were killed before is removed.
    ///
    /// # Errors
    /// When the journal cannot be read, or the engine fails.
    pub fn with_journal(mut self, journal: &Utf8Path) -> Result<Engine> {
        self.journal = (self.flavor == Flavor::Podman).then(|| journal.to_owned());
        self.clean_builds().context("removing what a killed image build left")?;
        Ok(self)
    }

    /// Removes what image builds left that were killed.
    fn clean_builds(&self) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), |journal| builds::clean(self, journal).map(drop))
    }

    /// Builds an image, in the folder `dir`.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn build(&self, dir: &Utf8Path, build: &Build, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        sh.change_dir(dir);
        let mut cmd = match self.flavor {
            Flavor::Podman => self.cmd(&sh).args(["build", "--layers", "--format", "oci"]),
            // `docker build` is buildx, whose result stays in the builder without --load where the
            // builder is not the daemon's own.
            Flavor::Docker => self.cmd(&sh).args(["build", "--load", "--progress", "plain"]),
        };
        cmd = cmd.args(["--network", "host", "--file", build.dockerfile.as_str(), "--tag", &build.reference]);
        for (key, value) in &build.args {
            cmd = cmd.arg("--build-arg").arg(format!("{key}={value}"));
        }
        for name in &build.inherited_args {
            cmd = cmd.arg("--build-arg").arg(name);
        }
        for (stage, folder) in &build.contexts {
            cmd = cmd.arg("--build-context").arg(format!("{stage}={folder}"));
        }
        for (id, file) in &build.secrets {
            cmd = cmd.arg("--secret").arg(format!("id={id},src={file}"));
        }
        for (key, value) in &build.labels {
            cmd = cmd.arg("--label").arg(format!("{key}={value}"));
        }
        if let Some(target) = &build.target {
            cmd = cmd.args(["--target", target]);
        }
        let job = Job::new(cmd.arg(&build.context)).log(log).cancel(cancel);
        self.building(|| job.deadline(build.deadline.unwrap_or(crate::process::DEFAULT_DEADLINE)).run())
    }

    /// Does something that builds images; what it leaves when it is stopped is removed, at once or, if
    /// this process is killed, by the next [`Engine::with_journal`].
    ///
    /// # Errors
    /// Those of `work`, or when the journal cannot be written.
    pub fn building(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.forget_images();
        let Some(journal) = &self.journal else { return work() };
        let entry = builds::begin(journal)?;
        let result = work();
        self.forget_images();
        let how = result.as_ref().err().and_then(|error| error.downcast_ref::<ProcessError>());
        match how.map(|error| &error.ended) {
            None | Some(Ended::Exited(_)) => entry.end()?,
            Some(_) => {
                entry.stopped()?;
                // Also, and above all, where the time of whoever builds is over.
                Meter::here().unlimited().run(|| self.clean_builds())?;
            }
        }
        result
    }
}
