//! Brings an image into a node's containerd, moving only what the node does not have.
//!
//! `kind load` re-sends every layer every time. Here the image becomes an OCI archive that holds
//! only the blobs which the node's content store does not list; containerd finds the others by
//! their digest.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xshell::Shell;

use crate::cancel::Cancel;
use crate::engine::{Engine, Flavor};
use crate::process::{Ended, Job, ProcessError};

/// What a load has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Bytes of blobs that went into the node.
    pub moved_bytes: u64,
    /// Bytes of blobs that the node had already.
    pub kept_bytes: u64,
}

/// Loads the engine's image `reference` into the containerds of the running containers `nodes`, where it
/// is called `name`. What was moved and kept is told of all nodes together. `spool` is a folder of this image's own which speeds up the next load of it. How long it
/// may take is what the thread's [`crate::Meter`] says; each of its parts has [`crate::process::DEFAULT_DEADLINE`] at
/// most.
///
/// # Errors
/// When the engine cannot save the image, or the node's containerd does not take it.
pub fn load(
    engine: &Engine,
    nodes: &[impl AsRef<str> + Sync],
    reference: &str,
    name: &str,
    spool: &Utf8Path,
    log: &Utf8Path,
    cancel: &Cancel,
) -> Result<Loaded> {
    let image = Names { reference, name };
    std::fs::create_dir_all(spool).with_context(|| format!("making the folder {spool}"))?;
    let doing = || format!("loading the image {reference}");
    let saved = match engine.flavor() {
        Flavor::Podman => save_oci_dir(engine, image, spool, log, cancel).map(Saved::Folder),
        Flavor::Docker => save_archive(engine, image, spool, log, cancel).map(Saved::Archive),
    };
    let saved = saved.with_context(doing)?;
    let into = |node: &str| -> Result<Loaded> {
        let doing = || format!("loading the image {reference} into the node {node}");
        let has = node_blobs(engine, node).with_context(doing)?;
        saved.import(engine, node, image, &has, log, cancel).with_context(doing)
    };
    // One by one: what is imported is read from the same disk that all nodes write to.
    let loaded = nodes.iter().try_fold(Loaded::default(), |sum, node| {
        let Loaded { moved_bytes, kept_bytes } = into(node.as_ref())?;
        Ok(Loaded { moved_bytes: sum.moved_bytes + moved_bytes, kept_bytes: sum.kept_bytes + kept_bytes })
    });
    if let Saved::Archive(archive) = &saved {
        std::fs::remove_file(archive).with_context(|| format!("removing {archive}"))?;
    }
    loaded
}

/// An image as the engine has written it.
enum Saved {
    Folder(OciDir),
    Archive(Utf8PathBuf),
}

impl Saved {
    /// Moves what the node does not have.
    fn import(
        &self,
        engine: &Engine,
        node: &str,
        image: Names<'_>,
        has: &HashSet<String>,
        log: &Utf8Path,
        cancel: &Cancel,
    ) -> Result<Loaded> {
        let sh = Shell::new()?;
        let import = import(engine, &sh, node, log, cancel);
        match self {
            Self::Folder(dir) => {
                let (missing, kept): (Vec<_>, Vec<_>) = dir.layers.iter().partition(|blob| !has.contains(&blob.digest));
                let loaded = Loaded { moved_bytes: total(&missing), kept_bytes: total(&kept) };
                import
                    .feed(|stdin| {
                        let mut tar = tar::Builder::new(stdin);
                        append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
                        append(&mut tar, "index.json", &dir.index(image.name))?;
                        for blob in [&dir.manifest, &dir.config].into_iter().chain(missing) {
                            tar.append_path_with_name(dir.path(&blob.digest), dir.name(&blob.digest))?;
                        }
                        tar.finish()
                    })
                    .run()?;
                Ok(loaded)
            }
            Self::Archive(archive) => {
                let mut loaded = Loaded::default();
                import
                    .feed(|stdin| {
                        loaded = thin(File::open(archive)?, stdin, has, image)?;
                        Ok(())
                    })
                    .run()?;
                Ok(loaded)
            }
        }
    }
}

/// What an image is called.
#[derive(Clone, Copy)]
struct Names<'a> {
    /// In the engine.
    reference: &'a str,
    /// In the node.
    name: &'a str,
}

/// The digests (`sha256:…`) of all blobs in the node's content store.
fn node_blobs(engine: &Engine, node: &str) -> Result<HashSet<String>> {
    let sh = Shell::new()?;
    let list = engine.exec(&sh, node, false, &["ctr", "--namespace", "k8s.io", "content", "ls", "--quiet"]);
    let text = Job::new(list).deadline(Duration::from_secs(20)).read()?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

fn import<'sh>(engine: &Engine, sh: &'sh Shell, node: &str, log: &Utf8Path, cancel: &Cancel) -> Job<'sh> {
    // Unpacking is left to the kubelet's first use: another image may be on its way.
    let words = ["ctr", "--namespace", "k8s.io", "images", "import", "--no-unpack", "-"];
    Job::new(engine.exec(sh, node, true, &words)).log(log).cancel(cancel)
}

