//! Which folder each Dockerfile is built in: as a recipe of the project says it, else the nearest one upwards that has
//! what the Dockerfile copies.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::builds::Build;
use super::tree::{Tree, within};
use crate::check::Built;
use crate::check::context::{Context, Found};
use crate::check::layout::is_remote;
use crate::dockerfile::pattern::is_pattern;
use crate::suite::Image;

/// Endings of what people write, and no step makes.
const WRITTEN: [&str; 30] = [
    "bash",
    "c",
    "cc",
    "cfg",
    "conf",
    "config",
    "cpp",
    "csproj",
    "fsproj",
    "go",
    "gradle",
    "h",
    "ini",
    "java",
    "kt",
    "mod",
    "php",
    "properties",
    "proto",
    "ps1",
    "py",
    "rb",
    "rs",
    "sh",
    "sln",
    "sql",
    "toml",
    "ts",
    "yaml",
    "yml",
];
/// Folders that builds make.
const MADE: [&str; 16] = [
    "_output",
    "artifacts",
    "bazel-bin",
    "bin",
    "binaries",
    "build",
    "coverage",
    "dist",
    "node_modules",
    "obj",
    "out",
    "output",
    "publish",
    "release",
    "releases",
    "target",
];

/// A build that a Dockerfile is looked at as.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) image: Image,
    /// Who says so; none where the folder was guessed.
    pub(super) said: Option<(Utf8PathBuf, usize)>,
    /// All that it is called.
    pub(super) images: Vec<String>,
}

/// The builds of each Dockerfile: those that recipes tell, one for each context and target, else a guess.
pub(super) fn choose(tree: &Tree, dockerfiles: &[Utf8PathBuf], builds: &[Build]) -> Vec<Chosen> {
    let mut by_file: BTreeMap<&Utf8Path, Vec<&Build>> = BTreeMap::new();
    for build in builds {
        by_file.entry(&build.dockerfile).or_default().push(build);
    }
    let mut all = Vec::new();
    for dockerfile in dockerfiles {
        let told = by_file.get(dockerfile.as_path()).map(Vec::as_slice).unwrap_or_default();
        let mut seen = BTreeSet::new();
        for build in told {
            if seen.insert((&build.context, &build.target)) {
                let same =
                    told.iter().filter(|other| (&other.context, &other.target) == (&build.context, &build.target));
                let images = same.flat_map(|other| other.images.iter().cloned()).collect::<BTreeSet<_>>();
                // Values that are not always the same are not known.
                let mut args = build.args.clone();
                args.retain(|name, value| told.iter().all(|other| other.args.get(name) == Some(value)));
                all.push(Chosen {
                    image: image(dockerfile, &build.context, build.target.clone(), args),
                    said: Some((build.file.clone(), build.line)),
                    images: images.into_iter().collect(),
                });
            }
        }
        if told.is_empty() {
            let context = guess(tree, dockerfile);
            all.push(Chosen {
                image: image(dockerfile, &context, None, BTreeMap::new()),
                said: None,
                images: Vec::new(),
            });
        }
    }
    all
}

pub(super) fn image(
    dockerfile: &Utf8Path,
    context: &Utf8Path,
    target: Option<String>,
    args: BTreeMap<String, String>,
) -> Image {
    Image {
        name: dockerfile.to_string(),
        dockerfile: dockerfile.to_owned(),
        context: if context.as_str().is_empty() { ".".into() } else { context.to_owned() },
        target,
        args,
        reference: String::new(),
        package: None,
        packages: Vec::new(),
        stage: None,
        phase: String::new(),
    }
}

/// The folder upwards from the Dockerfile in which the most of what it copies is there, or is but for a slip; of several
/// the nearest.
fn guess(tree: &Tree, dockerfile: &Utf8Path) -> Utf8PathBuf {
    let own = dockerfile.parent().unwrap_or(Utf8Path::new(""));
    let Some(text) = tree.text(dockerfile) else { return own.to_owned() };
    let missing = |folder: &Utf8Path| {
        let image = image(dockerfile, folder, None, BTreeMap::new());
        let built = Built::new(&tree.root, &image, 0, text.clone());
        let missing = |path: &Utf8PathBuf| presence(&built.context, path) != Found::File;
        let missing: Vec<Utf8PathBuf> = sources(&built).into_iter().filter(missing).collect();
        let slips = missing.iter().filter(|path| !built.context.slips_of(path).is_empty()).count();
        (missing.len(), missing.len() - slips)
    };
    own.ancestors().min_by_key(|folder| missing(folder)).unwrap_or(own).to_owned()
}

