//! `images/setup.yaml`: every version, and every piece with the way to it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

/// The file, relative to the workspace.
pub const FILE: &str = "images/setup.yaml";

/// All of `images/setup.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The one place where versions are pinned.
    pub versions: BTreeMap<String, String>,
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
    /// The script that makes it from packages.
    pub recipe: Utf8PathBuf,
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
    /// Disk that making it takes, in MB.
    #[serde(default)]
    pub disk_mb: u64,
    /// How long its recipe takes on two cores, in seconds.
    #[serde(default)]
    pub seconds: u64,
}

/// Where one finished program can be had; versions, `{os}` and `{arch}` are filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    pub url: String,
    /// A file that starts with the program's SHA-256 in hex.
    pub sha256_url: String,
    /// What the program is called below the piece's folder.
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
                (piece.kind == Kind::Image) == piece.replaces.is_some(),
                "the piece `{name}`: an image has `replaces`, and files have not"
            );
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

    /// The piece that stands in for the image `reference`, if one does.
    pub fn stand_in_for(&self, reference: &str) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.replaces.as_deref() == Some(reference))
    }
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
