//! Finding an engine that works.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use xshell::Shell;

use super::client::Engine;
use super::flavor::{Flavor, NoEngine};
use crate::cancel::Cancel;
use crate::rootless;

impl Engine {
    /// Finds an engine that works: `choice`, or podman before docker. `env` is set for every call of
    /// it (kind gets it too, by [`Engine::env`]).
    ///
    /// # Errors
    /// A [`NoEngine`] with what was tried and what each said, when none works.
    pub fn find(choice: Option<Flavor>, env: &[(String, String)], cancel: &Cancel) -> Result<Engine> {
        let flavors = match choice {
            Some(one) => vec![one],
            None => Flavor::ALL.to_vec(),
        };
        let mut tried = Vec::new();
        for flavor in flavors {
            let Ok(program) = which::which(flavor.program()) else {
                tried.push((flavor, None));
                continue;
            };
            let program = Utf8PathBuf::try_from(program).context("the path of a container engine is not UTF-8")?;
            match Engine::ask_for(flavor, &program, env, cancel) {
                Ok(engine) => return Ok(engine),
                Err(error) => tried.push((flavor, Some(error))),
            }
        }
        Err(NoEngine { tried }.into())
    }

    /// The engine whose program is at `program`, if it works.
    ///
    /// # Errors
    /// When it does not answer, or is too old.
    pub fn at(flavor: Flavor, program: &Utf8Path, env: &[(String, String)]) -> Result<Engine> {
        Engine::ask_for(flavor, program, env, &Cancel::new())
    }

    fn ask_for(flavor: Flavor, program: &Utf8Path, env: &[(String, String)], cancel: &Cancel) -> Result<Engine> {
        let mut engine = Engine {
            flavor,
            program: program.to_owned(),
            version: String::new(),
            env: env.to_vec(),
            journal: None,
            known: Arc::default(),
        };
        engine.version = engine.ask_version(cancel).with_context(|| {
            let start = match flavor {
                Flavor::Podman => "it is installed but does not answer (on a Mac: `podman machine start`)",
                Flavor::Docker => {
                    "it is installed but its daemon does not answer (start Docker, or `systemctl start docker`)"
                }
            };
            match flavor.redirected_by().as_slice() {
                [] => start.to_owned(),
                [one] => format!("{start}; {one} is set: unset it, or see to it that what it names is there"),
                more => {
                    let names = more.join(" and ");
                    format!("{start}; {names} are set: unset them, or see to it that what they name is there")
                }
            }
        })?;
        let oldest = flavor.oldest();
        ensure!(
            major_minor(&engine.version).is_some_and(|version| version >= oldest),
            "its version is {:?}, but {}.{} or newer is needed",
            engine.version,
            oldest.0,
            oldest.1
        );
        if flavor == Flavor::Podman && !engine.is_remote() && !rustix::process::geteuid().is_root() {
            rootless::check(&engine, cancel)?;
        }
        Ok(engine)
    }

    /// Whether images can be built with it as they are built here.
    ///
    /// # Errors
    /// Where docker has no buildx: its own builder knows neither build contexts nor mounts. With what it said, and what to
    /// do.
    pub fn can_build(&self, cancel: &Cancel) -> Result<()> {
        if self.flavor == Flavor::Podman {
            return Ok(());
        }
        let sh = Shell::new()?;
        self.ask(&sh, &["buildx", "version"]).cancel(cancel).read().map(drop).context(
            "docker has no buildx, which images are built with here; install it (Debian and Ubuntu: `apt-get install \
             docker-buildx`; where docker came from its own site: `docker-buildx-plugin`)",
        )
    }

    /// The version of what answers: the client alone answers also when the daemon is down.
    fn ask_version(&self, cancel: &Cancel) -> Result<String> {
        let sh = Shell::new()?;
        match self.flavor {
            // `podman info` takes eight times as long: it asks the package manager about its helpers.
            Flavor::Podman => {
                self.ask(&sh, &["ps", "--quiet"]).cancel(cancel).read()?;
                let words = self.ask(&sh, &["--version"]).cancel(cancel).read()?;
                Ok(words.rsplit(' ').next().unwrap_or_default().to_owned())
            }
            Flavor::Docker => self.ask(&sh, &["info", "--format", "{{.ServerVersion}}"]).cancel(cancel).read(),
        }
    }
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
