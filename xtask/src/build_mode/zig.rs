//! zig as the C compiler and linker of a build on the host: it has the C libraries of other systems with it, in all
//! their versions, so that what is compiled here runs in images that are older than this machine, or not for its kind.
//!
//! Cargo is given these programs for the target alone: build scripts and procedural macros, which run here, are made by
//! this machine's own compiler, and are the very ones that any other cargo command has made already.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Cancel, Job};
use xshell::{Cmd, Shell, cmd};

use super::platform::{Here, Platform};
use crate::setup::make::{Workshop, lock};
use crate::setup::run::{Consent, agree};
use crate::setup::survey::Wanted;

/// The pieces of `images/setup.yaml`: zig itself, and the program that translates what rustc tells a linker.
const PIECES: [&str; 2] = ["zig", "cargo-zigbuild"];

/// The programs, and what cc-rs calls each in front of the target's name.
const PROGRAMS: [(&str, &str); 3] = [("cc", "CC"), ("c++", "CXX"), ("ar", "AR")];
/// The first link for a target compiles that system's C library: some 15 s of one core.
const FIRST: Duration = Duration::from_secs(600);
const ANSWER: Duration = Duration::from_secs(60);
const RUSTUP: Duration = Duration::from_secs(600);

/// A program that needs the C library, the unwinder and threads.
const SAMPLE: &str = "fn main() {
    let thread = std::thread::spawn(|| std::panic::catch_unwind(|| std::env::args().count()));
    assert!(thread.join().is_ok_and(|count| count.is_ok_and(|count| count > 0)));
}
";

/// What has to be there of it.
pub fn wanted() -> Wanted {
    Wanted { pieces: PIECES.map(str::to_owned).into(), ..Wanted::default() }
}

/// zig for one target, ready to be used.
#[derive(Clone, Debug)]
pub struct Zig {
    target: Platform,
    /// Where its programs are: `cc`, `c++` and `ar`.
    programs: Utf8PathBuf,
    /// Whether what it makes runs on this machine, too: then specs are built with what they test.
    pub runs_here: bool,
}

impl Zig {
    /// Makes zig, whose pieces are there, ready for the target. The first time it sees to it that a program can be made,
    /// and that it runs where it should.
    ///
    /// # Errors
    /// When the Rust target is not there and may not or cannot be put in place, or the program cannot be made.
    pub fn prepare(workshop: &Workshop, target: Platform, consent: Consent, cancel: &Cancel) -> Result<Zig> {
        let folder = workshop.cache.join("zig");
        let key: String = PIECES.iter().map(|name| &workshop.keys[*name][..8]).collect();
        let programs = folder.join(format!("{}-{key}", target.of_zig()));
        let zig = Zig { target, programs, runs_here: Here::look().runs(&target) };
        let ready = zig.programs.join("ready");
        let _lock = lock(&workshop.cache.join("locks/zig"), FIRST, cancel)?;
        for (name, _) in PROGRAMS {
            zig.write_program(workshop, name, &folder)?;
        }
        if !ready.exists() {
            let doing = || format!("compiling a first program with zig for {}", target.of_zig());
            eprintln!("set-up: {}, which takes some 20 s once", doing());
            rust_target(&workshop.root, &target.triple(), consent, cancel)?;
            zig.try_out(&workshop.root, cancel).with_context(doing)?;
            std::fs::write(&ready, "").with_context(|| format!("writing {ready}"))?;
        }
        Ok(zig)
    }

