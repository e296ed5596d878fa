//! What lies where in the stages of a Dockerfile. Nothing is listed beforehand: a path is followed back through the
//! COPYs to the build context, so that the size of the context does not matter.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::context::{Context, Found};
use crate::dockerfile::pattern::is_pattern;
use crate::dockerfile::script::{Effects, Makes};
use crate::dockerfile::{Base, Dockerfile, Instruction, WORKDIR_OF_BASE, Word, join};

/// Whether a path is there, the surest answer last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    /// Nothing that is known puts it there.
    Missing,
    /// It would be there, did an ignore file not keep it out.
    Ignored,
    /// Something ran that may have made it.
    Perhaps,
    /// What it would be part of is not looked into.
    Unknown,
    Here,
}

/// The stages of one Dockerfile, with the context of its build.
pub(super) struct Layout<'a> {
    pub(super) file: &'a Dockerfile,
    pub(super) context: &'a Context,
    /// What each instruction of each stage puts where.
    entries: Vec<Vec<Vec<Entry>>>,
    /// What each RUN may have made; the others make nothing by themselves.
    effects: Vec<Vec<Effects>>,
}

/// A place in a file: so many instructions of this stage have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) stage: usize,
    pub(super) done: usize,
}

/// What an instruction puts to one place.
struct Entry {
    from: Vec<Origin>,
    /// Where it goes.
    to: Utf8PathBuf,
    /// Whether `to` is the folder that it goes into: a file keeps its name there.
    into: bool,
}

enum Origin {
    /// Of the build context, relative to it, with what is there.
    Context(Utf8PathBuf, Found),
    /// Of another stage.
    Stage(usize, Utf8PathBuf),
    /// A file whose content stands in the Dockerfile, by its name.
    Text(String),
    /// What is not looked into: images, archives, addresses.
    Elsewhere,
}