fn save_oci_dir(
    engine: &Engine,
    Names { reference, .. }: Names<'_>,
    spool: &Utf8Path,
    log: &Utf8Path,
    cancel: &Cancel,
) -> Result<OciDir> {
    let id = engine.image_id(reference)?.with_context(|| format!("{} has no such image", engine.flavor()))?;
    if let Err(error) = engine.save(reference, spool, log, cancel) {
        let ended = error.downcast_ref::<ProcessError>().map(|error| error.ended);
        if cancel.is_cancelled() || matches!(ended, Some(Ended::DeadlinePassed { .. })) {
            return Err(error);
        }
        // A save that was killed may have left a folder that the engine no longer takes.
        std::fs::remove_dir_all(spool).with_context(|| format!("emptying the folder {spool}"))?;
        engine.save(reference, spool, log, cancel)?;
    }
    let image = OciDir::read(spool, reference, &id)?;
    image.prune()?;
    Ok(image)
}

fn save_archive(
    engine: &Engine,
    image: Names<'_>,
    spool: &Utf8Path,
    log: &Utf8Path,
    cancel: &Cancel,
) -> Result<Utf8PathBuf> {
    engine.save(image.reference, spool, log, cancel)?;
    Ok(spool.join("image.tar"))
}

/// Copies an image archive without the blobs that the node has, and under the name that the image has
/// there. Archives of before docker 25, which are not laid out by digest, pass through whole.
fn thin(from: impl Read, to: &mut dyn Write, has: &HashSet<String>, image: Names<'_>) -> std::io::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut tar = tar::Builder::new(to);
    for entry in tar::Archive::new(from).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let size = entry.size();
        let lists = ["index.json", "manifest.json"].iter().any(|list| path == Path::new(list));
        if lists && image.reference != image.name {
            loaded.moved_bytes += size;
            let mut listed: Value = serde_json::from_reader(&mut entry).map_err(std::io::Error::from)?;
            rename(&mut listed, image);
            append(&mut tar, &path.to_string_lossy(), listed.to_string().as_bytes())?;
            continue;
        }
        let digest = path.strip_prefix("blobs/sha256").ok().map(|hex| format!("sha256:{}", hex.display()));
        if digest.is_some_and(|digest| has.contains(&digest)) {
            loaded.kept_bytes += size;
            continue;
        }
        loaded.moved_bytes += size;
        let mut header = entry.header().clone();
        tar.append_data(&mut header, path, entry)?;
    }
    tar.finish()?;
    Ok(loaded)
}

/// Gives the image its other name in a list of an archive's images. Engines write names out in full (`docker.io/…`), and
/// tags also alone.
fn rename(listed: &mut Value, image: Names<'_>) {
    let (Some(from), Some(to)) = (tag(image.reference), Some(tag(image.name).unwrap_or("latest"))) else { return };
    match listed {
        Value::String(text) if text == from => *text = to.to_owned(),
        Value::String(text) => {
            if let Some(repository) = text.strip_suffix(from).filter(|repository| repository.ends_with(':')) {
                *text = format!("{repository}{to}");
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, image)),
        Value::Object(map) => map.values_mut().for_each(|value| rename(value, image)),
        _ => {}
    }
}

/// The tag of a reference; none where it has none.
fn tag(reference: &str) -> Option<&str> {
    let name = reference.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag)
}

fn append(tar: &mut tar::Builder<&mut dyn Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes)
}

struct Blob {
    digest: String,
    size: u64,
}

impl Blob {
    fn read(descriptor: &Value) -> Result<Blob> {
        let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?.to_owned();
        Ok(Blob { digest, size: descriptor["size"].as_u64().context("a descriptor without a size")? })
    }
}

fn total(blobs: &[&Blob]) -> u64 {
    blobs.iter().map(|blob| blob.size).sum()
}

/// One image in a folder of the OCI image layout.
/// <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>
struct OciDir {
    dir: Utf8PathBuf,
    manifest_type: String,
    manifest: Blob,
    config: Blob,
    layers: Vec<Blob>,
}

