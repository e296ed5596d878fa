//! What cargo reads in an image's build, and no COPY brings to where cargo looks for it: manifests of the workspace's
//! members, sources of the packages that are compiled and of their path dependencies.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::cargo::{Kind, Package, Packages};
use super::context::Found;
use super::copies;
use super::layout::{Layout, Point, Presence};
use super::subject::{Built, Subject, close};
use crate::dockerfile::script::{CargoBuild, builds, rewrites};
use crate::dockerfile::{BUILD_STAGE, Instruction, join};
use crate::suite::yaml::{Problem, Segment, did_you_mean};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for built in &subject.built {
        let mut is_known = true;
        for (at, name) in built.image.packages().enumerate() {
            let path = match built.image.package {
                Some(_) => crate::at!["images", built.at, "package"].to_vec(),
                None => crate::at!["images", built.at, "packages", at].to_vec(),
            };
            let Some(package) = subject.packages.member(name) else {
                // A workspace that cannot be read may have it. What a readable one lacks is told where it is to be built.
                if !subject.root.join("Cargo.toml").exists() {
                    problems.push(unknown(subject, &path, name));
                }
                is_known = false;
                continue;
            };
            if package.binaries().next().is_none() {
                let message = format!("the package `{name}` has no binary, and the image is to have its binaries");
                let hint = "write src/main.rs, or list a [[bin]] in its Cargo.toml".to_owned();
                problems.push(subject.suite.source.problem(&path, message).hint(Some(hint)));
            }
        }
        if !is_known {
            continue;
        }
        // A name that leads nowhere is told where it stands.
        if built.image.is_compiled() && !copies::has_slips(built) {
            problems.extend(stage_to_replace(built));
        }
        if !copies::has_slips(built) {
            problems.extend(Compilation::find(subject, built).map(|found| found.check()).unwrap_or_default());
        }
    }
    problems
}

fn unknown(subject: &Subject<'_>, path: &[Segment], name: &str) -> Problem {
    let hint = did_you_mean(name, subject.packages.members().map(|package| package.name.as_str()));
    let message = format!("the workspace has no package `{name}`");
    subject.suite.source.problem(path, message).hint(hint)
}

/// A stage that a folder with the binary can take the place of: it has to be there and to have a name.
fn stage_to_replace(built: &Built<'_>) -> Option<Problem> {
    built.target?;
    let package = built.image.packages().collect::<Vec<_>>().join(", ");
    let hint = Some(format!("write FROM … AS {BUILD_STAGE}, or name it as the image's `stage`"));
    match built.compiles() {
        // That is told where the suite names it.
        None if built.image.stage.is_some() => None,
        None => {
            let message =
                format!("no stage is named `{BUILD_STAGE}` or calls `cargo build`: the one that compiles {package}");
            Some(built.on_line(1, message, hint))
        }
        Some(stage) if built.file.stages[stage].name.is_none() => {
            let message = format!("the stage that compiles {package} has no name");
            Some(built.on_line(built.file.stages[stage].line, message, hint))
        }
        Some(_) => None,
    }
}

/// The last call of cargo in the stage that compiles, and what is there for it.
struct Compilation<'a> {
    packages: &'a Packages,
    built: &'a Built<'a>,
    layout: Layout<'a>,
    point: Point,
    run: &'a Instruction,
    build: CargoBuild,
    /// The workspace's folder.
    root: &'a Utf8Path,
    /// Where it lies in the image.
    there: Utf8PathBuf,
}

