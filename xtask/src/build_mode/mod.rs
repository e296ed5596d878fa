//! Where the Rust of a run is compiled: on the host where its binaries run in the images, by themselves or because zig
//! links them for the images' C library; else in containers.

mod library;
mod platform;
pub mod zig;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e_support::engine::Engine;

use self::library::{Library, library_of};
use self::platform::Here;
use crate::dockerfile::bases;
use crate::plan::BuildMode;
use crate::suite::Suite;

pub use self::library::Glibc;
pub use self::platform::Platform;
pub use self::zig::Zig;

/// `--build`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// On the host, with zig where its binaries would not run in the images; else in containers
    #[default]
    Auto,
    /// On this machine with its own linker; images only copy the binaries
    Host,
    /// On this machine with zig, for the C library of the images
    Zig,
    /// In the Dockerfiles' own build stages
    Container,
}

/// How a run's Rust is compiled.
#[derive(Clone, Debug)]
pub struct Building {
    /// Which steps there are.
    pub mode: BuildMode,
    /// On the host, for the images and not for this machine; none where that is the same.
    pub zig: Option<Zig>,
}

impl Building {
    /// In a word.
    pub fn name(&self) -> &'static str {
        match self.zig {
            Some(_) => "zig",
            None => self.mode.name(),
        }
    }
}

/// What was found out about this machine and the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// What this machine's own linker makes runs in all images.
    Native,
    /// It does not, or zig was asked for: this runs in all of them.
    Zig(Platform),
    /// Nothing that is compiled here runs there, for this reason.
    Container(String),
}

/// An image that binaries are copied into.
#[derive(Clone, Debug)]
struct Base {
    reference: String,
    /// As the engine calls it: `amd64` or `arm64`.
    arch: String,
    library: Library,
}

impl Base {
    /// What runs in it; if nothing that can be made on another machine, why.
    fn target(&self) -> Result<Platform, String> {
        let arch = ["amd64", "arm64"].into_iter().find(|arch| *arch == self.arch);
        let arch = arch.ok_or_else(|| format!("it is for {}, for which nothing is built here", self.arch))?;
        match &self.library {
            Library::Glibc(glibc) => Ok(Platform { arch, glibc: *glibc }),
            Library::Other(said) => Err(format!("its C library is not glibc ({said})")),
            Library::Unknown => Err("its C library is not known: there is no getconf in it".into()),
        }
    }
}

impl Choice {
    /// What to set the machine up for before the images can be looked at.
    pub fn first(self) -> BuildMode {
        match self {
            Choice::Container => BuildMode::Container,
            Choice::Auto | Choice::Host | Choice::Zig => BuildMode::Host,
        }
    }

    /// What works with the images, which are there.
    ///
    /// # Errors
    /// When a build on the host was asked for and its binaries do not run in an image; with the reason. When an image
    /// cannot be asked.
    pub fn decide(self, root: &Utf8Path, suite: &Suite, engine: &Engine, cache: &Utf8Path) -> Result<Decided> {
        let mut all: Vec<Base> = Vec::new();
        for image in suite.images.iter().filter(|image| image.is_compiled()) {
            for base in bases(root, image, BuildMode::Host)? {
                if !all.iter().any(|known| known.reference == base) {
                    all.push(look_at(engine, &base, cache)?);
                }
            }
        }
        self.judge(&Here::look(), &all)
    }

    fn judge(self, here: &Here, bases: &[Base]) -> Result<Decided> {
        let mut oldest: Option<Platform> = None;
        let mut misfit = None;
        for base in bases {
            let reference = &base.reference;
            let target = match base.target() {
                Ok(target) => target,
                Err(why) if self == Choice::Auto => return Ok(Decided::Container(format!("{reference}: {why}"))),
                Err(why) => {
                    bail!("binaries of this machine do not run in {reference}: {why}; use --build container")
                }
            };
            if let Err(why) = here.fits(&target) {
                if self == Choice::Host {
                    bail!("binaries of this machine do not run in {reference}: {why}; use --build zig");
                }
                misfit.get_or_insert(why);
            }
            if let Some(other) = oldest.as_ref().filter(|other| other.arch != target.arch) {
                let why = format!("{reference} is for {}, and another image for {}", target.arch, other.arch);
                match self {
                    Choice::Auto => return Ok(Decided::Container(why)),
                    _ => bail!("one build does not run in all images: {why}; use --build container"),
                }
            }
            if oldest.as_ref().is_none_or(|oldest| target.glibc < oldest.glibc) {
                oldest = Some(target);
            }
        }
        Ok(match oldest {
            Some(target) if self == Choice::Zig || misfit.is_some() => Decided::Zig(target),
            _ => Decided::Native,
        })
    }
}

