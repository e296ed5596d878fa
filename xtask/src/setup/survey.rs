//! What is missing for a purpose, why, and how it would be put in place. Looks, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;
use e2e_support::engine::{Engine, Flavor};

use super::catalog::{Catalog, Kind, Piece};
use super::host::{self, Host};
use super::make::{Workshop, answers};
use super::piece::{self, State};
use super::{engine, packages};
use crate::paths::Paths;

/// What has to be there.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The engine of this kind; none for whichever works.
    pub engine: Option<Flavor>,
    /// Whether an engine is needed at all.
    pub any_engine: bool,
    /// Pieces of the catalog.
    pub pieces: BTreeSet<String>,
    /// Debian packages, each with what it is for.
    pub packages: BTreeMap<String, String>,
}

/// How a missing piece would be put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From where it is published.
    Fetch,
    /// By its recipe.
    Make,
}

/// A missing piece.
#[derive(Clone, Debug)]
pub struct Task {
    pub piece: Piece,
    pub way: Way,
}

/// The result of looking.
#[derive(Debug)]
pub struct Survey {
    pub workshop: Workshop,
    /// Why there is no engine yet, where one is wanted and will be installed.
    pub engine_missing: Option<String>,
    /// Debian packages to install, each with what it is for.
    pub packages: BTreeMap<String, String>,
    /// Whether an earlier installation of packages was stopped half-way.
    pub packages_unfinished: bool,
    /// Pieces to put in place, needs before what needs them.
    pub tasks: Vec<Task>,
    /// What keeps this machine from being set up, each with what to do about it.
    pub blockers: Vec<String>,
}

impl Survey {
    /// Looks for what `wanted` lacks. Hosts in `unreachable` are not asked again.
    ///
    /// # Errors
    /// When the catalog or one of its inputs cannot be read, or the engine stops answering.
    pub fn look(paths: &Paths, wanted: &Wanted, unreachable: &BTreeSet<String>) -> Result<Survey> {
        let host = Host::look();
        let catalog = Catalog::read(&paths.root)?;
        let keys = piece::keys(&paths.root, &catalog, host.arch)?;
        let mut survey = Survey {
            workshop: Workshop {
                root: paths.root.clone(),
                cache: paths.cache.clone(),
                host,
                catalog,
                keys,
                engine: None,
            },
            engine_missing: None,
            packages: BTreeMap::new(),
            packages_unfinished: packages::unfinished(&paths.cache),
            tasks: Vec::new(),
            blockers: Vec::new(),
        };
        if survey.packages_unfinished && !survey.workshop.host.can_install() {
            let command = "dpkg --configure -a";
            survey.blockers.push(format!("an installation of packages was stopped half-way; as root: `{command}`"));
        }
        if wanted.any_engine {
            survey.look_for_engine(wanted.engine)?;
        }
        let names: Vec<String> = wanted.packages.keys().cloned().collect();
        survey.want_packages(&names, |name| wanted.packages[name].clone())?;
        survey.look_up_images(wanted)?;
        let mut fetchable = Fetchable { unreachable, asked: BTreeMap::new() };
        for name in &wanted.pieces {
            survey.want(name, &mut fetchable)?;
        }
        survey.check_tools();
        survey.check_disk()?;
        Ok(survey)
    }

    /// Whether everything is there.
    pub fn is_complete(&self) -> bool {
        self.engine_missing.is_none()
            && self.packages.is_empty()
            && !self.packages_unfinished
            && self.tasks.is_empty()
            && self.blockers.is_empty()
    }

    /// One question about all the images in place of one each.
    fn look_up_images(&self, wanted: &Wanted) -> Result<()> {
        let pieces = wanted.pieces.iter().map(|name| self.workshop.catalog.piece(name)).collect::<Result<Vec<_>>>()?;
        let references: Vec<&str> = pieces.iter().filter_map(|piece| piece.replaces.as_deref()).collect();
        match &self.workshop.engine {
            Some(engine) if !references.is_empty() => engine.look_up(&references),
            _ => Ok(()),
        }
    }

    fn look_for_engine(&mut self, choice: Option<Flavor>) -> Result<()> {
        let host = &self.workshop.host;
        let env = engine::settings(host, &self.workshop.cache)?;
        match Engine::find(choice, &env) {
            Ok(engine) => self.workshop.engine = Some(engine.with_journal(&engine::journal(&self.workshop.cache))?),
            Err(error) if choice != Some(Flavor::Docker) && host.can_install() => {
                self.engine_missing = Some(format!("{error:#}"));
                let names = self.workshop.catalog.engine_packages.clone();
                self.want_packages(&names, |_| "podman, the container engine".into())?;
            }
            Err(error) => self.blockers.push(format!("{error:#}\n  {}", engine::how_to_get(host))),
        }
        Ok(())
    }

