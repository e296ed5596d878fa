//! `images/setup.yaml`: every version, and every piece with the way to it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::embedded;
use super::ends::{self, Ends};
use crate::error::WrongUsage;

pub use super::embedded::FILE;

/// All of `images/setup.yaml`.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The one place where versions are pinned.
    pub versions: BTreeMap<String, String>,
    /// The other versions of Kubernetes that there are, and what goes with each.
    #[serde(default)]
    pub kubernetes: BTreeMap<String, Others>,
    /// Until when versions are mended.
    #[serde(default)]
    pub ends: Ends,
    /// The oldest version of a tool that recipes work with, such as `1.24`.
    #[serde(default)]
    pub oldest: BTreeMap<String, String>,
    /// The Debian packages of podman and of what it works with.
    pub engine_packages: Vec<String>,
    pub pieces: Vec<Piece>,
    /// Whether it is this program's own, for the project has none.
    #[serde(skip)]
    pub is_embedded: bool,
}

/// What goes with another version of Kubernetes, in place of what the catalog says elsewhere.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Others {
    pub versions: BTreeMap<String, String>,
    /// Digests of images, by piece.
    pub digest: BTreeMap<String, String>,
    /// Checksums of downloads, by piece and `os-arch`.
    pub sha256: BTreeMap<String, BTreeMap<String, String>>,
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
    /// Reads the catalog of the workspace `root`, or where it has none that which this program was compiled with, and
    /// fills in versions.
    ///
    /// # Errors
    /// When it does not parse, or names what it does not list; with the file and, where the parser
    /// knows it, the line.
    pub fn read(root: &Utf8Path) -> Result<Catalog> {
        Catalog::read_for(root, None)
    }

    /// As [`Catalog::read`], with another version of Kubernetes, and with what goes with it: `v1.36.4`, `1.36.4` or
    /// `1.36`.
    ///
    /// # Errors
    /// As [`Catalog::read`]; also when the catalog does not have that version: [`WrongUsage`].
    pub fn read_for(root: &Utf8Path, kubernetes: Option<&str>) -> Result<Catalog> {
        let path = root.join(FILE);
        let (text, is_embedded) = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (embedded::catalog()?.to_owned(), true),
            text => (text.with_context(|| format!("reading {path}"))?, false),
        };
        let mut read: Catalog = serde_yaml::from_str(&text).with_context(|| format!("reading {FILE}"))?;
        read.is_embedded = is_embedded;
        let mut chosen = read.clone().completed().with_context(|| format!("reading {FILE}"))?;
        read.check_others().with_context(|| format!("reading {FILE}"))?;
        for version in read.kubernetes.keys() {
            let with = read.clone().with_kubernetes(version).completed();
            let with = with.with_context(|| format!("reading {FILE}: Kubernetes {version}"))?;
            if kubernetes.is_some_and(|wanted| is_version(version, wanted)) {
                chosen = with;
            }
        }
        let found = chosen.versions.get("kubernetes").map(String::as_str).unwrap_or_default();
        match kubernetes.filter(|wanted| !is_version(found, wanted)) {
            None => Ok(chosen),
            Some(wanted) => {
                let file = chosen.file();
                let others = read.kubernetes.keys().rev().map(String::as_str);
                let there: Vec<&str> = std::iter::once(found).chain(others).collect();
                bail!(WrongUsage(format!("{file} has no Kubernetes {wanted}; it has {}", there.join(", "))))
            }
        }
    }

    #[cfg(test)]
    fn parse(text: &str) -> Result<Catalog> {
        serde_yaml::from_str::<Catalog>(text)?.completed()
    }

    /// With another version of Kubernetes, where there is that one, and what goes with it.
    fn with_kubernetes(mut self, version: &str) -> Catalog {
        let Some(others) = self.kubernetes.get(version).cloned() else { return self };
        self.versions.insert("kubernetes".to_owned(), version.to_owned());
        self.versions.extend(others.versions);
        for piece in &mut self.pieces {
            if let Some(digest) = others.digest.get(&piece.name) {
                piece.digest = Some(digest.clone());
            }
            if let (Some(download), Some(sums)) = (&mut piece.download, others.sha256.get(&piece.name)) {
                download.sha256.clone_from(sums);
            }
        }
        self
    }

    /// Fails where another version of Kubernetes names what there is not, or leaves out what is another one with it.
    fn check_others(&self) -> Result<()> {
        for (version, others) in &self.kubernetes {
            let unknown = others.versions.keys().find(|name| !self.versions.contains_key(*name));
            ensure!(unknown.is_none(), "Kubernetes {version}: {unknown:?} is not among `versions`");
            for name in others.digest.keys().chain(others.sha256.keys()) {
                self.piece(name).with_context(|| format!("Kubernetes {version}"))?;
            }
            for piece in self.pieces.iter().filter(|piece| piece.versions.iter().any(|name| name == "kubernetes")) {
                let name = &piece.name;
                ensure!(
                    piece.digest.is_none() || others.digest.contains_key(name),
                    "Kubernetes {version} has no `digest` of the piece `{name}`"
                );
                ensure!(
                    piece.download.is_none() || others.sha256.contains_key(name),
                    "Kubernetes {version} has no `sha256` of the piece `{name}`"
                );
            }
        }
        Ok(())
    }

    /// Checks it, and fills in versions.
    fn completed(self) -> Result<Catalog> {
        let mut catalog = self;
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

    /// What people know it by.
    pub fn file(&self) -> String {
        if self.is_embedded { format!("this program's own {FILE}") } else { FILE.to_owned() }
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
                bail!("{} lists no piece `{name}`; it has {}", self.file(), names.join(", "))
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

/// Whether `wanted`, as somebody types it, means this version: `1.36` and `1.36.4` mean `v1.36.4`.
fn is_version(version: &str, wanted: &str) -> bool {
    let bare = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    let (version, wanted) = (bare(version), bare(wanted));
    version.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || (rest.starts_with('.') && wanted.contains('.')))
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

    /// A catalog in a folder, as a file that is read.
    fn written(text: &str) -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        std::fs::create_dir(root.join("images")).unwrap();
        std::fs::write(root.join(FILE), text).unwrap();
        (dir, root)
    }

    const TWO: &str = "
versions: { kubernetes: v1.37.0, etcd: v3.7.0 }
kubernetes:
  v1.36.4: { versions: { etcd: v3.6.8 }, digest: { node: 'sha256:BBB' }, sha256: { kubectl: { linux-amd64: BBB } } }
engine_packages: []
pieces:
  - { name: etcd, kind: files, about: a, recipe: r, versions: [etcd] }
  - { name: node, kind: image, about: a, recipe: r, versions: [kubernetes], needs: [etcd],
      replaces: 'docker.io/kindest/node:{kubernetes}', digest: 'sha256:AAA' }
  - { name: kubectl, kind: files, about: a, recipe: r, versions: [kubernetes],
      download: { url: 'https://x/{kubernetes}/kubectl', sha256: { linux-amd64: AAA }, to: bin/kubectl } }
";

    #[test]
    fn another_version_of_kubernetes_brings_what_goes_with_it() {
        let text = TWO.replace("AAA", &"a".repeat(64)).replace("BBB", &"b".repeat(64));
        let (_dir, root) = written(&text);
        for (wanted, version, etcd, sum) in [
            (None, "v1.37.0", "v3.7.0", "a"),
            (Some("1.37"), "v1.37.0", "v3.7.0", "a"),
            (Some("v1.37.0"), "v1.37.0", "v3.7.0", "a"),
            (Some("1.36"), "v1.36.4", "v3.6.8", "b"),
            (Some("1.36.4"), "v1.36.4", "v3.6.8", "b"),
            (Some("v1.36.4"), "v1.36.4", "v3.6.8", "b"),
        ] {
            let catalog = Catalog::read_for(&root, wanted).unwrap();
            assert_eq!(catalog.versions["etcd"], etcd, "{wanted:?}");
            let node = catalog.piece("node").unwrap();
            assert_eq!(node.replaces.as_deref(), Some(format!("docker.io/kindest/node:{version}").as_str()));
            assert_eq!(node.digest.as_deref(), Some(format!("sha256:{}", sum.repeat(64)).as_str()));
            let kubectl = catalog.source(catalog.piece("kubectl").unwrap(), "linux", "amd64").unwrap().unwrap();
            assert_eq!((kubectl.url, kubectl.sha256), (format!("https://x/{version}/kubectl"), sum.repeat(64)));
        }
        for wanted in ["1.3", "1", "1.36.3", "1.37.01", "", "latest"] {
            let error = Catalog::read_for(&root, Some(wanted)).unwrap_err();
            assert!(error.is::<WrongUsage>(), "{wanted:?}");
            let said = error.to_string();
            assert!(said.contains(&format!("no Kubernetes {wanted}; it has v1.37.0, v1.36.4")), "{said}");
        }
    }

    #[test]
    fn what_does_not_go_with_another_version_is_an_error_that_names_it() {
        for (from, to, names) in [
            ("versions: { etcd: v3.6.8 }", "versions: { etdc: v3.6.8 }", "etdc"),
            ("digest: { node:", "digest: { nodes:", "nodes"),
            ("digest: { node: 'sha256:BBB' }, ", "", "no `digest` of the piece `node`"),
            (", sha256: { kubectl: { linux-amd64: BBB } }", "", "no `sha256` of the piece `kubectl`"),
            ("linux-amd64: BBB", "linux-amd64: CCC", "Kubernetes v1.36.4: the piece `kubectl`: the SHA-256"),
            ("digest: { node: 'sha256:BBB'", "digests: { node: 'sha256:BBB'", "digests"),
        ] {
            let text = TWO.replacen(from, to, 1).replace("AAA", &"a".repeat(64)).replace("BBB", &"b".repeat(64));
            let (_dir, root) = written(&text);
            let error = format!("{:#}", Catalog::read(&root).unwrap_err());
            assert!(error.contains(names), "{names:?} is missing in {error:?}");
        }
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
        let root = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let others = Catalog::read(root).unwrap().kubernetes;
        assert!(!others.is_empty(), "`--kubernetes` has nothing to choose from");
        for version in std::iter::once(None).chain(others.keys().map(|version| Some(version.as_str()))) {
            let catalog = Catalog::read_for(root, version).unwrap();
            for piece in catalog.pieces.iter().filter(|piece| piece.download.is_some()) {
                for (os, arch) in [("linux", "amd64"), ("linux", "arm64"), ("macos", "amd64"), ("macos", "arm64")] {
                    let source = catalog.source(piece, os, arch).unwrap();
                    assert!(source.is_some(), "{} for {os}-{arch}, {version:?}", piece.name);
                }
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