impl<'a> Compilation<'a> {
    fn find(subject: &'a Subject<'_>, built: &'a Built<'a>) -> Option<Compilation<'a>> {
        let packages = &subject.packages;
        let root = packages.root.as_deref()?;
        let stage = built.compiles().or(built.target)?;
        let layout = Layout::new(&built.file, &built.context);
        let (point, run, build) = built.file.chain(stage).into_iter().rev().find_map(|stage| {
            let instructions = &built.file.stages[stage].instructions;
            let mut runs = instructions.iter().enumerate().rev();
            runs.find_map(|(done, run)| Some((Point { stage, done }, run, builds(run).pop()?)))
        })?;
        // Nothing of the context is brought: then the sources are the base's.
        let mounts = run.mounts().iter().any(|mount| mount.kind == "bind");
        if !mounts && !layout.before(point).any(|instruction| instruction.copies().is_some()) {
            return None;
        }
        let manifest = built.in_context(&root.join("Cargo.toml"));
        let places = manifest.map(|path| {
            let mut places = layout.places(point, &path);
            places.extend(layout.places_mounted(run, &path));
            places
        });
        let mut places: Vec<Utf8PathBuf> = places.unwrap_or_default();
        places.retain(|place| place.file_name() == Some("Cargo.toml"));
        let folders = || places.iter().filter_map(|place| place.parent());
        // Cargo looks upwards from where it is called.
        let above =
            folders().filter(|folder| build.folder.starts_with(folder)).max_by_key(|folder| folder.as_str().len());
        let there = above.or_else(|| folders().next()).unwrap_or(&build.folder).to_owned();
        Some(Compilation { packages, built, layout, point, run, build, root, there })
    }

    fn check(&self) -> Vec<Problem> {
        // Only a part of the workspace is in the context: where it lies then is not told by the root's manifest.
        if self.built.in_context(self.root).is_none() {
            return self.apart();
        }
        let mut problems = self.told_wrong();
        if !problems.is_empty() {
            return problems;
        }
        let manifest = self.root.join("Cargo.toml");
        if let Some((why, hint)) = self.missing(&manifest, "Cargo.toml") {
            problems.push(self.problem(format!("cargo is called here, and {why}"), hint));
            return problems;
        }
        let lock = self.root.join("Cargo.lock");
        if self.build.is_locked
            && lock.is_file()
            && let Some((why, hint)) = self.missing(&lock, "Cargo.lock")
        {
            problems.push(self.problem(format!("cargo is called with --locked here, and {why}"), hint));
        }
        let (selected, sources) = self.needed();
        let rewritten = self.layout.before(self.point).chain([self.run]);
        let rewritten = rewritten.into_iter().any(|run| rewrites(run, &self.there.join("Cargo.toml")));
        let told: BTreeSet<&Utf8Path> = sources.iter().map(|package| package.folder.as_path()).collect();
        for package in self.packages.members().filter(|_| !rewritten) {
            if told.contains(package.folder.as_path()) {
                continue;
            }
            let manifest = package.folder.join("Cargo.toml");
            if let Some((why, hint)) = self.missing(&manifest, &self.relative(&manifest)) {
                let message = format!("cargo reads the manifests of all members of the workspace here, and {why}");
                problems.push(self.problem(message, hint));
            }
        }
        for package in sources {
            problems.extend(self.sources(package, &selected));
        }
        problems
    }

    /// Packages and binaries that cargo is told to build, and that are nearly those that there are. Dependencies can be
    /// told, too.
    fn told_wrong(&self) -> Vec<Problem> {
        let packages: Vec<&str> = self.packages.members().map(|package| package.name.as_str()).collect();
        let binaries: Vec<&str> = self.packages.members().flat_map(Package::binaries).collect();
        let wrong = |told: &[String], there: &[&str], what: &str| -> Vec<Problem> {
            let is_slip =
                |name: &&String| !there.contains(&name.as_str()) && close(name, there.iter().copied()).is_some();
            let problem = |name: &String| {
                let message = format!("cargo is told to build `{name}`, and {what} of that name");
                self.problem(message, None).meant(name, there.iter().copied())
            };
            told.iter().filter(is_slip).map(problem).collect()
        };
        let mut problems = wrong(&self.build.packages, &packages, "the workspace has no package");
        problems.extend(wrong(&self.build.bins, &binaries, "no package has a binary"));
        problems
    }

    /// The selected packages, and all that they are built with.
    fn needed(&self) -> (Vec<&'a Package>, Vec<&'a Package>) {
        let build = &self.build;
        let by_bins = |bins: &[String]| -> Vec<&Package> {
            let has = |package: &&Package| package.binaries().any(|name| bins.iter().any(|bin| bin == name));
            self.packages.members().filter(has).collect()
        };
        let is_whole = self.built.in_context(self.root).is_some();
        let of_context = |package: &&Package| self.built.in_context(&package.folder).is_some_and(|path| path == "");
        let mut selected: Vec<&Package> = if !is_whole {
            self.packages.members().filter(of_context).collect()
        } else if !build.bins.is_empty() {
            by_bins(&build.bins)
        } else if !build.packages.is_empty() {
            let named = build.packages.iter().map(|package| package.split('@').next().unwrap_or(package));
            named.filter_map(|name| self.packages.member(name)).collect()
        } else if let Some(package) = self.packages.members().find(|one| self.place(&one.folder) == build.folder) {
            vec![package]
        } else if build.is_all {
            self.packages.members().collect()
        } else {
            self.packages.default.iter().filter_map(|name| self.packages.member(name)).collect()
        };
        for own in self.built.image.packages().filter_map(|name| self.packages.member(name)) {
            if !selected.iter().any(|other| other.folder == own.folder) {
                selected.push(own);
            }
        }
        let all = self.packages.built_with(&selected);
        (selected, all)
    }

    /// Where a path of this machine's workspace lies in the image's.
    fn place(&self, path: &Utf8Path) -> Utf8PathBuf {
        match path.strip_prefix(self.root) {
            Ok(below) => join(&self.there, below),
            Err(_) => {
                let above = self.root.ancestors().take_while(|folder| !path.starts_with(folder)).count();
                let shared = self.root.ancestors().nth(above).unwrap_or(Utf8Path::new("/"));
                let up = "../".repeat(above);
                join(&self.there, Utf8Path::new(&up).join(path.strip_prefix(shared).unwrap_or(path)))
            }
        }
    }

    fn relative(&self, path: &Utf8Path) -> String {
        self.built.in_context(path).unwrap_or_else(|| path.to_owned()).into_string()
    }

    fn look(&self, place: &Utf8Path) -> Presence {
        self.layout.look(self.point, place).max(self.layout.look_mounted(self.run, place))
    }

    /// Why the file is not where cargo reads it, and what to do; `name` is what is to be brought.
    fn missing(&self, file: &Utf8Path, name: &str) -> Option<(String, Option<String>)> {
        let place = self.place(file);
        let presence = self.look(&place);
        if presence > Presence::Ignored {
            return None;
        }
        let Some(inside) = self.built.in_context(file) else {
            return Some((
                format!("{name} lies outside of the build context"),
                Some("set the image's `context`".into()),
            ));
        };
        if presence == Presence::Ignored || self.built.context.find(&inside) == Found::Ignored {
            let ignore = &self.built.context.ignore.file;
            return Some((
                format!("{ignore} keeps {name} out of the build context"),
                Some(format!("add `!{name}` to it")),
            ));
        }
        let target = match name.trim_end_matches('/').rsplit_once('/') {
            _ if name.ends_with('/') => name.to_owned(),
            Some((folder, _)) => format!("{folder}/"),
            None => "./".to_owned(),
        };
        let add = Some(format!("add `COPY {name} {target}`"));
        let elsewhere = self.layout.places(self.point, &inside);
        match elsewhere.first() {
            Some(wrong) => Some((format!("{name} lies elsewhere: {wrong}, and cargo looks at {place}"), add)),
            None => Some((format!("no COPY before it brings {name}"), add)),
        }
    }

    /// The first source of a package that is not there.
    fn sources(&self, package: &Package, selected: &[&Package]) -> Option<Problem> {
        let is_selected = selected.iter().any(|one| one.folder == package.folder);
        let bins = &self.build.bins;
        let counts = |kind: Kind, name: &String| match kind {
            Kind::Library | Kind::BuildScript => true,
            Kind::Binary => is_selected && (bins.is_empty() || bins.contains(name)),
        };
        let targets = package.targets.iter().filter(|target| counts(target.kind, &target.name));
        let manifest = package.folder.join("Cargo.toml");
        let files = targets.map(|target| &target.source).chain([&manifest]);
        let (file, _) =
            files.map(|file| (file, self.look(&self.place(file)))).find(|(_, found)| *found <= Presence::Ignored)?;
        let (why, hint) = self.missing(file, &self.to_bring(package, file))?;
        let message = if is_selected {
            format!("{} is compiled here, and {why}", package.name)
        } else {
            let name = if package.name.is_empty() { self.relative(&package.folder) } else { package.name.clone() };
            let names: Vec<&str> = selected.iter().map(|package| package.name.as_str()).collect();
            format!("{} is compiled here with its path dependency {name}, and {why}", names.join(", "))
        };
        Some(self.problem(message, hint))
    }

    /// What a COPY for `file` should name: the package's folder, or where that is the root the part below it.
    fn to_bring(&self, package: &Package, file: &Utf8Path) -> String {
        let of_root = package.folder == self.root;
        let below = file.strip_prefix(&package.folder).unwrap_or(file);
        match below.components().next() {
            _ if !of_root => format!("{}/", self.relative(&package.folder)),
            Some(first) if below.components().count() > 1 => format!("{first}/"),
            _ => self.relative(file),
        }
    }

    /// Of a context that is a part of the workspace: sources that are nowhere.
    fn apart(&self) -> Vec<Problem> {
        let (selected, all) = self.needed();
        let absent = |package: &&&Package| {
            let source = package.targets.first().map(|target| &target.source);
            let nowhere = |file: &Utf8PathBuf| match self.built.in_context(file) {
                Some(inside) => {
                    self.layout.places(self.point, &inside).is_empty()
                        && self.layout.places_mounted(self.run, &inside).is_empty()
                        && self.look(&self.build.folder.join("src")) <= Presence::Ignored
                }
                None => self.look(&self.build.folder.join(&package.name)) <= Presence::Ignored,
            };
            source.is_some_and(nowhere)
        };
        let tell = |package: &&Package| {
            let why = match self.built.in_context(&package.folder) {
                Some(_) => "no COPY before it brings its sources".to_owned(),
                None => format!("{} lies outside of the build context", self.relative(&package.folder)),
            };
            let what =
                if selected.iter().any(|one| one.folder == package.folder) { "" } else { "the path dependency " };
            self.problem(format!("{what}{} is compiled here, and {why}", package.name), None)
        };
        all.iter().filter(absent).map(tell).collect()
    }

    fn problem(&self, message: String, hint: Option<String>) -> Problem {
        self.built.on_line(self.run.line, message, hint)
    }
}
