//! The machine that an engine's containers run on.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::Shell;

use super::client::Engine;
use super::flavor::Flavor;

/// A container that only looks has this time to begin and end.
const LOOK_INSIDE: Duration = Duration::from_secs(60);

/// The machine that an engine's containers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// All of its memory.
    pub memory_mb: u64,
    /// What is free where images lie; docker does not tell.
    pub free_disk_mb: Option<u64>,
}

impl Engine {
    /// The folder of this machine that images and containers lie in; none where that is another machine's, or the engine
    /// does not tell.
    pub fn storage(&self) -> Option<Utf8PathBuf> {
        if self.is_remote() {
            return None;
        }
        let field = match self.flavor {
            Flavor::Podman => "{{.Store.GraphRoot}}",
            Flavor::Docker => "{{.DockerRootDir}}",
        };
        let sh = Shell::new().ok()?;
        let path = self.ask(&sh, &["info", "--format", field]).read().ok()?;
        Some(Utf8PathBuf::from(path)).filter(|path| path.is_dir())
    }

    /// What the machine has that containers run on.
    ///
    /// # Errors
    /// When the engine does not answer, or tells something else than it is known to.
    pub fn machine(&self) -> Result<Machine> {
        let sh = Shell::new()?;
        let format = match self.flavor {
            Flavor::Podman => "{{json .}}",
            // All of it has errors of plugins, too.
            Flavor::Docker => r#"{"MemTotal": {{json .MemTotal}}}"#,
        };
        let doing = "asking the engine about its machine";
        let said = self.ask(&sh, &["info", "--format", format]).read().context(doing)?;
        let info: Value = serde_json::from_str(&said).with_context(|| format!("{doing}: it says {said:?}"))?;
        let number = |pointer: &str| info.pointer(pointer).and_then(Value::as_u64).map(|bytes| bytes / 1_000_000);
        let memory_mb = number("/host/memTotal").or_else(|| number("/MemTotal"));
        let disk_mb = number("/store/graphRootAllocated").zip(number("/store/graphRootUsed"));
        Ok(Machine {
            memory_mb: memory_mb.with_context(|| format!("{doing}: it tells no memory: {said:?}"))?,
            free_disk_mb: disk_mb.map(|(all_mb, used_mb)| all_mb.saturating_sub(used_mb)),
        })
    }

    /// Whether containers see what this machine has at `path`, an absolute one: a machine that is not shared it gives
    /// none of it, or an empty folder in its place. `image` has a shell.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn sees(&self, path: &Utf8Path, image: &str) -> Result<bool> {
        let inside = match path.is_dir() {
            true => path.read_dir_utf8().with_context(|| format!("reading the folder {path}"))?.flatten().next(),
            false => None,
        };
        let inside = inside.map_or("/seen".to_owned(), |entry| format!("/seen/{}", entry.file_name()));
        let volume = format!("{path}:/seen:ro");
        let words = ["run", "--rm", "--network", "none", "--volume", &volume, "--entrypoint", "/bin/sh", image];
        let look = r#"[ -e "$1" ] && echo seen || echo unseen"#;
        let sh = Shell::new()?;
        let words: Vec<&str> = words.into_iter().chain(["-c", look, "look", &inside]).collect();
        match self.ask(&sh, &words).deadline(LOOK_INSIDE).read() {
            Ok(said) => Ok(said.trim() == "seen"),
            // Neither begins a container with a mount that is not there.
            Err(error) if is_unshared(&format!("{error:#}")) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("looking whether the engine's machine sees {path}")),
        }
    }
}

/// What podman and Docker Desktop say of a mount whose source their machine does not have.
fn is_unshared(said: &str) -> bool {
    ["statfs", "no such file or directory", "is not shared from the host", "bind source path does not exist"]
        .iter()
        .any(|part| said.contains(part))
}
