//! Where the Rust of a run is compiled: on the host only where its binaries run in the images.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e_support::engine::Engine;
use e2e_support::{Ended, Job};
use xshell::{Shell, cmd};

use crate::dockerfile::bases;
use crate::plan::BuildMode;
use crate::suite::Suite;

/// How long a container may take that only prints a line.
const PROBE: Duration = Duration::from_secs(60);

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
    let there = library_of(engine, base, &cache.join("runs-in").join(id))?;
    Ok(match there {
        Library::Glibc(there) if there >= here => Ok(()),
        Library::Glibc(there) => {
            Err(format!("its glibc is {}.{}, and this machine's {}.{}", there.0, there.1, here.0, here.1))
        }
        Library::Other(said) => Err(format!("its C library is not glibc ({said})")),
        Library::Unknown => Err("its C library is not known: there is no getconf in it".into()),
    })
}

/// The C library of an image.
#[derive(Debug, PartialEq, Eq)]
enum Library {
    Glibc((u32, u32)),
    /// Another one, with what `getconf` said instead of a version.
    Other(String),
    /// There is nothing in it that could tell.
    Unknown,
}

impl Library {
    /// How the remembered answer of another library begins.
    const OTHER: &str = "not glibc: ";

    /// What was remembered; none where that is no answer.
    fn remembered(text: &str) -> Option<Self> {
        let other = || text.strip_prefix(Self::OTHER).map(|said| Self::Other(said.trim_end().to_owned()));
        version(text).map(Self::Glibc).or_else(other)
    }
}

/// The C library of the image `base`. What the image itself says is remembered in `answer`; that it could not be asked
/// never is.
fn library_of(engine: &Engine, base: &str, answer: &Utf8Path) -> Result<Library> {
    if let Some(library) = std::fs::read_to_string(answer).ok().and_then(|text| Library::remembered(&text)) {
        return Ok(library);
    }
    let doing = || format!("asking the image {base} for its C library");
    let sh = Shell::new()?;
    let words = ["run", "--rm", "--network", "none", "--entrypoint", "getconf", base, "GNU_LIBC_VERSION"];
    let out = Job::new(engine.cmd(&sh).args(words)).deadline(PROBE).output().with_context(doing)?;
    let said = out.tail.trim().lines().last().unwrap_or_default();
    let library = match out.ended {
        Ended::Exited(0) => match version(&out.stdout) {
            Some(version) => Library::Glibc(version),
            None => Library::Other(out.stdout.trim().to_owned()),
        },
        // Of `run`, 125 is the engine's own failure, 126 and 127 tell that the program could not be started.
        Ended::Exited(126 | 127) => return Ok(Library::Unknown),
        Ended::Exited(1..=124) => Library::Other(said.to_owned()),
        ended => bail!("{}: {} did not run it: {ended}: {}", doing(), engine.flavor(), out.tail.trim()),
    };
    let text = match &library {
        Library::Other(said) => format!("{}{said}\n", Library::OTHER),
        _ => out.stdout,
    };
    let new = answer.with_extension(format!("new-{}", std::process::id()));
    crate::steps::write(&new, text)?;
    std::fs::rename(&new, answer).with_context(|| format!("writing {answer}"))?;
    Ok(library)
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
    use e2e_support::engine::Flavor;
    use testbed::fakes::{Fake, Play};

    use super::*;

    #[test]
    fn only_what_the_image_itself_says_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::new(dir.path()).unwrap();
        let engine = Engine::at(Flavor::Podman, &fake.program("podman"), &[]).unwrap();
        let answer = fake.dir().join("runs-in/0123");
        let ask = || library_of(&engine, "base:1", &answer);
        // As older versions have remembered a failure.
        crate::steps::write(&answer, "").unwrap();
        let failures = [
            (Play::fails(125, "Error: no space left on device"), "no space left on device"),
            (Play::dies(), "signal 9"),
            (Play::fails(137, "killed"), "exit code 137"),
        ];
        for (play, words) in failures {
            fake.on("podman", "run *getconf base:1*", play).unwrap();
            let error = format!("{:#}", ask().unwrap_err());
            assert!(error.contains("asking the image base:1 for its C library") && error.contains(words), "{error}");
        }
        for (play, expected, is_remembered) in [
            (Play::fails(127, "getconf: not found"), Library::Unknown, false),
            (Play::fails(1, "getconf: GNU_LIBC_VERSION: unknown variable"), other("unknown variable"), true),
            (Play::says("musl"), Library::Other("musl".to_owned()), true),
            (Play::says("glibc 2.36"), Library::Glibc((2, 36)), true),
        ] {
            let _ = std::fs::remove_file(&answer);
            fake.on("podman", "run *getconf base:1*", play.times(1)).unwrap();
            assert_eq!(ask().unwrap(), expected);
            fake.on("podman", "run *getconf base:1*", Play::fails(125, "broken")).unwrap();
            assert_eq!(ask().ok(), is_remembered.then_some(expected));
        }
        let left: Vec<_> = answer.parent().unwrap().read_dir_utf8().unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside the answer: {left:?}");
    }

    fn other(said: &str) -> Library {
        Library::Other(format!("getconf: GNU_LIBC_VERSION: {said}"))
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("glibc 2.36\n"), Some((2, 36)));
        assert!(version("glibc 2.4") < version("glibc 2.36"));
        assert_eq!(version("musl"), None);
    }
}
