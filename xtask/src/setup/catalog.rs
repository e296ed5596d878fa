//! `images/setup.yaml`: every version, and every piece with the way to it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::ends::{self, Ends};

/// The file, relative to the workspace.
pub const FILE: &str = "images/setup.yaml";

/// All of `images/setup.yaml`.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The one place where versions are pinned.
    pub versions: BTreeMap<String, String>,
    /// Until when versions are mended.
    #[serde(default)]
    pub ends: Ends,
    /// The oldest version of a tool that recipes work with, such as `1.24`.
    #[serde(default)]
    pub oldest: BTreeMap<String, String>,
    /// The Debian packages of podman and of what it works with.
    pub engine_packages: Vec<String>,
    pub pieces: Vec<Piece>,
}

/// What a piece becomes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A folder in the cache.
    Files,
    /// An image in the engine.
    Image,
}

/// One thing that can be put in place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub name: String,
    pub kind: Kind,
    /// What it is, in one line for people.
    pub about: String,
    /// The script that makes it from packages; none where only its publisher can make it.
    pub recipe: Option<Utf8PathBuf>,
    /// Files and folders whose content goes into it.
    #[serde(default)]
    pub inputs: Vec<Utf8PathBuf>,
    /// The versions that go into it.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Other pieces that its recipe needs.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Programs that its recipe needs on PATH.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Debian packages that its recipe needs on this machine.
    #[serde(default)]
    pub packages: Vec<String>,
    /// For an image: the public reference that it stands in for, and is tagged as.
    pub replaces: Option<String>,
    /// The digest that the public reference is pulled by.
    pub digest: Option<String>,
    /// For files: where a finished program can be had.
    pub download: Option<Download>,
    /// The only operating systems that what the recipe makes runs on; none for the machine's own, whichever it is.
    #[serde(default)]
    pub only_on: Vec<String>,
    /// Disk that making it takes, in MB.
    #[serde(default)]
    pub disk_mb: u64,
    /// Disk that what is published takes, in MB.
    #[serde(default)]
    pub fetch_mb: u64,
    /// How long its recipe takes on two cores, in seconds.
    #[serde(default)]
    pub seconds: u64,
}

/// Where one finished program can be had; versions, `{os}` and `{arch}` are filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    pub url: String,
    /// What `{file}` stands for in the address, by `os-arch`, where names follow no rule.
    #[serde(default)]
    pub file: BTreeMap<String, String>,
    /// The file's SHA-256 in hex, by `os-arch`. Where there is none, the program is not to be had for that machine.
    pub sha256: BTreeMap<String, String>,
    /// What Python's pip calls the file, where that is a wheel: it knows of indexes and proxies that nobody else knows.
    pub pip: Option<String>,
    /// Whether the file is a zip, as a wheel is, whose content becomes the piece.
    #[serde(default)]
    pub unzip: bool,
    /// What the program is called below the piece's folder.
    pub to: Utf8PathBuf,
}

/// One file that is to be had for this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub url: String,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
    /// What pip calls it, if it has it.
    pub pip: Option<String>,
    /// Whether it is a zip with the program inside.
    pub unzip: bool,
    /// What it is called below the piece's folder.
    pub to: Utf8PathBuf,
}

impl Catalog {
    /// Reads the catalog of the workspace `root`, and fills in versions.
    ///
    /// # Errors
    /// When it does not parse, or names what it does not list; with the file and, where the parser
    /// knows it, the line.
    pub fn read(root: &Utf8Path) -> Result<Catalog> {
        let path = root.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Catalog::parse(&text).with_context(|| format!("reading {FILE}"))
    }

    fn parse(text: &str) -> Result<Catalog> {
        let mut catalog: Catalog = serde_yaml::from_str(text)?;
        ends::check(&catalog.ends, &catalog.versions)?;
        let mut seen = BTreeSet::new();
        for piece in &mut catalog.pieces {
            let name = &piece.name;
            ensure!(seen.insert(name.clone()), "the piece `{name}` is listed twice");
            for version in &piece.versions {
                ensure!(
                    catalog.versions.contains_key(version),
                    "the piece `{name}` names the version `{version}`, which is not among `versions`"
                );
            }
            ensure!(
                piece.recipe.is_some() || piece.download.is_some(),
                "the piece `{name}` has neither a recipe nor a download"
            );
            ensure!(
                (piece.kind == Kind::Image) == piece.replaces.is_some(),
                "the piece `{name}`: an image has `replaces`, and files have not"
            );
            for (machine, sum) in piece.download.iter().flat_map(|download| &download.sha256) {
                ensure!(is_sha256(sum), "the piece `{name}`: the SHA-256 for {machine} is not 64 digits of 0-9a-f");
            }
            if let Some(digest) = &piece.digest {
                let sum = digest.strip_prefix("sha256:");
                ensure!(sum.is_some_and(is_sha256), "the piece `{name}`: a digest is sha256: and 64 digits of 0-9a-f");
            }
            if let Some(replaces) = &mut piece.replaces {
                *replaces = fill(replaces, &catalog.versions).with_context(|| format!("the piece `{name}`"))?;
            }
        }
        for piece in &catalog.pieces {
            for need in &piece.needs {
                ensure!(seen.contains(need), "the piece `{}` needs `{need}`, which is not listed", piece.name);
            }
        }
        for piece in &catalog.pieces {
            catalog.check_acyclic(&piece.name, &mut Vec::new())?;
        }
        Ok(catalog)
    }

