//! Where the Rust of a run is compiled: on the host only where its binaries run in the images.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e_support::Job;
use e2e_support::engine::Engine;
use xshell::{Shell, cmd};

use crate::dockerfile::bases;
use crate::plan::BuildMode;
use crate::suite::Suite;

/// `--build`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// On the host where its binaries run in the images, else in containers
    #[default]
    Auto,
    /// On this machine; images only copy the binaries
    Host,
    /// In the Dockerfiles' own build stages
    Container,
}

impl Choice {
    /// What to set the machine up for before the images can be looked at.
    pub fn first(self) -> BuildMode {
        match self {
            Choice::Container => BuildMode::Container,
            Choice::Host => BuildMode::Host,
            Choice::Auto if cfg!(target_os = "linux") => BuildMode::Host,
            Choice::Auto => BuildMode::Container,
        }
    }

    /// The mode that works with the images that are there.
    ///
    /// # Errors
    /// When `host` was asked for and its binaries do not run in an image; with the reason.
    pub fn decide(self, root: &Utf8Path, suite: &Suite, engine: &Engine, cache: &Utf8Path) -> Result<BuildMode> {
        if self.first() == BuildMode::Container {
            return Ok(BuildMode::Container);
        }
        for image in suite.images.iter().filter(|image| image.package.is_some()) {
            for base in bases(root, image, BuildMode::Host)? {
                if let Err(why) = runs_in(engine, &base, cache)? {
                    if self == Choice::Host {
                        bail!("binaries of this machine do not run in {base}: {why}; use --build container");
                    }
                    return Ok(BuildMode::Container);
                }
            }
        }
        Ok(BuildMode::Host)
    }
}

/// Whether a binary that is compiled here would run in the image `base`; if not, why. The answer is
/// kept, for asking starts a container.
fn runs_in(engine: &Engine, base: &str, cache: &Utf8Path) -> Result<Result<(), String>> {
    let here = match glibc_here() {
        Ok(version) => version,
        Err(error) => return Ok(Err(format!("the C library of this machine is not known ({error:#})"))),
    };
    let image = engine.image(base)?.with_context(|| format!("the image {base} is not there"))?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if image["Architecture"] != arch {
        return Ok(Err(format!("it is for {}, and this machine is {arch}", image["Architecture"])));
    }
    let id = image["Id"].as_str().unwrap_or_default().trim_start_matches("sha256:");
    let answer = cache.join("runs-in").join(id);
    let there = match std::fs::read_to_string(&answer) {
        Ok(text) => text,
        Err(_) => {
            let sh = Shell::new()?;
            let words = ["run", "--rm", "--network", "none", "--entrypoint", "getconf", base, "GNU_LIBC_VERSION"];
            let out = Job::new(engine.cmd(&sh).args(words)).deadline(Duration::from_secs(60)).output()?;
            crate::steps::write(&answer, &out.stdout)?;
            out.stdout
        }
    };
    Ok(match version(&there) {
        Some(there) if there >= here => Ok(()),
        Some(there) => Err(format!("its glibc is {}.{}, and this machine's {}.{}", there.0, there.1, here.0, here.1)),
        None => Err("its C library is not glibc".into()),
    })
}

fn glibc_here() -> Result<(u32, u32)> {
    let sh = Shell::new()?;
    let text = Job::new(cmd!(sh, "getconf GNU_LIBC_VERSION")).deadline(Duration::from_secs(10)).read()?;
    version(&text).with_context(|| format!("getconf says {text:?}"))
}

/// `glibc 2.36` → (2, 36)
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("glibc 2.36\n"), Some((2, 36)));
        assert!(version("glibc 2.4") < version("glibc 2.36"));
        assert_eq!(version("musl"), None);
    }
}