impl<'a> Layout<'a> {
    pub(super) fn new(file: &'a Dockerfile, context: &'a Context) -> Layout<'a> {
        let of_stage = |stage: &crate::dockerfile::Stage| {
            stage.instructions.iter().map(|instruction| entries(instruction, file, context)).collect()
        };
        let effects = |stage: &crate::dockerfile::Stage| stage.instructions.iter().map(Effects::of).collect();
        let entries = file.stages.iter().map(of_stage).collect();
        Layout { file, context, entries, effects: file.stages.iter().map(effects).collect() }
    }

    /// The end of a stage.
    pub(super) fn end(&self, stage: usize) -> Point {
        Point { stage, done: self.file.stages.get(stage).map_or(0, |stage| stage.instructions.len()) }
    }

    /// The instructions that have been carried out at `point`, with those of the stages below.
    pub(super) fn before(&self, point: Point) -> impl Iterator<Item = &'a Instruction> {
        let file = self.file;
        self.places_before(point).map(move |(stage, at)| &file.stages[stage].instructions[at])
    }

    fn places_before(&self, point: Point) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = |stage: usize| self.file.stages.get(stage).map_or(0, |stage| stage.instructions.len());
        let done = |stage: usize| if stage == point.stage { point.done } else { count(stage) };
        let all: Vec<(usize, usize)> =
            self.file.chain(point.stage).into_iter().map(|stage| (stage, done(stage))).collect();
        all.into_iter().flat_map(|(stage, done)| (0..done).map(move |at| (stage, at)))
    }

    fn entries_before(&self, point: Point) -> impl Iterator<Item = &Entry> {
        self.places_before(point).flat_map(|(stage, at)| &self.entries[stage][at])
    }

    /// Whether the stage stands on nothing.
    pub(super) fn stands_on_nothing(&self, stage: usize) -> bool {
        let first = self.file.chain(stage).first().and_then(|at| self.file.stages.get(*at));
        first.is_some_and(|stage| stage.base == Base::Scratch)
    }

    /// Whether `path`, an absolute one, is there at `point`.
    pub(super) fn look(&self, point: Point, path: &Utf8Path) -> Presence {
        self.look_deep(point, path, self.file.stages.len())
    }

    fn look_deep(&self, point: Point, path: &Utf8Path, depth: usize) -> Presence {
        let presences = self.places_before(point).map(|(stage, at)| {
            let instruction = &self.file.stages[stage].instructions[at];
            match instruction.keyword.as_str() {
                "RUN" => match self.effects[stage][at].on(path) {
                    Makes::No => Presence::Missing,
                    Makes::Perhaps => Presence::Perhaps,
                    Makes::Names => Presence::Unknown,
                },
                "WORKDIR" if join(&instruction.workdir, text(instruction.words.first())) == path => Presence::Here,
                "VOLUME" if instruction.words.iter().any(|word| path.starts_with(&word.text)) => Presence::Unknown,
                _ => self.brought(&self.entries[stage][at], path, depth),
            }
        });
        presences.max().unwrap_or(Presence::Missing)
    }

    /// As [`Layout::look`], of what is mounted for one RUN.
    pub(super) fn look_mounted(&self, run: &Instruction, path: &Utf8Path) -> Presence {
        self.brought(&mounted(run, self.file, self.context), path, self.file.stages.len())
    }

    fn brought(&self, entries: &[Entry], path: &Utf8Path, depth: usize) -> Presence {
        entries.iter().map(|entry| self.brings(entry, path, depth)).max().unwrap_or(Presence::Missing)
    }

    fn brings(&self, entry: &Entry, path: &Utf8Path, depth: usize) -> Presence {
        let is_above = below(&entry.to, path).is_some();
        let Some(below) = below(path, &entry.to).or(is_above.then_some(Utf8Path::new(""))) else {
            return Presence::Missing;
        };
        let is_place = is_above && entry.to.as_str() == path.as_str();
        let of = |from: &Origin| match (from, is_above) {
            (Origin::Context(_, found), true) if is_place => presence(*found),
            // A folder that something is put into is there.
            (_, true) => Presence::Here,
            (from, false) => self.brings_below(entry, from, below, depth),
        };
        entry.from.iter().map(of).max().unwrap_or(Presence::Missing)
    }

    /// Whether `from`, put to the place of `entry`, brings what is called `below` there.
    fn brings_below(&self, entry: &Entry, from: &Origin, below: &Utf8Path, depth: usize) -> Presence {
        // A file keeps its name in a folder, and below a file there is nothing.
        let is_name = |name: Option<&str>| name == Some(below.as_str());
        match from {
            Origin::Elsewhere => Presence::Unknown,
            Origin::Text(name) if is_name(Some(name)) => Presence::Here,
            Origin::Text(_) => Presence::Missing,
            Origin::Context(from, found) => match found {
                Found::File | Found::Ignored if is_name(from.file_name()) => presence(*found),
                Found::File | Found::Nothing => Presence::Missing,
                Found::Ignored | Found::Folder => presence(self.context.find(&from.join(below))),
            },
            Origin::Stage(stage, from) => {
                let Some(depth) = depth.checked_sub(1) else { return Presence::Unknown };
                if entry.into && is_name(from.file_name()) {
                    return Presence::Here;
                }
                match self.look_deep(self.end(*stage), &from.join(below), depth) {
                    Presence::Here => Presence::Here,
                    // It may be a file, and the folder have no more than that.
                    _ if entry.into && from.extension().is_none() => Presence::Perhaps,
                    _ if entry.into => Presence::Missing,
                    _ => Presence::Unknown,
                }
            }
        }
    }

    /// Where `path` of the build context lies at `point`, wherever that is.
    pub(super) fn places(&self, point: Point, path: &Utf8Path) -> Vec<Utf8PathBuf> {
        self.places_deep(point, path, self.file.stages.len())
    }

    fn places_deep(&self, point: Point, path: &Utf8Path, depth: usize) -> Vec<Utf8PathBuf> {
        self.entries_before(point).flat_map(|entry| self.places_of(entry, path, depth)).collect()
    }

    /// As [`Layout::places`], of what is mounted for one RUN.
    pub(super) fn places_mounted(&self, run: &Instruction, path: &Utf8Path) -> Vec<Utf8PathBuf> {
        let depth = self.file.stages.len();
        mounted(run, self.file, self.context).iter().flat_map(|entry| self.places_of(entry, path, depth)).collect()
    }

    fn places_of(&self, entry: &Entry, path: &Utf8Path, depth: usize) -> Vec<Utf8PathBuf> {
        let mut places = Vec::new();
        for from in &entry.from {
            match from {
                Origin::Context(from, Found::File) if from == path => {
                    let name = path.file_name().filter(|_| entry.into);
                    places.push(name.map_or_else(|| entry.to.clone(), |name| entry.to.join(name)));
                }
                Origin::Context(from, _) => {
                    let inside = path.strip_prefix(from).ok();
                    let gets_in = |_: &&Utf8Path| matches!(self.context.find(path), Found::File | Found::Folder);
                    places.extend(inside.filter(gets_in).map(|inside| tidy(&entry.to, inside)));
                }
                Origin::Stage(stage, from) => {
                    let Some(depth) = depth.checked_sub(1) else { continue };
                    let there = self.places_deep(self.end(*stage), path, depth);
                    let inside = there.iter().filter_map(|place| place.strip_prefix(from).ok());
                    places.extend(inside.map(|inside| tidy(&entry.to, inside)));
                }
                Origin::Text(_) | Origin::Elsewhere => {}
            }
        }
        places
    }

    /// The names that are put into the folder `folder`, as far as they are known.
    pub(super) fn names(&self, point: Point, folder: &Utf8Path) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for entry in self.entries_before(point) {
            let inside = below(folder, &entry.to);
            let own = entry.to.file_name().filter(|_| is_in(&entry.to, folder));
            if inside.is_none() && own.is_none() {
                continue;
            }
            let is_place = inside.is_some_and(|inside| inside.as_str().is_empty());
            for from in &entry.from {
                match (from, inside) {
                    (Origin::Context(from, Found::Folder), Some(inside)) => {
                        let inside = tidy(from, inside);
                        let gets_in = |name: &String| self.context.find(&inside.join(name)) != Found::Ignored;
                        names.extend(self.context.names(&inside).into_iter().filter(gets_in));
                    }
                    (Origin::Context(_, Found::Nothing | Found::Ignored) | Origin::Elsewhere, _) => {}
                    (Origin::Context(_, Found::Folder), None) => names.extend(own.map(str::to_owned)),
                    (Origin::Context(from, _) | Origin::Stage(_, from), _) if entry.into && is_place => {
                        names.extend(from.file_name().map(str::to_owned));
                    }
                    (Origin::Text(name), _) if entry.into && is_place => drop(names.insert(name.clone())),
                    _ if !entry.into => names.extend(own.map(str::to_owned)),
                    _ => {}
                }
            }
        }
        names
    }

    /// The places that something is put to: what the image's own files lie at or below.
    pub(super) fn roots(&self, point: Point) -> BTreeSet<&Utf8Path> {
        self.entries_before(point).map(|entry| entry.to.as_path()).collect()
    }
}