/// What the Dockerfile takes from the context, as far as it is known: paths relative to it. Of what stands in a variable
/// only the build knows the value.
pub(super) fn sources(built: &Built<'_>) -> Vec<Utf8PathBuf> {
    let mut all = Vec::new();
    for instruction in built.instructions() {
        if let Some((from, _)) = instruction.copies()
            && instruction.flag("from").is_none()
        {
            let stands = |text: &&str| instruction.text.contains(*text);
            let texts = from.into_iter().filter(|word| word.known).map(|word| word.text.as_str());
            all.extend(texts.filter(|text| !is_remote(text)).filter(stands).map(Context::clean));
        }
        let mounts = instruction.mounts().into_iter().filter(|mount| mount.kind == "bind" && mount.from.is_none());
        all.extend(mounts.filter(|mount| mount.source.known).map(|mount| Context::clean(&mount.source.text)));
    }
    all
}

/// Whether something is at `path`, a file or a folder alike, and gets in.
fn presence(context: &Context, path: &Utf8Path) -> Found {
    let one = |path: &Utf8Path| match context.find(path) {
        Found::Folder => Found::File,
        found => found,
    };
    if !is_pattern(path.as_str()) {
        return one(path);
    }
    let all: Vec<Found> = context.glob(path).iter().map(|path| one(path)).collect();
    all.iter().copied().find(|found| *found == Found::File).or(all.first().copied()).unwrap_or(Found::Nothing)
}

/// The sources that are not in the tree and that a step before the build may make: all but slips of what is there, and
/// files of a kind that people write, in a folder that people write to.
pub(super) fn made_before(
    tree: &Tree,
    built: &Built<'_>,
    is_said: bool,
    mentioned: &dyn Fn(&str) -> bool,
) -> BTreeSet<Utf8PathBuf> {
    let sources = sources(built);
    let gone = |path: &&Utf8PathBuf| presence(&built.context, path) == Found::Nothing;
    let missing: Vec<&Utf8PathBuf> = sources.iter().filter(gone).collect();
    let count = |wanted: Found| sources.iter().filter(|path| presence(&built.context, path) == wanted).count();
    // The whole context is everywhere.
    let trivial = sources.iter().filter(|path| path.as_str().is_empty()).count();
    let is_sure = is_said || count(Found::File) > trivial;
    let context = within("".into(), built.image.context.as_str()).unwrap_or_default();
    let slips: Vec<Option<Utf8PathBuf>> =
        missing.iter().map(|path| built.context.slips_of(path).into_iter().next()).collect();
    let asked: Vec<Utf8PathBuf> =
        missing.iter().copied().chain(slips.iter().flatten()).map(|path| context.join(path)).collect();
    let ignored = tree.ignored(&asked);
    let is_ignored = |path: &Utf8Path| ignored.contains(&context.join(path));
    let is_written = |path: &Utf8Path| {
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        path.extension().is_some_and(|ending| WRITTEN.contains(&ending)) && built.context.find(folder) == Found::Folder
    };
    let is_judged = |path: &Utf8Path, slip_of: Option<&Utf8PathBuf>| {
        let name = path.file_name().unwrap_or_default();
        let is_made = || path.components().any(|part| MADE.contains(&part.as_str()));
        if is_pattern(path.as_str()) || mentioned(name) {
            return false;
        }
        match slip_of {
            // What is there although git would ignore it tells nothing of what it ignores.
            Some(right) => !is_ignored(path) || is_ignored(right),
            None => is_sure && is_written(path) && !is_made() && !is_ignored(path),
        }
    };
    let is_all = missing.is_empty();
    let pairs = missing.iter().zip(&slips);
    let not_judged = pairs.filter(|(path, slip_of)| !is_judged(path, slip_of.as_ref()));
    let mut made: BTreeSet<Utf8PathBuf> = not_judged.map(|(path, _)| (*path).clone()).collect();
    // In another folder the ignore file would be another one.
    if !(is_said || (is_all && is_sure)) {
        made.extend(sources.iter().filter(|path| presence(&built.context, path) == Found::Ignored).cloned());
    }
    made.extend(named(built).filter(|path| !sources.contains(path)).filter(|path| gone(&path)));
    made
}

/// All that COPY and ADD take from the context with the values that variables have by default.
fn named(built: &Built<'_>) -> impl Iterator<Item = Utf8PathBuf> {
    let copies = built.instructions().filter(|instruction| instruction.flag("from").is_none());
    let words = copies.filter_map(|instruction| instruction.copies()).flat_map(|(from, _)| from);
    words.filter(|word| word.known && !is_remote(&word.text)).map(|word| Context::clean(&word.text))
}