    fn want_packages(&mut self, names: &[String], why: impl Fn(&str) -> String) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        if !packages::has_apt() {
            let list = names.join(", ");
            self.blockers
                .push(format!("{} needs the Debian packages {list}, and this machine has no apt-get", why(&names[0])));
            return Ok(());
        }
        for name in packages::missing(names)? {
            if !self.workshop.host.can_install() {
                self.blockers.push(format!(
                    "the Debian package {name} is missing ({}); installing it needs root or sudo: `apt-get install {name}`",
                    why(&name)
                ));
                continue;
            }
            let reason = why(&name);
            self.packages.entry(name).or_insert(reason);
        }
        Ok(())
    }

    fn want(&mut self, name: &str, fetchable: &mut Fetchable<'_>) -> Result<()> {
        if self.tasks.iter().any(|task| task.piece.name == name) {
            return Ok(());
        }
        let piece = self.workshop.catalog.piece(name)?.clone();
        if self.workshop.state(&piece)? != State::Missing {
            return Ok(());
        }
        if fetchable.ask(&piece) {
            self.tasks.push(Task { piece, way: Way::Fetch });
            return Ok(());
        }
        if piece.kind == Kind::Image
            && let Err(why) = self.workshop.host.can_build()
        {
            let reference = piece.replaces.as_deref().unwrap_or_default();
            self.blockers.push(format!("the registry of {reference} does not answer, and {why}"));
            return Ok(());
        }
        for need in &piece.needs {
            self.want(need, fetchable)?;
        }
        self.want_packages(&piece.packages, |_| format!("making {}", piece.name))?;
        self.tasks.push(Task { piece, way: Way::Make });
        Ok(())
    }

    fn check_tools(&mut self) {
        let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Task { piece, way } in &self.tasks {
            // A package of the same name brings it.
            let without = |tool: &&String| which::which(tool).is_err() && !piece.packages.contains(tool);
            for tool in piece.tools.iter().filter(without).filter(|_| *way == Way::Make) {
                missing.entry(tool).or_default().push(&piece.name);
            }
        }
        self.blockers.extend(missing.into_iter().map(|(tool, pieces)| {
            let (pieces, get) = (pieces.join(", "), how_to_get_tool(tool));
            format!("{tool} is not on PATH, and cannot be made without it: {pieces}; {get}")
        }));
    }

    fn check_disk(&mut self) -> Result<()> {
        let wanted_mb: u64 = self.tasks.iter().map(|task| task.piece.disk_mb).sum();
        let free_mb = host::free_mb(&self.workshop.cache)?;
        if wanted_mb > free_mb {
            self.blockers.push(format!(
                "too little disk for {}: about {wanted_mb} MB are needed, {free_mb} MB are free; \
                 free some, or set XDG_CACHE_HOME to a larger disk",
                self.workshop.cache
            ));
        }
        Ok(())
    }

    /// What is missing, why, and what would be done; one line each.
    pub fn describe(&self) -> String {
        let mut out = String::new();
        if let Some(why) = &self.engine_missing {
            let _ = writeln!(out, "  container engine: {}\n      install podman", why.replace('\n', "\n    "));
        }
        if self.packages_unfinished {
            let _ = writeln!(out, "  Debian packages: an installation was stopped half-way\n      dpkg --configure -a");
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, why) in &self.packages {
            reasons.entry(why).or_default().push(name);
        }
        for (why, names) in reasons {
            let _ = writeln!(out, "  Debian packages, for {why}:\n      apt-get install {}", names.join(" "));
        }
        for Task { piece, way } in &self.tasks {
            let _ = writeln!(out, "  {}: {}", piece.name, piece.about);
            let place = match (&piece.replaces, piece.kind) {
                (Some(reference), _) => format!("as {reference}"),
                (None, _) => format!("into {}", self.workshop.cache.join("pieces")),
            };
            let _ = match way {
                Way::Fetch if piece.replaces.is_some() => writeln!(out, "      pull {place}"),
                Way::Fetch => writeln!(out, "      download {place}"),
                Way::Make => writeln!(
                    out,
                    "      build it from packages (about {} s on two cores, {} MB) {place}",
                    piece.seconds, piece.disk_mb
                ),
            };
        }
        out
    }
}

/// Whether pieces can be had from where they are published; each host is asked once.
struct Fetchable<'a> {
    unreachable: &'a BTreeSet<String>,
    asked: BTreeMap<String, bool>,
}

impl Fetchable<'_> {
    fn ask(&mut self, piece: &Piece) -> bool {
        if self.unreachable.contains(&piece.name) {
            return false;
        }
        let Some(place) = piece.replaces.as_ref().or(piece.download.as_ref().map(|d| &d.url)) else { return false };
        // By convention, images that are published nowhere.
        if place.starts_with("localhost/") {
            return false;
        }
        let host = place.trim_start_matches("https://").split('/').next().unwrap_or_default().to_owned();
        *self.asked.entry(host).or_insert_with(|| answers(place))
    }
}

fn how_to_get_tool(tool: &str) -> &'static str {
    match tool {
        "go" => "install Go 1.24 or later from https://go.dev/dl/",
        "rustc" | "cargo" => "install Rust by https://rustup.rs",
        "curl" => "install curl with the system's package manager",
        _ => "install it with the system's package manager",
    }
}