    /// A cargo command that builds for the target.
    pub fn cargo<'sh>(&self, cmd: Cmd<'sh>) -> Cmd<'sh> {
        let triple = self.target.triple();
        // In place of those of this machine's configuration, which are for this machine's linker; as in containers.
        let mut flags = format!("-C\x1flinker={}", self.programs.join("cc"));
        if !self.runs_here {
            // This machine's `strip` may not know the format.
            flags.push_str("\x1f-C\x1fstrip=symbols");
        }
        let of_target = triple.replace('-', "_");
        let programs = PROGRAMS.map(|(name, variable)| (format!("{variable}_{of_target}"), self.programs.join(name)));
        cmd.args(["--target", &triple]).env("CARGO_ENCODED_RUSTFLAGS", flags).envs(programs)
    }

    /// The folder below `target` that cargo builds into.
    pub fn made(&self, target: &Utf8Path) -> Utf8PathBuf {
        target.join(self.target.triple()).join("debug")
    }

    /// What it is, in a few words.
    pub fn describe(&self) -> String {
        format!("on the host with zig, for {}", self.target.of_zig())
    }

    fn write_program(&self, workshop: &Workshop, name: &str, caches: &Utf8Path) -> Result<()> {
        let program = |piece: &str| -> Result<Utf8PathBuf> {
            let source = workshop.source(workshop.catalog.piece(piece)?)?;
            let source = source.with_context(|| format!("the piece {piece} is not to be had for this machine"))?;
            Ok(workshop.folder(piece)?.join(source.to))
        };
        let [zig, zigbuild] = PIECES.map(program);
        let (zig, zigbuild) = (zig?, zigbuild?);
        let version = &workshop.catalog.versions["zig"];
        // Its compiler checks what C leaves undefined and calls a library for it, which Rust's linker does not know.
        let options = match name {
            "ar" => String::new(),
            _ => format!(" -g -fno-sanitize=all -target {}", self.target.of_zig()),
        };
        let cache = quoted(&caches.join("cache"));
        let text = format!(
            "#!/bin/sh\n\
             export CARGO_ZIGBUILD_ZIG_PATH={} CARGO_ZIGBUILD_ZIG_VERSION={version}\n\
             export ZIG_GLOBAL_CACHE_DIR={cache} ZIG_LOCAL_CACHE_DIR={cache}\n\
             exec {} zig {name} --{options} \"$@\"\n",
            quoted(&zig),
            quoted(&zigbuild)
        );
        let path = self.programs.join(name);
        if std::fs::read_to_string(&path).ok().as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        let doing = || format!("writing {path}");
        let new = path.with_extension("new");
        crate::disk::write(&new, text)?;
        std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(doing)?;
        std::fs::rename(&new, &path).with_context(doing)
    }

    /// Compiles a program, and starts it where it should run.
    fn try_out(&self, root: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let (source, made) = (self.programs.join("sample.rs"), self.programs.join("sample"));
        crate::disk::write(&source, SAMPLE)?;
        let sh = Shell::new()?;
        sh.change_dir(root);
        let (triple, linker) = (self.target.triple(), format!("linker={}", self.programs.join("cc")));
        let rustc = cmd!(sh, "rustc --edition 2024 --target {triple} -C {linker} -o {made} {source}");
        Job::new(rustc).deadline(FIRST).cancel(cancel).run()?;
        if self.runs_here {
            Job::new(cmd!(sh, "{made}")).deadline(ANSWER).cancel(cancel).run()?;
        }
        for file in [source, made] {
            std::fs::remove_file(&file).with_context(|| format!("removing {file}"))?;
        }
        Ok(())
    }
}

/// A path as one word of a shell.
fn quoted(path: &Utf8Path) -> String {
    format!("'{}'", path.as_str().replace('\'', r"'\''"))
}