impl OciDir {
    fn read(dir: &Utf8Path, reference: &str, id: &str) -> Result<OciDir> {
        let index_path = dir.join("index.json");
        let index = read_json(&index_path)?;
        let entry = index["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == reference)
            .with_context(|| format!("{index_path} does not list {reference}, which was just saved there"))?;
        let manifest = Blob::read(entry).with_context(|| format!("reading {index_path}"))?;
        let mut image = OciDir {
            dir: dir.to_owned(),
            manifest_type: entry["mediaType"].as_str().context("a manifest without a media type")?.to_owned(),
            config: Blob { digest: String::new(), size: 0 },
            layers: Vec::new(),
            manifest,
        };
        let path = image.path(&image.manifest.digest);
        let value = read_json(&path)?;
        image.config = Blob::read(&value["config"]).with_context(|| format!("reading {path}"))?;
        let layers = value["layers"].as_array().with_context(|| format!("{path} names no layers"))?;
        image.layers = layers.iter().map(Blob::read).collect::<Result<_>>()?;
        ensure!(image.config.digest == id, "the image changed while it was saved: {} became {id}", image.config.digest);
        Ok(image)
    }

    fn name(&self, digest: &str) -> String {
        format!("blobs/{}", digest.replacen(':', "/", 1))
    }

    fn path(&self, digest: &str) -> Utf8PathBuf {
        self.dir.join(self.name(digest))
    }

    /// An index that names this image alone, in the way that containerd takes its name from.
    fn index(&self, reference: &str) -> Vec<u8> {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": self.manifest_type,
                "digest": self.manifest.digest,
                "size": self.manifest.size,
                "annotations": { "io.containerd.image.name": reference },
            }],
        });
        index.to_string().into_bytes()
    }

    /// Removes the blobs of earlier images and forgets these, so that the folder does not grow.
    fn prune(&self) -> Result<()> {
        let keep: HashSet<&str> =
            self.layers.iter().chain([&self.manifest, &self.config]).map(|blob| blob.digest.as_str()).collect();
        let folder = self.dir.join("blobs/sha256");
        for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
            let entry = entry.with_context(|| format!("listing {folder}"))?;
            if !keep.contains(format!("sha256:{}", entry.file_name()).as_str()) {
                std::fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path()))?;
            }
        }
        // The engine adds to the index; what it lists of earlier saves is gone now.
        let index = self.dir.join("index.json");
        std::fs::remove_file(&index).with_context(|| format!("removing {index}"))
    }
}

fn read_json(path: &Utf8Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut tar = tar::Builder::new(&mut bytes as &mut dyn Write);
        for (name, content) in entries {
            append(&mut tar, name, content).unwrap();
        }
        tar.finish().unwrap();
        drop(tar);
        bytes
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut tar = tar::Archive::new(bytes);
        let entries = tar.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn blobs_that_the_node_has_are_left_out_and_everything_else_stays() {
        let full = archive(&[("blobs/sha256/aa", b"base"), ("blobs/sha256/bb", b"top"), ("index.json", b"{}")]);
        let mut out = Vec::new();
        let same = Names { reference: "a:b", name: "a:b" };
        let loaded = thin(&full[..], &mut out, &HashSet::from(["sha256:aa".to_owned()]), same).unwrap();
        assert_eq!(names(&out), ["blobs/sha256/bb", "index.json"]);
        assert_eq!(loaded, Loaded { moved_bytes: 5, kept_bytes: 4 });
    }

    #[test]
    fn an_archive_that_is_not_laid_out_by_digest_passes_whole() {
        let old = archive(&[("0123/layer.tar", b"layer"), ("manifest.json", b"[]")]);
        let mut out = Vec::new();
        let same = Names { reference: "a:b", name: "a:b" };
        let loaded = thin(&old[..], &mut out, &HashSet::from(["sha256:0123".to_owned()]), same).unwrap();
        assert_eq!(names(&out), names(&old));
        assert_eq!(loaded, Loaded { moved_bytes: 7, kept_bytes: 0 });
    }

    #[test]
    fn in_the_node_the_image_has_the_name_that_manifests_use() {
        let index = json!({"manifests": [{"digest": "sha256:aa", "annotations": {
            "io.containerd.image.name": "docker.io/library/shop:dev-0a1b2c3d",
            "org.opencontainers.image.ref.name": "dev-0a1b2c3d"}}]});
        let manifest = json!([{"Config": "blobs/sha256/cc", "RepoTags": ["shop:dev-0a1b2c3d"]}]);
        let (index, manifest) = (index.to_string(), manifest.to_string());
        let full = archive(&[("index.json", index.as_bytes()), ("manifest.json", manifest.as_bytes())]);
        let mut out = Vec::new();
        let image = Names { reference: "shop:dev-0a1b2c3d", name: "shop:dev" };
        thin(&full[..], &mut out, &HashSet::new(), image).unwrap();
        let mut tar = tar::Archive::new(&out[..]);
        let text: String =
            tar.entries().unwrap().map(|entry| std::io::read_to_string(entry.unwrap()).unwrap()).collect();
        assert!(!text.contains("0a1b2c3d"), "{text}");
        for name in [r#""docker.io/library/shop:dev""#, r#"name":"dev""#, r#"["shop:dev"]"#] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }
}
