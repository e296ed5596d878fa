//! Compiling, and building images.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use anyhow::{Context, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Build, Flavor};
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use super::executables::Executables;
use crate::build_mode::Zig;
use crate::cargo_lock;
use crate::dockerfile::{replaced_bases, replaced_stage};
use crate::instance::Instance;
use crate::plan::{BuildMode, ExpectedFrom};
use crate::suite::{Image, Specs, SpecsProgram, Suite};
use crate::target::session::{Running, Session};

impl Running<'_> {
    /// One cargo invocation for all of the suite's Rust, so that what is shared is compiled once. What it makes is put
    /// aside for this run: a build beside it changes nothing of what runs.
    pub(crate) fn compile(&self, packages: &[String]) -> Result<()> {
        let source = self.step.expected.source;
        if matches!(source, ExpectedFrom::Packages(_)) {
            self.context.unusual(source.to_string());
        }
        let (together, apart) = match &self.session.zig {
            Some(zig) if !zig.runs_here => builds(packages, &self.session.suite),
            _ => (packages.iter().map(String::as_str).collect(), None),
        };
        let made = self.cargo_build(&together, self.session.zig.as_ref())?;
        if self.session.build == BuildMode::Host {
            self.stage_binaries(&made)?;
        }
        let made = match apart {
            Some(package) => self.cargo_build(&[package], None)?,
            None => made,
        };
        let specs = self.session.suite.specs.as_ref().filter(|_| self.session.specs.is_some());
        if let Some(SpecsProgram::Binary { package, binary }) = specs.map(Specs::runs) {
            self.place(made.of(package, binary)?, &self.session.staged_specs(binary))?;
            self.list_specs()?;
        }
        Ok(())
    }

    /// Puts aside what images or processes are made of.
    fn stage_binaries(&self, made: &Executables) -> Result<()> {
        let Session { suite, target, .. } = self.session;
        if target.layout().delivery.is_some() {
            for image in &suite.images {
                for package in image.packages() {
                    for (name, from) in made.binaries(package)? {
                        self.stage(&image.name, name, from)?;
                    }
                }
            }
            return Ok(());
        }
        let processes = suite.processes.iter().flat_map(|processes| &processes.workloads);
        let packages: BTreeSet<&str> = processes.filter_map(|process| process.package.as_deref()).collect();
        // Nobody loads these into a node, so that their symbols may stay.
        packages.into_iter().try_for_each(|package| {
            self.place(made.of(package, package)?, &self.session.staged(package).join("out").join(package))
        })
    }

    /// Has cargo build all binaries of these packages, for this machine or by zig.
    fn cargo_build(&self, packages: &[&str], zig: Option<&Zig>) -> Result<Executables> {
        let mut executables = Executables::default();
        if packages.is_empty() {
            return Ok(executables);
        }
        let sh = Shell::new()?;
        sh.change_dir(&self.session.paths.root);
        let target = &self.session.paths.target;
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        // What a person reads goes to the log as ever, through standard error.
        let words = ["build", "--locked", "--bins", "--color", "never", "--message-format", "json-render-diagnostics"];
        let mut cmd = cmd!(sh, "{cargo} {words...}").env("CARGO_TARGET_DIR", target);
        for package in packages {
            cmd = cmd.args(["--package", package]);
        }
        if let Some(zig) = zig {
            cmd = zig.cargo(cmd);
        }
        let job = Job::new(cmd).deadline(self.left()).log(self.log).cancel(self.cancel);
        let begin = self.log.metadata().map_or(0, |log| usize::try_from(log.len()).unwrap_or(0));
        let over = Cancel::new();
        let compiled = std::thread::scope(|scope| {
            scope.spawn(|| {
                let made = zig.map_or_else(|| target.join("debug"), |zig| zig.made(target));
                cargo_lock::watch(self.log, begin, &made, &over, |line| self.progress(line.unwrap_or_default()));
            });
            let compiled = job.lines(|line| {
                executables.line(line);
                ControlFlow::<Infallible>::Continue(())
            });
            over.cancel("cargo has ended");
            compiled
        });
        compiled.map_err(|error| self.with_compilers_word(error))?;
        Ok(executables)
    }

    /// Puts a binary where its image's build reads it: the layout of the stage that it replaces.
    fn stage(&self, image: &str, name: &str, from: &Utf8Path) -> Result<()> {
        let to = self.session.staged(image).join("out").join(name);
        let doing = || format!("staging {from} as {to}");
        // As in the build stages: without symbols, a third less is loaded into the node. A linker comes with `strip`; what
        // is for another system has lost them when it was linked.
        let is_of_here = self.session.zig.as_ref().is_none_or(|zig| zig.runs_here);
        if is_of_here && which::which("strip").is_ok() {
            make_room(&to).with_context(doing)?;
            let sh = Shell::new()?;
            let strip = cmd!(sh, "strip --strip-all -o {to} {from}");
            return Job::new(strip).deadline(self.left()).log(self.log).cancel(self.cancel).run().with_context(doing);
        }
        self.place(from, &to)
    }

    /// Copies a binary. A link to it would change with it, where a linker writes into the file that is there; and a
    /// program that this process itself has just written cannot always be started, for a child that is forked meanwhile
    /// still holds it open.
    fn place(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        let doing = || format!("staging {from} as {to}");
        make_room(to).with_context(doing)?;
        let sh = Shell::new()?;
        let copy = cmd!(sh, "cp {from} {to}");
        Job::new(copy).deadline(self.left()).log(self.log).cancel(self.cancel).run().with_context(doing)
    }

    /// The stage with the compiled dependencies, which all images share.
    pub(super) fn dependencies(&self) -> Result<()> {
        let stage = self.session.suite.build.as_ref().and_then(|build| build.dependencies.as_ref());
        let stage = stage.context("the suite names no stage of dependencies")?;
        let reference = dependencies_reference(&self.session.instance);
        let mut build = self.build(&stage.dockerfile, Utf8Path::new("."), &reference)?;
        build.target = Some(stage.target.clone());
        let built = self.session.engine()?.build(&self.session.paths.root, &build, self.log, self.cancel);
        built.map_err(|error| self.with_compilers_word(error))
    }

    /// Builds one image.
    pub(crate) fn image(&self, name: &str) -> Result<()> {
        let image = self.session.suite.image(name).with_context(|| format!("the suite has no image {name}"))?;
        let engine = self.session.engine()?;
        let mut build = self.build(&image.dockerfile, &image.context, &self.session.image_reference(image))?;
        build.target.clone_from(&image.target);
        build.args.extend(image.args.clone());
        if self.session.build == BuildMode::Host && image.is_compiled() {
            let root = &self.session.paths.root;
            let mut replaced = vec![replaced_stage(root, image)?];
            // BuildKit asks registries for the bases of all stages, also of those that it does not build.
            if engine.flavor() == Flavor::Docker {
                replaced.extend(replaced_bases(root, image)?);
            }
            build.contexts.extend(replaced.into_iter().map(|name| (name, self.session.staged(&image.name))));
        }
        engine
            .build(&self.session.paths.root, &build, self.log, self.cancel)
            .map_err(|error| self.with_compilers_word(error))
            .with_context(|| format!("building the image {} from {}", image.reference, image.dockerfile))
    }

    /// Puts what a compiler found first on a line before the command that failed for it.
    fn with_compilers_word(&self, error: anyhow::Error) -> anyhow::Error {
        let output = std::fs::read_to_string(self.log).unwrap_or_default();
        match first_error(&output) {
            Some(found) => anyhow!("{found}\n    {error:#}"),
            None => error,
        }
    }

    fn build(&self, dockerfile: &Utf8Path, context: &Utf8Path, reference: &str) -> Result<Build> {
        let ca = std::env::var("SSL_CERT_FILE").ok().map(Utf8PathBuf::from).filter(|path| path.is_file());
        // podman hands these in by itself. By name alone: their values may hold passwords, and command lines are seen
        // by everybody on the machine and kept in the events.
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
        let is_docker = self.session.engine()?.flavor() == Flavor::Docker;
        let by_name = |name: &&str| is_docker && std::env::var_os(name).is_some();
        let inherited_args = proxies.into_iter().filter(by_name).map(str::to_owned).collect();
        Ok(Build {
            dockerfile: dockerfile.to_owned(),
            context: context.to_owned(),
            reference: reference.to_owned(),
            inherited_args,
            labels: self.session.instance.labels().to_vec(),
            secrets: ca.map(|path| ("ca".to_owned(), path)).into_iter().collect(),
            deadline: Some(self.left()),
            ..Build::default()
        })
    }
}