fn presence(found: Found) -> Presence {
    match found {
        Found::Nothing => Presence::Missing,
        Found::Ignored => Presence::Ignored,
        Found::File | Found::Folder => Presence::Here,
    }
}

/// What leads from `folder` to `path`, both absolute and tidy. Asked for each path that is named and each thing that is
/// copied, so it compares the bytes and not the components.
fn below<'p>(path: &'p Utf8Path, folder: &Utf8Path) -> Option<&'p Utf8Path> {
    let rest = path.as_str().strip_prefix(folder.as_str().trim_end_matches('/'))?;
    if rest.is_empty() { Some(Utf8Path::new("")) } else { rest.strip_prefix('/').map(Utf8Path::new) }
}

/// Whether `path` lies in `folder` itself.
fn is_in(path: &Utf8Path, folder: &Utf8Path) -> bool {
    below(path, folder).is_some_and(|rest| !rest.as_str().is_empty() && !rest.as_str().contains('/'))
}

fn tidy(folder: &Utf8Path, below: &Utf8Path) -> Utf8PathBuf {
    if below.as_str().is_empty() { folder.to_owned() } else { folder.join(below) }
}

fn text(word: Option<&Word>) -> &str {
    word.map_or("", |word| word.text.as_str())
}

/// What a COPY or ADD puts where.
fn entries(instruction: &Instruction, file: &Dockerfile, context: &Context) -> Vec<Entry> {
    let Some((from, to)) = instruction.copies() else { return Vec::new() };
    let texts = &instruction.heredocs;
    let place = if to.known { join(&instruction.workdir, &to.text) } else { WORKDIR_OF_BASE.into() };
    let is_folder = to.text.ends_with('/') || matches!(to.text.as_str(), "." | "..") || from.len() + texts.len() > 1;
    let mut all = Vec::new();
    for text in texts {
        let from = Origin::Text(text.name.clone());
        all.push(Entry { from: vec![from], to: place.clone(), into: is_folder });
    }
    for source in from {
        let mut add = |from: Vec<Origin>, to: &Utf8Path, into: bool| all.push(Entry { from, to: to.to_owned(), into });
        if !source.known || is_remote(&source.text) || !to.known {
            add(vec![Origin::Elsewhere], &place, is_folder);
            continue;
        }
        if let Some(name) = instruction.flag("from") {
            let path = join("/".into(), &source.text);
            match file.stage(&name.text).filter(|_| name.known && !is_pattern(&source.text)) {
                Some(stage) => add(vec![Origin::Stage(stage, path)], &place, is_folder),
                None => add(vec![Origin::Elsewhere], &place, is_folder),
            }
            continue;
        }
        if instruction.keyword == "ADD" && is_archive(&source.text) {
            add(vec![Origin::Elsewhere], &place, true);
            continue;
        }
        let path = Context::clean(&source.text);
        if context.may_be_made(&path) {
            add(vec![Origin::Elsewhere], &place, is_folder);
            continue;
        }
        let pattern = is_pattern(path.as_str());
        let found = if pattern { context.glob(&path) } else { vec![path] };
        let into = is_folder || found.len() > 1;
        let origins = found.into_iter().map(|path| {
            let there = context.find(&path);
            Origin::Context(path, there)
        });
        if instruction.flag("parents").is_none() {
            add(origins.collect(), &place, into);
            continue;
        }
        for origin in origins {
            let Origin::Context(path, _) = &origin else { continue };
            let to = join(&place, path.parent().unwrap_or(Utf8Path::new("")));
            add(vec![origin], &to, true);
        }
    }
    all
}

