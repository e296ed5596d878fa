//! Which container engines there are, and what is said where none works.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// The container engines that kind can use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Podman,
    Docker,
}

impl Flavor {
    /// All of them, the one that is preferred first.
    pub const ALL: [Flavor; 2] = [Flavor::Podman, Flavor::Docker];

    /// The program's name, which is also kind's name for its provider.
    pub fn program(self) -> &'static str {
        match self {
            Flavor::Podman => "podman",
            Flavor::Docker => "docker",
        }
    }

    /// Those variables of this process's environment that make the engine's client go elsewhere than it usually does.
    pub fn redirected_by(self) -> Vec<&'static str> {
        let names: &[&str] = match self {
            Flavor::Podman => &[
                "CONTAINER_HOST",
                "CONTAINER_CONNECTION",
                "CONTAINERS_CONF",
                "CONTAINERS_CONF_OVERRIDE",
                "CONTAINERS_STORAGE_CONF",
            ],
            Flavor::Docker => {
                &["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"]
            }
        };
        names.iter().copied().filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())).collect()
    }

    /// The oldest version whose builds and listings work as used here.
    pub(super) fn oldest(self) -> (u32, u32) {
        match self {
            Flavor::Podman => (4, 3),
            Flavor::Docker => (23, 0),
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl FromStr for Flavor {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Flavor> {
        match text {
            "podman" => Ok(Flavor::Podman),
            "docker" => Ok(Flavor::Docker),
            _ => bail!("unknown container engine {text:?}: it is podman or docker"),
        }
    }
}

/// Why no container engine works here.
#[derive(Debug)]
pub struct NoEngine {
    /// Each that was tried, and what it said; nothing where its program is not on PATH.
    pub(super) tried: Vec<(Flavor, Option<anyhow::Error>)>,
}

impl NoEngine {
    /// Whether the program of that engine is on PATH.
    pub fn is_installed(&self, flavor: Flavor) -> bool {
        self.tried.iter().any(|(tried, said)| *tried == flavor && said.is_some())
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no container engine works here")?;
        for (flavor, said) in &self.tried {
            match said {
                Some(error) => write!(f, "\n  {flavor}: {error:#}")?,
                None => write!(f, "\n  {flavor}: not on PATH")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for NoEngine {}