/// What is compiled for the images, and the package of the specs, where they are among `packages`: for a build whose
/// programs cannot be started here.
fn builds<'a>(packages: &'a [String], suite: &Suite) -> (Vec<&'a str>, Option<&'a str>) {
    let of_specs = suite.specs.as_ref().and_then(Specs::package);
    let is_of_image = |name: &str| suite.images.iter().flat_map(Image::packages).any(|package| package == name);
    let all = packages.iter().map(String::as_str);
    let of_images = all.clone().filter(|name| Some(*name) != of_specs || is_of_image(name)).collect();
    (of_images, all.into_iter().find(|name| Some(*name) == of_specs))
}

/// The first error that cargo or rustc tells in `output`, with its place where it has one.
fn first_error(output: &str) -> Option<String> {
    let mut lines = output.lines().skip_while(|line| !line.starts_with("error: ") && !line.starts_with("error["));
    let error = lines.next()?;
    let place = lines.next().and_then(|line| line.trim_start().strip_prefix("--> "));
    Some(place.map_or_else(|| error.to_owned(), |place| format!("{place}: {error}")))
}

/// Makes the folder of a file that is going to be written, and removes an older one.
fn make_room(to: &Utf8Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to.parent().unwrap_or(to))?;
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the stage with the compiled dependencies of a suite is called.
pub fn dependencies_reference(instance: &Instance) -> String {
    instance.image(&format!("localhost/{}-dependencies", instance.suite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_that_cannot_be_started_are_a_build_of_their_own() {
        let suite = Suite::load(&Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), "gateway").unwrap();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let all = words(&["datastorage", "e2e", "gateway"]);
        assert_eq!(builds(&all, &suite), (vec!["datastorage", "gateway"], Some("e2e")));
        // Without specs, as for `up`.
        let services = words(&["datastorage", "gateway"]);
        assert_eq!(builds(&services, &suite), (vec!["datastorage", "gateway"], None));
        // A package that has both is built for both.
        let mut both = suite.clone();
        both.images[0].package = Some("e2e".into());
        assert_eq!(builds(&words(&["e2e"]), &both), (vec!["e2e"], Some("e2e")));
    }

    #[test]
    fn the_first_error_is_told_with_its_place() {
        let rustc = "   Compiling a v0.1.0\nerrors are told below\nerror[E0308]: mismatched types\n  --> a/src/main.rs:67:21\n\
                     error: could not compile `a`\n";
        let cargo = "error: no matching package named `b` found\nlocation searched: crates.io index\n";
        for (output, expected) in [
            (rustc, Some("a/src/main.rs:67:21: error[E0308]: mismatched types")),
            (cargo, Some("error: no matching package named `b` found")),
            ("   Compiling a v0.1.0\n", None),
        ] {
            assert_eq!(first_error(output).as_deref(), expected);
        }
    }
}