/// What of the image `base` binaries depend on. The answer is kept, for asking starts a container.
fn look_at(engine: &Engine, base: &str, cache: &Utf8Path) -> Result<Base> {
    let image = engine.image(base)?.with_context(|| format!("the image {base} is not there"))?;
    let id = image["Id"].as_str().unwrap_or_default().trim_start_matches("sha256:");
    let library = library_of(engine, base, &cache.join("runs-in").join(id))?;
    let arch = image["Architecture"].as_str().unwrap_or_default().to_owned();
    Ok(Base { reference: base.to_owned(), arch, library })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN_12: Here = Here { os: "linux", arch: "amd64", glibc: Some(Glibc(2, 36)) };
    const DEBIAN_13: Here = Here { glibc: Some(Glibc(2, 41)), ..DEBIAN_12 };
    const ALPINE: Here = Here { glibc: None, ..DEBIAN_12 };
    const MAC: Here = Here { os: "macos", arch: "arm64", glibc: None };

    fn base(arch: &str, library: Library) -> Base {
        Base { reference: "base:1".into(), arch: arch.into(), library }
    }

    fn glibc(arch: &str, minor: u32) -> Base {
        base(arch, Library::Glibc(Glibc(2, minor)))
    }

    fn zig(arch: &'static str, minor: u32) -> Decided {
        Decided::Zig(Platform { arch, glibc: Glibc(2, minor) })
    }

    #[test]
    fn the_host_compiles_for_every_image_that_has_glibc() {
        for (here, bases, decided) in [
            (DEBIAN_12, vec![glibc("amd64", 36)], Decided::Native),
            (DEBIAN_12, vec![glibc("amd64", 41)], Decided::Native),
            (DEBIAN_13, vec![], Decided::Native),
            (DEBIAN_13, vec![glibc("amd64", 36)], zig("amd64", 36)),
            (DEBIAN_13, vec![glibc("amd64", 41), glibc("amd64", 36)], zig("amd64", 36)),
            (DEBIAN_13, vec![glibc("amd64", 31), glibc("amd64", 36)], zig("amd64", 31)),
            (ALPINE, vec![glibc("amd64", 36)], zig("amd64", 36)),
            // The engine's architecture decides, not the host's.
            (MAC, vec![glibc("arm64", 36)], zig("arm64", 36)),
            (MAC, vec![glibc("amd64", 36)], zig("amd64", 36)),
            (DEBIAN_12, vec![glibc("arm64", 36)], zig("arm64", 36)),
        ] {
            assert_eq!(Choice::Auto.judge(&here, &bases).unwrap(), decided, "{here:?} {bases:?}");
        }
        assert_eq!(Choice::Zig.judge(&DEBIAN_12, &[glibc("amd64", 36)]).unwrap(), zig("amd64", 36));
    }

    #[test]
    fn what_no_build_on_the_host_runs_in_is_built_in_containers_and_told() {
        let musl = base("amd64", Library::Other("unknown variable".into()));
        for (bases, word) in [
            (vec![musl], "not glibc"),
            (vec![base("amd64", Library::Unknown)], "no getconf"),
            (vec![glibc("riscv64", 36)], "for riscv64"),
            (vec![glibc("arm64", 36), glibc("amd64", 36)], "is for amd64, and another image for arm64"),
        ] {
            let Decided::Container(why) = Choice::Auto.judge(&DEBIAN_13, &bases).unwrap() else { panic!("{bases:?}") };
            assert!(why.contains(word), "{why}");
            let error = Choice::Zig.judge(&DEBIAN_13, &bases).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("--build container"), "{error}");
        }
        let error = Choice::Host.judge(&DEBIAN_13, &[glibc("amd64", 36)]).unwrap_err().to_string();
        assert!(error.contains("its glibc is 2.36, and this machine's 2.41; use --build zig"), "{error}");
    }

    #[test]
    fn a_build_with_zig_has_the_specs_in_it_only_where_it_runs_here() {
        let target = Platform { arch: "amd64", glibc: Glibc(2, 36) };
        for (here, runs) in [(DEBIAN_12, true), (DEBIAN_13, true), (ALPINE, false), (MAC, false)] {
            assert_eq!(here.runs(&target), runs, "{here:?}");
        }
        assert!(!DEBIAN_12.runs(&Platform { glibc: Glibc(2, 41), ..target }));
        assert!(!DEBIAN_12.runs(&Platform { arch: "arm64", ..target }));
    }
}