/// Sees to it that Rust's library for the target is there.
fn rust_target(root: &Utf8Path, triple: &str, consent: Consent, cancel: &Cancel) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    let is_there = || -> Result<bool> {
        let folder = Job::new(cmd!(sh, "rustc --print target-libdir --target {triple}")).deadline(ANSWER).read()?;
        Ok(Utf8Path::new(folder.trim()).is_dir())
    };
    if is_there()? {
        return Ok(());
    }
    if which::which("rustup").is_err() {
        bail!("Rust's library for {triple} is not there, and there is no rustup that could get it");
    }
    eprintln!("set-up: Rust's library for {triple} is missing: rustup target add {triple}");
    agree("Do that now?", consent, cancel)?;
    Job::new(cmd!(sh, "rustup target add {triple}")).deadline(RUSTUP).cancel(cancel).run()?;
    ensure!(is_there()?, "`rustup target add {triple}` ended well, and Rust's library for it is still not there");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::library::Glibc;
    use super::*;
    use crate::setup::catalog::Catalog;
    use crate::setup::host::Host;
    use crate::setup::piece;

    fn sh(sh: &Shell, script: &str) -> String {
        Job::new(cmd!(sh, "sh -euc {script}")).deadline(Duration::from_secs(120)).read().unwrap()
    }

    fn zig(programs: Utf8PathBuf, arch: &'static str, runs_here: bool) -> Zig {
        Zig { target: Platform { arch, glibc: Glibc(2, 36) }, programs, runs_here }
    }

    #[test]
    fn the_programs_hand_everything_on_also_from_an_odd_folder() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(dir.path()).unwrap().join("it's a cache");
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (host, catalog) = (Host::look(), Catalog::read(&root).unwrap());
        let keys = piece::keys(&root, &catalog, host.arch).unwrap();
        let workshop = Workshop { root, cache: cache.clone(), host, catalog, keys, engine: None, images: Vec::new() };
        let of = |name: &str| {
            let source = workshop.source(workshop.catalog.piece(name).unwrap()).unwrap().unwrap();
            workshop.folder(name).unwrap().join(source.to)
        };
        let (program, shell) = (of("cargo-zigbuild"), Shell::new().unwrap());
        let (folder, says) =
            (program.parent().unwrap(), "#!/bin/sh\necho \"$CARGO_ZIGBUILD_ZIG_PATH|$ZIG_LOCAL_CACHE_DIR|$*\"\n");
        let write = "mkdir -p \"$1\"; printf %s \"$2\" >\"$3\"; chmod 755 \"$3\"";
        Job::new(cmd!(shell, "sh -euc {write} sh {folder} {says} {program}")).run().unwrap();
        let zig = zig(cache.join("zig/one"), "arm64", false);
        for (name, options) in [("cc", " -g -fno-sanitize=all -target aarch64-linux-gnu.2.36"), ("ar", "")] {
            zig.write_program(&workshop, name, &cache.join("zig")).unwrap();
            let program = zig.programs.join(name);
            // By a shell: what this process has just written it cannot always start.
            let said =
                Job::new(cmd!(shell, "sh -c").arg("exec \"$@\"").arg("sh").args([program.as_str(), "-o", "a b"]));
            let expected = format!("{}|{cache}/zig/cache|zig {name} --{options} -o a b", of("zig"));
            assert_eq!(said.read().unwrap().trim_end(), expected);
        }
    }

    /// Otherwise each cargo command would compile anew what the one before it had compiled.
    #[test]
    fn only_what_is_for_the_target_is_linked_by_it() {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        let shell = Shell::new().unwrap();
        shell.change_dir(&root);
        shell.set_var("CARGO_TARGET_DIR", root.join("target"));
        sh(
            &shell,
            "mkdir -p src programs
             printf '[package]\\nname=\"app\"\\nedition=\"2024\"\\n[workspace]\\n' >Cargo.toml
             echo 'fn main() {}' >src/main.rs
             echo 'fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }' >build.rs
             printf '#!/bin/sh\\necho \"$*\" >>%s\\nexec cc \"$@\"\\n' \"$PWD/linked\" >programs/cc
             chmod 755 programs/cc",
        );
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let zig = zig(root.join("programs"), Host::look().arch, true);
        let plain = || cmd!(shell, "{cargo} build --offline --verbose");
        let build = |cmd: Cmd<'_>| {
            let out = Job::new(cmd).deadline(Duration::from_secs(120)).output().unwrap();
            assert!(out.success(), "{}", out.tail);
            out.tail
        };
        build(plain());
        build(zig.cargo(plain()));
        let linked = std::fs::read_to_string(root.join("linked")).unwrap();
        assert!(linked.contains("/app-") && !linked.contains("build_script"), "{linked}");
        assert!(zig.made(&root.join("target")).join("app").is_file());
        let again = build(plain());
        assert!(!again.contains("Running `"), "{again}");
    }
}
