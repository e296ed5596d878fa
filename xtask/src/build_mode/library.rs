//! C libraries: the one of this machine, and those of images.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e_support::engine::Engine;
use e2e_support::{Ended, Job};
use xshell::{Shell, cmd};

/// How long a container may take that only prints a line.
const PROBE: Duration = Duration::from_secs(60);

/// A version of glibc, such as 2.36: a program that was linked to it runs with it and with later ones.
/// <https://sourceware.org/glibc/wiki/Development/Versioning>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u32, pub u32);

impl std::fmt::Display for Glibc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The C library of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Library {
    Glibc(Glibc),
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
pub(super) fn library_of(engine: &Engine, base: &str, answer: &Utf8Path) -> Result<Library> {
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
    crate::disk::write(&new, text)?;
    std::fs::rename(&new, answer).with_context(|| format!("writing {answer}"))?;
    Ok(library)
}

/// The glibc of this machine.
///
/// # Errors
/// It has none, or does not tell.
pub(super) fn glibc_here() -> Result<Glibc> {
    let sh = Shell::new()?;
    let text = Job::new(cmd!(sh, "getconf GNU_LIBC_VERSION")).deadline(Duration::from_secs(10)).read()?;
    version(&text).with_context(|| format!("getconf says {text:?}"))
}

/// What `getconf GNU_LIBC_VERSION` prints: `glibc 2.36`.
fn version(text: &str) -> Option<Glibc> {
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some(Glibc(major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
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
        crate::disk::write(&answer, "").unwrap();
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
            (Play::says("glibc 2.36"), Library::Glibc(Glibc(2, 36)), true),
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
        assert_eq!(version("glibc 2.36\n"), Some(Glibc(2, 36)));
        assert!(version("glibc 2.4") < version("glibc 2.36"));
        assert_eq!(version("musl"), None);
    }
}
