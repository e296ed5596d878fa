//! What of a suite's Rust is compiled already: a build from nothing takes minutes, and earlier runs tell nothing of it.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::paths::Paths;
use crate::plan::{Expected, ExpectedFrom};
use crate::suite::{Image, Suite};

/// Seconds of one core that a package of the lock file takes, those included that this system never compiles: 267 of
/// 354 packages took 290 s of CPU time on the machine of docs/benchmarks.
const CPU_S_PER_PACKAGE: f64 = 0.8;

/// Where cargo puts what the profile `dev` makes.
const DEV: &str = "debug";
/// Where cargo notes what it has compiled.
const FINGERPRINTS: &str = ".fingerprint";

/// How long the step `compile` takes where not all of the suite's binaries have been made before; none where they have,
/// or where cargo keeps what it compiles in a way that is not known here.
pub fn expected(paths: &Paths, suite: &Suite) -> Option<Expected> {
    let made = made(&paths.target);
    // A package's binary mostly has its name.
    let of_images = suite.images.iter().flat_map(Image::packages);
    let of_specs = suite.specs.iter().filter_map(|specs| specs.binary.as_deref());
    let binaries: Vec<&str> = of_images.chain(of_specs).collect();
    let has_all = |folder: &Utf8PathBuf| binaries.iter().all(|binary| folder.join(binary).exists());
    if made.iter().any(has_all) {
        return None;
    }
    // With `build.build-dir` the binaries are here, and what they are made of is elsewhere.
    if !made.is_empty() && !made.iter().any(|folder| folder.join(FINGERPRINTS).exists()) {
        return None;
    }
    // Without a lock file cargo says what is wrong.
    let lock = std::fs::read_to_string(paths.root.join("Cargo.lock")).ok()?;
    let known = made.iter().flat_map(|folder| fingerprints(folder)).collect();
    let left = packages(&lock).difference(&known).count();
    if left == 0 {
        return None;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let packages = u32::try_from(left).unwrap_or(u32::MAX);
    Some(Expected {
        seconds: f64::from(packages) * CPU_S_PER_PACKAGE / cores as f64,
        source: ExpectedFrom::Packages(packages),
    })
}

/// The names in a lock file, which cargo writes with a line for each.
fn packages(lock: &str) -> BTreeSet<String> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(str::to_owned).collect()
}

/// The folders that cargo has built into without a profile's name: `debug` and, where a target is set, `<target>/debug`.
fn made(target: &Utf8Path) -> Vec<Utf8PathBuf> {
    let triples = target.read_dir_utf8().into_iter().flatten().flatten().map(|entry| entry.path().join(DEV));
    std::iter::once(target.join(DEV)).chain(triples).filter(|folder| folder.is_dir()).collect()
}

/// The names of what cargo has compiled into a folder: it keeps `<name>-<hash>` of each.
fn fingerprints(made: &Utf8Path) -> BTreeSet<String> {
    let entries = made.join(FINGERPRINTS).read_dir_utf8().into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().rsplit_once('-')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_compiled_yet_takes_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        let suite = Suite::load(&Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), "gateway").unwrap();
        let lock = "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"tokio-util\"\n\
                    dependencies = [\n \"serde\",\n]\n";
        std::fs::write(root.join("Cargo.lock"), lock).unwrap();
        let paths = Paths { target: root.join("target"), cache: root.join("cache"), root };
        let left = || expected(&paths, &suite).map(|expected| expected.source);
        assert_eq!(left(), Some(ExpectedFrom::Packages(2)));
        let debug = paths.target.join("debug");
        std::fs::create_dir_all(debug.join(".fingerprint/tokio-util-0a1b2c3d4e5f6071")).unwrap();
        assert_eq!(left(), Some(ExpectedFrom::Packages(1)));
        for binary in ["gateway", "datastorage", "specs"] {
            assert!(left().is_some(), "{binary} is not there yet");
            std::fs::write(debug.join(binary), "").unwrap();
        }
        assert_eq!(left(), None);
        // With a target of its own.
        let triple = paths.target.join("x86_64-unknown-linux-musl");
        std::fs::create_dir_all(&triple).unwrap();
        std::fs::rename(&debug, triple.join("debug")).unwrap();
        assert_eq!(left(), None);
        std::fs::remove_file(triple.join("debug/specs")).unwrap();
        assert_eq!(left(), Some(ExpectedFrom::Packages(1)));
        // Cargo's intermediate files are elsewhere: nothing can be said.
        std::fs::remove_dir_all(triple.join("debug/.fingerprint")).unwrap();
        assert_eq!(left(), None);
    }
}