    fn check_acyclic<'a>(&'a self, name: &'a str, way: &mut Vec<&'a str>) -> Result<()> {
        ensure!(!way.contains(&name), "pieces need each other in a circle: {} → {name}", way.join(" → "));
        way.push(name);
        for need in &self.piece(name)?.needs {
            self.check_acyclic(need, way)?;
        }
        way.pop();
        Ok(())
    }

    /// The piece of that name.
    ///
    /// # Errors
    /// When there is none; names those that there are.
    pub fn piece(&self, name: &str) -> Result<&Piece> {
        match self.pieces.iter().find(|piece| piece.name == name) {
            Some(piece) => Ok(piece),
            None => {
                let names: Vec<&str> = self.pieces.iter().map(|piece| piece.name.as_str()).collect();
                bail!("{FILE} lists no piece `{name}`; it has {}", names.join(", "))
            }
        }
    }

    /// Where the file of `piece` is to be had for a machine of this kind; none where it is published nowhere, or no
    /// checksum of it is known.
    ///
    /// # Errors
    /// When its address names an unknown version.
    pub fn source(&self, piece: &Piece, os: &str, arch: &str) -> Result<Option<Source>> {
        let Some(download) = &piece.download else { return Ok(None) };
        // As Go calls it, and whoever publishes programs.
        let os = if os == "macos" { "darwin" } else { os };
        let machine = format!("{os}-{arch}");
        let Some(sha256) = download.sha256.get(&machine) else { return Ok(None) };
        let mut names = self.versions.clone();
        names.extend([("os", os), ("arch", arch)].map(|(name, value)| (name.to_owned(), value.to_owned())));
        names.extend(download.file.get(&machine).map(|file| ("file".to_owned(), file.clone())));
        let filled = |text: &str| fill(text, &names).with_context(|| format!("the piece `{}`", piece.name));
        Ok(Some(Source {
            url: filled(&download.url)?,
            sha256: sha256.clone(),
            pip: download.pip.as_deref().map(filled).transpose()?,
            unzip: download.unzip,
            to: filled(download.to.as_str())?.into(),
        }))
    }

    /// The piece that stands in for the image `reference`, if one does.
    pub fn stand_in_for(&self, reference: &str) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.replaces.as_deref() == Some(reference))
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Replaces each `{name}` by that version.
///
/// # Errors
/// When one of them is not among `versions`.
pub fn fill(text: &str, versions: &BTreeMap<String, String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) =
            after.split_once('}').with_context(|| format!("{text:?} has a brace that does not close"))?;
        out.push_str(before);
        out.push_str(
            versions
                .get(name)
                .with_context(|| format!("{text:?} names the version `{name}`, which is not among `versions`"))?,
        );
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
versions: { redis: '7.2' }
engine_packages: [podman]
pieces:
  - { name: base, kind: image, about: a, recipe: r, replaces: 'docker.io/library/debian:x' }
  - { name: redis, kind: image, about: a, recipe: r, needs: [base], versions: [redis], replaces: 'docker.io/library/redis:{redis}' }
";

    #[test]
    fn versions_are_filled_in() {
        let catalog = Catalog::parse(GOOD).unwrap();
        assert_eq!(catalog.stand_in_for("docker.io/library/redis:7.2").unwrap().name, "redis");
        assert!(catalog.stand_in_for("docker.io/library/redis:8").is_none());
    }

    #[test]
    fn without_a_checksum_for_the_machine_a_file_is_not_to_be_had() {
        let sum = "a".repeat(64);
        let text = format!(
            "
versions: {{ tool: v1 }}
engine_packages: []
pieces:
  - name: tool
    kind: files
    about: a
    recipe: r
    download: {{ url: 'https://x/{{tool}}/{{os}}-{{arch}}', sha256: {{ darwin-arm64: {sum} }}, to: bin/tool }}
"
        );
        let catalog = Catalog::parse(&text).unwrap();
        let tool = catalog.piece("tool").unwrap();
        assert_eq!(catalog.source(tool, "linux", "arm64").unwrap(), None);
        let url = catalog.source(tool, "macos", "arm64").unwrap().map(|source| source.url);
        assert_eq!(url.as_deref(), Some("https://x/v1/darwin-arm64"));
        let error = Catalog::parse(&text.replace(&sum, "abc")).unwrap_err().to_string();
        assert!(error.contains("SHA-256 for darwin-arm64"), "{error}");
    }

    /// Whatever the project's own file says can be downloaded is pinned for every kind of machine it is used on.
    #[test]
    fn every_download_of_this_project_is_pinned_for_four_kinds_of_machine() {
        let catalog = Catalog::read(Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
        for piece in catalog.pieces.iter().filter(|piece| piece.download.is_some()) {
            for (os, arch) in [("linux", "amd64"), ("linux", "arm64"), ("macos", "amd64"), ("macos", "arm64")] {
                assert!(catalog.source(piece, os, arch).unwrap().is_some(), "{} for {os}-{arch}", piece.name);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_it() {
        for (from, to, names) in [
            ("needs: [base]", "needs: [bass]", "bass"),
            ("versions: [redis]", "versions: [rediss]", "rediss"),
            ("name: redis", "name: base", "twice"),
            ("recipe: r, needs", "recipes: r, needs", "recipes"),
            ("{redis}'", "{radish}'", "radish"),
            ("recipe: r, replaces", "recipe: r, needs: [redis], replaces", "circle"),
        ] {
            let error = format!("{:#}", Catalog::parse(&GOOD.replacen(from, to, 1)).unwrap_err());
            assert!(error.contains(names), "{names:?} is missing in {error:?}");
        }
    }
}
