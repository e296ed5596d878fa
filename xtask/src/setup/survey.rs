//! What is missing for a purpose, why, and how it would be put in place. Looks, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;
use e2e_support::Cancel;
use e2e_support::engine::{Engine, Flavor, NoEngine};

use super::catalog::{Catalog, Kind, Piece};
use super::fetch::{self, Lack};
use super::host::{self, Host};
use super::make::Workshop;
use super::piece::{self, State};
use super::places::Places;
use super::{embedded, engine, packages, tools};
use crate::paths::Paths;

/// What a node with a system on it takes (0.9 GB), and as much again for its machine and the loading of images.
const MACHINE_MEMORY_MB: u64 = 1_800;

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
    /// The version of Kubernetes, where it is not that of the catalog itself.
    pub kubernetes: Option<String>,
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
    /// What has its name and cannot be used, if something does.
    pub found: Option<String>,
    /// Why it is made and not fetched.
    pub unfetched: Option<String>,
}

impl Task {
    /// Where it is published: an image's reference, or the address of a program with what differs left open.
    pub fn place(&self) -> &str {
        let download = self.piece.download.as_ref().map(|download| download.url.as_str());
        self.piece.replaces.as_deref().or(download).unwrap_or_default()
    }

    /// Disk that it takes, in MB.
    fn disk_mb(&self) -> u64 {
        match self.way {
            Way::Fetch => self.piece.fetch_mb,
            Way::Make => self.piece.disk_mb,
        }
    }
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
    /// Looks for what `wanted` lacks. `places` remembers what registries and sites said, for the next look.
    ///
    /// # Errors
    /// When the catalog or one of its inputs cannot be read, or the engine stops answering.
    pub fn look(paths: &Paths, wanted: &Wanted, places: &mut Places, cancel: &Cancel) -> Result<Survey> {
        let host = Host::look();
        let catalog = Catalog::read_for(&paths.root, wanted.kubernetes.as_deref())?;
        let root = embedded::home(&paths.root, &paths.cache)?;
        let keys = piece::keys(&root, &catalog, host.arch)?;
        let mut survey = Survey {
            workshop: Workshop {
                root,
                cache: paths.cache.clone(),
                host,
                catalog,
                keys,
                engine: None,
                images: Vec::new(),
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
            survey.look_for_engine(wanted.engine, cancel)?;
        }
        let names: Vec<String> = wanted.packages.keys().cloned().collect();
        survey.want_packages(&names, |name| wanted.packages[name].clone())?;
        survey.look_up_images(wanted)?;
        let mut missing = BTreeMap::new();
        // Of an engine that does not answer nobody knows which images it has.
        let blind = wanted.any_engine && survey.workshop.engine.is_none() && survey.engine_missing.is_none();
        for name in &wanted.pieces {
            if blind && survey.workshop.catalog.piece(name)?.kind == Kind::Image {
                continue;
            }
            survey.list_missing(name, &mut missing)?;
        }
        let pieces = missing.keys().map(|name| survey.workshop.catalog.piece(name)).collect::<Result<Vec<_>>>()?;
        places.ask(&survey.workshop, &pieces, cancel)?;
        for name in &wanted.pieces {
            survey.want(name, &missing, places)?;
        }
        survey.check_tools(cancel);
        survey.check_disk()?;
        survey.check_machine()?;
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

    fn look_for_engine(&mut self, choice: Option<Flavor>, cancel: &Cancel) -> Result<()> {
        let host = &self.workshop.host;
        let env = engine::settings(host, &self.workshop.cache)?;
        let error = match Engine::find(choice, &env, cancel) {
            Ok(engine) => {
                // Deleting works without; only who prepares a run has to know.
                if let Err(error) = engine.can_build(cancel) {
                    self.blockers.push(format!("{error:#}"));
                }
                self.workshop.engine = Some(engine.with_journal(&engine::journal(&self.workshop.cache))?);
                return Ok(());
            }
            Err(error) => error,
        };
        let podman_is_there = error.downcast_ref::<NoEngine>().is_some_and(|none| none.is_installed(Flavor::Podman));
        let names = self.workshop.catalog.engine_packages.clone();
        // What is asked elsewhere, or is there with all that it needs, is not mended by installing it.
        let can_help = choice != Some(Flavor::Docker)
            && host.can_install()
            && !(podman_is_there
                && (!Flavor::Podman.redirected_by().is_empty() || packages::missing(&names)?.is_empty()));
        if !can_help {
            let how = if podman_is_there && choice != Some(Flavor::Docker) {
                "see to it that podman answers (`podman info` tells more), or get another engine: Docker Engine 23 or later"
            } else {
                engine::how_to_get(host)
            };
            self.blockers.push(format!("{error:#}\n  {how}"));
            return Ok(());
        }
        self.engine_missing = Some(format!("{error:#}"));
        self.want_packages(&names, |_| "podman, the container engine".into())
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

    /// The piece, if it is missing, and what its recipe needs and is missing; each with what has its name, if
    /// something does.
    fn list_missing(&self, name: &str, missing: &mut BTreeMap<String, Option<String>>) -> Result<()> {
        if missing.contains_key(name) {
            return Ok(());
        }
        let piece = self.workshop.catalog.piece(name)?;
        let found = match self.workshop.state(piece)? {
            State::Public | State::Made => return Ok(()),
            State::Missing => None,
            State::Unfit(found) => Some(found),
        };
        missing.insert(name.to_owned(), found);
        piece.needs.iter().try_for_each(|need| self.list_missing(need, missing))
    }

    fn want(&mut self, name: &str, missing: &BTreeMap<String, Option<String>>, places: &Places) -> Result<()> {
        let Some(found) = missing.get(name) else { return Ok(()) };
        if self.tasks.iter().any(|task| task.piece.name == name) {
            return Ok(());
        }
        let piece = self.workshop.catalog.piece(name)?.clone();
        let source = self.workshop.source(&piece)?.filter(|_| piece.replaces.is_none());
        let lacks: Vec<Lack> = source.iter().flat_map(fetch::lacks).collect();
        let why = match places.fetchable(&self.workshop, &piece)? {
            Ok(()) if !lacks.is_empty() && !self.workshop.host.can_install() => lacks[0].why.to_owned(),
            Ok(()) => {
                for lack in lacks {
                    let names: Vec<String> = lack.packages.iter().map(|&name| name.to_owned()).collect();
                    self.want_packages(&names, |_| "downloads".into())?;
                }
                self.tasks.push(Task { piece, way: Way::Fetch, found: found.clone(), unfetched: None });
                return Ok(());
            }
            Err(why) => why,
        };
        if let Err(cannot) = self.can_make(&piece) {
            let found = found.as_ref().map(|found| format!("{found}; ")).unwrap_or_default();
            self.blockers.push(format!("{name} cannot be had: {found}{why}; and {cannot}{}", self.by_hand(&piece)?));
            return Ok(());
        }
        for need in &piece.needs {
            self.want(need, missing, places)?;
        }
        self.want_packages(&piece.packages, |_| format!("making {}", piece.name))?;
        self.tasks.push(Task { piece, way: Way::Make, found: found.clone(), unfetched: Some(why) });
        Ok(())
    }

    /// Whether the recipe of the piece works here, and if not, why.
    fn can_make(&self, piece: &Piece) -> Result<(), String> {
        let host = &self.workshop.host;
        if piece.recipe.is_none() {
            return Err("only its publisher makes it".into());
        }
        if piece.kind == Kind::Image {
            return host.can_build();
        }
        if !piece.only_on.is_empty() && !piece.only_on.iter().any(|os| os == host.os) {
            return Err(format!("what is built from packages runs on {} alone", piece.only_on.join(", ")));
        }
        Ok(())
    }

    /// How a person can put the piece in place, where that can be said.
    fn by_hand(&self, piece: &Piece) -> Result<String> {
        if let Some(reference) = piece.replaces.as_ref().filter(|reference| !reference.starts_with("localhost/")) {
            let exact = fetch::exact(piece, reference)?;
            return Ok(format!("; once `pull {exact}` works with the engine here, so does this"));
        }
        let Some(source) = self.workshop.source(piece)? else { return Ok(String::new()) };
        let folder = self.workshop.folder(&piece.name)?;
        if source.unzip {
            return Ok(format!(
                "; or get {} by other means (SHA-256 {}), unpack it as a zip into {folder}, and make {} there executable",
                source.url, source.sha256, source.to
            ));
        }
        let to = folder.join(&source.to);
        Ok(format!(
            "; or get {} by other means (SHA-256 {}), and put it, executable, at {to}",
            source.url, source.sha256
        ))
    }

    fn check_tools(&mut self, cancel: &Cancel) {
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Task { piece, way, .. } in &self.tasks {
            // A package of the same name brings it.
            for tool in piece.tools.iter().filter(|tool| *way == Way::Make && !piece.packages.contains(tool)) {
                wanted.entry(tool).or_default().push(&piece.name);
            }
        }
        for (tool, pieces) in wanted {
            let oldest = self.workshop.catalog.oldest.get(tool).map(String::as_str);
            if let Err(why) = tools::check(tool, oldest, cancel) {
                self.blockers.push(format!("{why}, and cannot be made without it: {}", pieces.join(", ")));
            }
        }
    }

    /// Files lie in the cache, images where the engine keeps them.
    fn check_disk(&mut self) -> Result<()> {
        let cache = &self.workshop.cache;
        let of = |kind| self.tasks.iter().filter(|task| task.piece.kind == kind).map(Task::disk_mb).sum::<u64>();
        let (files_mb, images_mb) = (of(Kind::Files), of(Kind::Image));
        let engine = self.workshop.engine.as_ref().filter(|_| images_mb > 0);
        let storage = engine.and_then(Engine::storage);
        let move_cache = "free some, or set XDG_CACHE_HOME to a larger disk";
        let mut checks = Vec::new();
        match storage {
            Some(storage) if host::device(&storage).ok() != host::device(cache).ok() => {
                checks.push((cache.clone(), files_mb, move_cache));
                checks.push((storage, images_mb, "free some; the engine keeps its images there"));
            }
            Some(_) => checks.push((cache.clone(), files_mb + images_mb, move_cache)),
            // An engine that is elsewhere has its own disk; one that is still to be installed will use this one's.
            None if engine.is_some() => checks.push((cache.clone(), files_mb, move_cache)),
            None => checks.push((cache.clone(), files_mb + images_mb, move_cache)),
        }
        for (place, wanted_mb, what_to_do) in checks {
            let free_mb = host::free_mb(&place)?;
            if wanted_mb > free_mb {
                self.blockers.push(format!(
                    "too little disk for {place}: about {wanted_mb} MB are needed, {free_mb} MB are free; {what_to_do}"
                ));
            }
        }
        Ok(())
    }

    /// An engine that is elsewhere has a machine of its own, often a small one.
    fn check_machine(&mut self) -> Result<()> {
        let Some(engine) = self.workshop.engine.as_ref().filter(|engine| engine.is_remote()) else { return Ok(()) };
        let machine = engine.machine()?;
        let flavor = engine.flavor();
        let images = self.tasks.iter().filter(|task| task.piece.kind == Kind::Image);
        let wanted_mb: u64 = images.map(Task::disk_mb).sum();
        if machine.memory_mb < MACHINE_MEMORY_MB {
            let larger = match flavor {
                Flavor::Podman => "podman machine stop && podman machine set --memory 4096 && podman machine start",
                Flavor::Docker => "give it more in Docker Desktop's settings, under Resources",
            };
            self.blockers.push(format!(
                "the machine that {flavor} runs containers on has too little memory for a cluster: {} MB of at least \
                 {MACHINE_MEMORY_MB} MB; {larger}",
                machine.memory_mb
            ));
        }
        if let Some(free_mb) = machine.free_disk_mb.filter(|free_mb| *free_mb < wanted_mb) {
            self.blockers.push(format!(
                "the machine that {flavor} runs containers on has too little disk: about {wanted_mb} MB are needed for \
                 images, {free_mb} MB are free; remove images there, or give it a larger disk"
            ));
        }
        Ok(())
    }

    /// Everything that would be done, each in words: what a person agrees to.
    pub fn changes(&self) -> BTreeSet<String> {
        let mut changes = self.package_changes();
        changes.extend(self.tasks.iter().map(|task| match task.way {
            Way::Fetch => format!("fetching {} ({})", task.piece.name, task.place()),
            Way::Make => {
                let recipe = task.piece.recipe.as_ref().map(|recipe| format!(" ({recipe})")).unwrap_or_default();
                format!("building {}{recipe}", task.piece.name)
            }
        }));
        changes
    }

    /// Those of them that are done by the system's package manager.
    pub fn package_changes(&self) -> BTreeSet<String> {
        let unfinished = self.packages_unfinished.then(|| "finishing an installation of packages".to_owned());
        self.packages.keys().map(|name| format!("installing {name}")).chain(unfinished).collect()
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
        for Task { piece, way, found, unfetched } in &self.tasks {
            let _ = writeln!(out, "  {}: {}", piece.name, piece.about);
            if let Some(found) = found {
                let _ = writeln!(out, "      {found}; the name will go to the one that is put in place");
            }
            let place = match (&piece.replaces, piece.kind) {
                (Some(reference), _) => format!("as {reference}"),
                (None, _) => format!("into {}", self.workshop.cache.join("pieces")),
            };
            let _ = match way {
                Way::Fetch if piece.replaces.is_some() => writeln!(out, "      pull ({} MB) {place}", piece.fetch_mb),
                Way::Fetch => writeln!(out, "      download ({} MB) {place}", piece.fetch_mb),
                Way::Make => writeln!(
                    out,
                    "      build it from packages (about {} s on two cores, {} MB) {place}: {}",
                    piece.seconds,
                    piece.disk_mb,
                    unfetched.as_deref().unwrap_or_default()
                ),
            };
        }
        out
    }
}