/// What is mounted for a RUN.
fn mounted(run: &Instruction, file: &Dockerfile, context: &Context) -> Vec<Entry> {
    let bound = run.mounts().into_iter().filter(|mount| mount.kind == "bind");
    let entry = |mount: crate::dockerfile::Mount| {
        let known = mount.source.known && mount.target.known;
        let stage = mount.from.as_ref().map(|from| file.stage(&from.text).filter(|_| from.known));
        let from = match stage {
            _ if !known => Origin::Elsewhere,
            None => {
                let path = Context::clean(&mount.source.text);
                let found = context.find(&path);
                if context.may_be_made(&path) { Origin::Elsewhere } else { Origin::Context(path, found) }
            }
            Some(Some(stage)) => Origin::Stage(stage, join("/".into(), &mount.source.text)),
            Some(None) => Origin::Elsewhere,
        };
        Entry { from: vec![from], to: join(&run.workdir, &mount.target.text), into: false }
    };
    bound.map(entry).collect()
}

/// Whether ADD fetches it: an address, or a repository of git.
pub(super) fn is_remote(source: &str) -> bool {
    let of_git = source.starts_with("git@") || source.starts_with("git://");
    let is_scp = || {
        let (user, host) = source.split_once('@').unwrap_or(("", source));
        !user.is_empty() && !user.contains('/') && host.contains(':')
    };
    source.contains("://") || of_git || is_scp()
}

/// Whether ADD unpacks it.
fn is_archive(source: &str) -> bool {
    let endings =
        [".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.Z"];
    endings.iter().any(|ending| source.ends_with(ending))
}
