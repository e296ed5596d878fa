//! Podman and Docker behind one small interface.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use crate::builds;
use crate::cancel::Cancel;
use crate::meter::Meter;
use crate::network;
use crate::process::{Ended, Job, ProcessError};
use crate::rootless;

/// An engine that does not answer a small question within this time is down.
const ANSWER: Duration = Duration::from_secs(20);
/// A container that only looks has this time to begin and end.
const LOOK_INSIDE: Duration = Duration::from_secs(60);
/// How often containers are listed until none of them goes meanwhile.
const TRIES: u32 = 5;

/// The container engines that kind can use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Podman,
    Docker,
}

impl Flavor {
    /// All of them, the one that is preferred first.
    pub const ALL: [Flavor; 2] = [Flavor::Podman, Flavor::Docker];

    /// The program's name, which is also kind's name for its provider.
    pub fn program(self) -> &'static str {
        match self {
            Flavor::Podman => "podman",
            Flavor::Docker => "docker",
        }
    }

    /// Those variables of this process's environment that make the engine's client go elsewhere than it usually does.
    pub fn redirected_by(self) -> Vec<&'static str> {
        let names: &[&str] = match self {
            Flavor::Podman => &[
                "CONTAINER_HOST",
                "CONTAINER_CONNECTION",
                "CONTAINERS_CONF",
                "CONTAINERS_CONF_OVERRIDE",
                "CONTAINERS_STORAGE_CONF",
            ],
            Flavor::Docker => {
                &["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"]
            }
        };
        names.iter().copied().filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())).collect()
    }

    /// The oldest version whose builds and listings work as used here.
    fn oldest(self) -> (u32, u32) {
        match self {
            Flavor::Podman => (4, 3),
            Flavor::Docker => (23, 0),
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl FromStr for Flavor {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Flavor> {
        match text {
            "podman" => Ok(Flavor::Podman),
            "docker" => Ok(Flavor::Docker),
            _ => bail!("unknown container engine {text:?}: it is podman or docker"),
        }
    }
}

/// Why no container engine works here.
#[derive(Debug)]
pub struct NoEngine {
    /// Each that was tried, and what it said; nothing where its program is not on PATH.
    tried: Vec<(Flavor, Option<anyhow::Error>)>,
}

impl NoEngine {
    /// Whether the program of that engine is on PATH.
    pub fn is_installed(&self, flavor: Flavor) -> bool {
        self.tried.iter().any(|(tried, said)| *tried == flavor && said.is_some())
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no container engine works here")?;
        for (flavor, said) in &self.tried {
            match said {
                Some(error) => write!(f, "\n  {flavor}: {error:#}")?,
                None => write!(f, "\n  {flavor}: not on PATH")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for NoEngine {}

/// A container engine that has answered.
#[derive(Clone, Debug)]
pub struct Engine {
    flavor: Flavor,
    program: Utf8PathBuf,
    version: String,
    env: Vec<(String, String)>,
    /// Where image builds are written down, so that what killed ones leave can be found.
    journal: Option<Utf8PathBuf>,
    /// What [`Engine::look_up`] found.
    known: Arc<Mutex<BTreeMap<String, Value>>>,
}

/// A container as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    /// `running`, `exited`, `created` and so on, in lower case.
    pub state: String,
    pub labels: Vec<(String, String)>,
}

/// An image build; all paths are relative to the folder it runs in, or absolute.
#[derive(Clone, Debug, Default)]
pub struct Build {
    pub dockerfile: Utf8PathBuf,
    pub context: Utf8PathBuf,
    pub reference: String,
    /// `--build-arg`s.
    pub args: Vec<(String, String)>,
    /// `--build-arg`s whose values the engine takes from its environment, so that they are on no command line.
    pub inherited_args: Vec<String>,
    /// Folders that replace the stage of that name.
    pub contexts: Vec<(String, Utf8PathBuf)>,
    /// Files that `RUN --mount=type=secret,id=…` sees, and no image keeps.
    pub secrets: Vec<(String, Utf8PathBuf)>,
    pub labels: Vec<(String, String)>,
    /// The stage to stop at; none for the last.
    pub target: Option<String>,
    pub deadline: Option<Duration>,
}

/// The machine that an engine's containers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// All of its memory.
    pub memory_mb: u64,
    /// What is free where images lie; docker does not tell.
    pub free_disk_mb: Option<u64>,
}

impl Engine {
    /// Finds an engine that works: `choice`, or podman before docker. `env` is set for every call of
    /// it (kind gets it too, by [`Engine::env`]).
    ///
    /// # Errors
    /// A [`NoEngine`] with what was tried and what each said, when none works.
    pub fn find(choice: Option<Flavor>, env: &[(String, String)], cancel: &Cancel) -> Result<Engine> {
        let flavors = match choice {
            Some(one) => vec![one],
            None => Flavor::ALL.to_vec(),
        };
        let mut tried = Vec::new();
        for flavor in flavors {
            let Ok(program) = which::which(flavor.program()) else {
                tried.push((flavor, None));
                continue;
            };
            let program = Utf8PathBuf::try_from(program).context("the path of a container engine is not UTF-8")?;
            match Engine::ask_for(flavor, &program, env, cancel) {
                Ok(engine) => return Ok(engine),
                Err(error) => tried.push((flavor, Some(error))),
            }
        }
        Err(NoEngine { tried }.into())
    }

    /// The engine whose program is at `program`, if it works.
    ///
    /// # Errors
    /// When it does not answer, or is too old.
    pub fn at(flavor: Flavor, program: &Utf8Path, env: &[(String, String)]) -> Result<Engine> {
        Engine::ask_for(flavor, program, env, &Cancel::new())
    }

    fn ask_for(flavor: Flavor, program: &Utf8Path, env: &[(String, String)], cancel: &Cancel) -> Result<Engine> {
        let mut engine = Engine {
            flavor,
            program: program.to_owned(),
            version: String::new(),
            env: env.to_vec(),
            journal: None,
            known: Arc::default(),
        };
        engine.version = engine.ask_version(cancel).with_context(|| {
            let start = match flavor {
                Flavor::Podman => "it is installed but does not answer (on a Mac: `podman machine start`)",
                Flavor::Docker => {
                    "it is installed but its daemon does not answer (start Docker, or `systemctl start docker`)"
                }
            };
            match flavor.redirected_by().as_slice() {
                [] => start.to_owned(),
                [one] => format!("{start}; {one} is set: unset it, or see to it that what it names is there"),
                more => {
                    let names = more.join(" and ");
                    format!("{start}; {names} are set: unset them, or see to it that what they name is there")
                }
            }
        })?;
        let oldest = flavor.oldest();
        ensure!(
            major_minor(&engine.version).is_some_and(|version| version >= oldest),
            "its version is {:?}, but {}.{} or newer is needed",
            engine.version,
            oldest.0,
            oldest.1
        );
        if flavor == Flavor::Podman && !engine.is_remote() && !rustix::process::geteuid().is_root() {
            rootless::check(&engine, cancel)?;
        }
        Ok(engine)
    }

    /// Whether images can be built with it as they are built here.
    ///
    /// # Errors
    /// Where docker has no buildx: its own builder knows neither build contexts nor mounts. With what it said, and what to
    /// do.
    pub fn can_build(&self, cancel: &Cancel) -> Result<()> {
        if self.flavor == Flavor::Podman {
            return Ok(());
        }
        let sh = Shell::new()?;
        self.ask(&sh, &["buildx", "version"]).cancel(cancel).read().map(drop).context(
            "docker has no buildx, which images are built with here; install it (Debian and Ubuntu: `apt-get install \
             docker-buildx`; where docker came from its own site: `docker-buildx-plugin`)",
        )
    }

    /// The version of what answers: the client alone answers also when the daemon is down.
    fn ask_version(&self, cancel: &Cancel) -> Result<String> {
        let sh = Shell::new()?;
        match self.flavor {
            // `podman info` takes eight times as long: it asks the package manager about its helpers.
            Flavor::Podman => {
                self.ask(&sh, &["ps", "--quiet"]).cancel(cancel).read()?;
                let words = self.ask(&sh, &["--version"]).cancel(cancel).read()?;
                Ok(words.rsplit(' ').next().unwrap_or_default().to_owned())
            }
            Flavor::Docker => self.ask(&sh, &["info", "--format", "{{.ServerVersion}}"]).cancel(cancel).read(),
        }
    }

    /// From now on image builds are written down in the folder `journal`, and what builds left that
    /// were killed before is removed.
    ///
    /// # Errors
    /// When the journal cannot be read, or the engine fails.
    pub fn with_journal(mut self, journal: &Utf8Path) -> Result<Engine> {
        self.journal = (self.flavor == Flavor::Podman).then(|| journal.to_owned());
        self.clean_builds().context("removing what a killed image build left")?;
        Ok(self)
    }

    /// Removes what image builds left that were killed.
    fn clean_builds(&self) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), |journal| builds::clean(self, journal).map(drop))
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The engine's (with docker: the daemon's) version.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    /// What has to be set in the environment of everything that calls this engine.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The start of a command line of this engine.
    pub fn cmd<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        let program = &self.program;
        cmd!(sh, "{program}").envs(self.env.iter().map(|(k, v)| (k, v)))
    }

    pub(crate) fn ask<'sh>(&self, sh: &'sh Shell, words: &[&str]) -> Job<'sh> {
        Job::new(self.cmd(sh).args(words)).deadline(ANSWER)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for several images in one call and remembers them until [`Engine::forget_images`]. Where
    /// one is missing none is remembered: the engine does not say which it was.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn look_up(&self, references: &[&str]) -> Result<()> {
        let sh = Shell::new()?;
        let words: Vec<&str> = ["image", "inspect"].iter().chain(references).copied().collect();
        let out = self.ask(&sh, &words).output()?;
        let images: Vec<Value> = serde_json::from_str(&out.stdout).unwrap_or_default();
        if out.success() && images.len() == references.len() {
            self.known().extend(references.iter().map(|&reference| reference.to_owned()).zip(images));
        }
        Ok(())
    }

    /// Images may have changed: the next question about one is asked of the engine again.
    pub fn forget_images(&self) {
        self.known().clear();
    }

    /// `inspect`s an image; `None` where the engine does not have it.
    ///
    /// # Errors
    /// When the engine does not answer, or not in JSON.
    pub fn image(&self, reference: &str) -> Result<Option<Value>> {
        if let Some(known) = self.known().get(reference) {
            return Ok(Some(known.clone()));
        }
        let sh = Shell::new()?;
        let out = self.ask(&sh, &["image", "inspect", reference]).output()?;
        if !out.success() {
            let said = out.tail.to_lowercase();
            ensure!(
                said.contains("no such image") || said.contains("not known") || said.contains("not found"),
                "asking {} for the image {reference}: {}",
                self.flavor,
                out.tail
            );
            return Ok(None);
        }
        let mut images: Vec<Value> = serde_json::from_str(&out.stdout)
            .with_context(|| format!("reading what {} says of the image {reference}", self.flavor))?;
        Ok(images.pop())
    }

    /// The id of an image (`sha256:…`), or `None` where the engine does not have it.
    ///
    /// # Errors
    /// As [`Engine::image`].
    pub fn image_id(&self, reference: &str) -> Result<Option<String>> {
        let Some(image) = self.image(reference)? else { return Ok(None) };
        let id = image["Id"].as_str().context("an image without an Id")?;
        Ok(Some(if id.starts_with("sha256:") { id.to_owned() } else { format!("sha256:{id}") }))
    }

    /// The labels of an image; empty where the engine does not have it.
    ///
    /// # Errors
    /// As [`Engine::image`].
    pub fn image_labels(&self, reference: &str) -> Result<Vec<(String, String)>> {
        let image = self.image(reference)?.unwrap_or_default();
        Ok(string_map(&image["Config"]["Labels"]))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn tag(&self, image: &str, reference: &str) -> Result<()> {
        self.forget_images();
        let sh = Shell::new()?;
        self.ask(&sh, &["tag", image, reference]).run()
    }

    /// Builds an image, in the folder `dir`.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn build(&self, dir: &Utf8Path, build: &Build, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        sh.change_dir(dir);
        let mut cmd = match self.flavor {
            Flavor::Podman => self.cmd(&sh).args(["build", "--layers", "--format", "oci"]),
            // `docker build` is buildx, whose result stays in the builder without --load where the
            // builder is not the daemon's own.
            Flavor::Docker => self.cmd(&sh).args(["build", "--load", "--progress", "plain"]),
        };
        cmd = cmd.args(["--network", "host", "--file", build.dockerfile.as_str(), "--tag", &build.reference]);
        for (key, value) in &build.args {
            cmd = cmd.arg("--build-arg").arg(format!("{key}={value}"));
        }
        for name in &build.inherited_args {
            cmd = cmd.arg("--build-arg").arg(name);
        }
        for (stage, folder) in &build.contexts {
            cmd = cmd.arg("--build-context").arg(format!("{stage}={folder}"));
        }
        for (id, file) in &build.secrets {
            cmd = cmd.arg("--secret").arg(format!("id={id},src={file}"));
        }
        for (key, value) in &build.labels {
            cmd = cmd.arg("--label").arg(format!("{key}={value}"));
        }
        if let Some(target) = &build.target {
            cmd = cmd.args(["--target", target]);
        }
        let job = Job::new(cmd.arg(&build.context)).log(log).cancel(cancel);
        self.building(|| job.deadline(build.deadline.unwrap_or(crate::process::DEFAULT_DEADLINE)).run())
    }

    /// Does something that builds images; what it leaves when it is stopped is removed, at once or, if
    /// this process is killed, by the next [`Engine::with_journal`].
    ///
    /// # Errors
    /// Those of `work`, or when the journal cannot be written.
    pub fn building(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.forget_images();
        let Some(journal) = &self.journal else { return work() };
        let entry = builds::begin(journal)?;
        let result = work();
        self.forget_images();
        let how = result.as_ref().err().and_then(|error| error.downcast_ref::<ProcessError>());
        match how.map(|error| &error.ended) {
            None | Some(Ended::Exited(_)) => entry.end()?,
            Some(_) => {
                entry.stopped()?;
                // Also, and above all, where the time of whoever builds is over.
                Meter::here().unlimited().run(|| self.clean_builds())?;
            }
        }
        result
    }

    /// All containers, the dead ones included, that carry the label `key` (with `value`, if given).
    ///
    /// # Errors
    /// When the engine does not answer as expected.
    pub fn containers(&self, key: &str, value: Option<&str>) -> Result<Vec<Container>> {
        let filter = match value {
            Some(value) => format!("label={key}={value}"),
            None => format!("label={key}"),
        };
        // Others may remove theirs at any time; that often in a row is no accident.
        for _ in 0..TRIES {
            if let Some(list) = self.inspect_all(&["--filter", &filter])? {
                return Ok(list.iter().map(container).collect());
            }
        }
        bail!(
            "asking {} for its containers with the {filter}: one of those listed was gone when it was looked at, \
             {TRIES} times in a row; wait until nothing else removes containers, and try again",
            self.flavor
        )
    }

    /// What the engine knows of all containers that `filters` let pass, the dead ones included; `None` where one of them
    /// has gone between listing and looking.
    pub(crate) fn inspect_all(&self, filters: &[&str]) -> Result<Option<Vec<Value>>> {
        let sh = Shell::new()?;
        let list = Job::new(self.cmd(&sh).args(["ps", "--all", "--quiet", "--no-trunc"]).args(filters));
        let list = list.deadline(ANSWER).read()?;
        let ids: Vec<&str> = list.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let out = Job::new(self.cmd(&sh).args(["container", "inspect"]).args(&ids)).deadline(ANSWER).output()?;
        if !out.success() {
            ensure!(is_unknown(&out.tail), "asking {} for its containers: {}", self.flavor, out.tail);
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&out.stdout).context("reading the engine's list of containers")?))
    }

    /// One container by its name; `None` where there is none.
    ///
    /// # Errors
    /// When the engine does not answer as expected.
    pub fn container(&self, name: &str) -> Result<Option<Container>> {
        let sh = Shell::new()?;
        let out = self.ask(&sh, &["container", "inspect", name]).output()?;
        if !out.success() {
            ensure!(is_unknown(&out.tail), "asking {} for the container {name}: {}", self.flavor, out.tail);
            return Ok(None);
        }
        let list: Vec<Value> = serde_json::from_str(&out.stdout).context("reading the engine's container")?;
        Ok(list.first().map(container))
    }

    /// A command inside a running container.
    pub fn exec<'sh>(&self, sh: &'sh Shell, container: &str, stdin: bool, words: &[&str]) -> Cmd<'sh> {
        let cmd = self.cmd(sh).arg("exec");
        let cmd = if stdin { cmd.arg("--interactive") } else { cmd };
        cmd.arg(container).args(words)
    }

    /// Kills and removes containers together with their anonymous volumes. Ones that are already
    /// gone are no error. A second try is made where the first one fails: podman's does when the container was left
    /// half made, with its mounts, and puts that in order on its way.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn remove_containers(&self, names: &[&str], log: Option<&Utf8Path>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let sh = Shell::new()?;
        // A node's systemd does not stop on a signal within the engine's grace. (docker's `rm --force` gives none.)
        let force: &[&str] = match self.flavor {
            Flavor::Podman => &["rm", "--force", "--time", "0", "--volumes"],
            Flavor::Docker => &["rm", "--force", "--volumes"],
        };
        let words: Vec<&str> = force.iter().chain(names).copied().collect();
        let remove = || {
            let remove = self.ask(&sh, &words).deadline(Duration::from_secs(60)).leader_first();
            match log {
                Some(log) => remove.log(log).run(),
                None => remove.run(),
            }
        };
        remove().or_else(|_| remove())?;
        network::restore_answers(self).map(drop)
    }

    /// Removes the volumes that carry the label `key`: with podman, kind makes a named volume for each node
    /// and labels it with the node's name.
    ///
    /// # Errors
    /// When the engine does not answer, or a container still uses one.
    pub fn remove_volumes(&self, key: &str) -> Result<()> {
        if self.flavor != Flavor::Podman {
            return Ok(());
        }
        let sh = Shell::new()?;
        let list = self.ask(&sh, &["volume", "ls", "--quiet", "--filter", &format!("label={key}")]).read()?;
        let names: Vec<&str> = list.split_whitespace().collect();
        if names.is_empty() {
            return Ok(());
        }
        let words: Vec<&str> = ["volume", "rm", "--force"].iter().chain(&names).copied().collect();
        self.ask(&sh, &words).deadline(Duration::from_secs(60)).run()
    }

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

    /// Whether images and containers live on another machine than this one, mostly a virtual machine beside it (a Mac),
    /// where paths of this machine and its memory say little.
    pub fn is_remote(&self) -> bool {
        let variable = match self.flavor {
            Flavor::Podman => "CONTAINER_HOST",
            Flavor::Docker => "DOCKER_HOST",
        };
        let elsewhere = std::env::var(variable).unwrap_or_default();
        std::env::consts::OS != "linux" || !(elsewhere.is_empty() || elsewhere.starts_with("unix:"))
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

    /// Saves an image for [`crate::load`]: with podman as an OCI folder `to` with uncompressed layers,
    /// where blobs that are there from earlier are not written again; with docker as the archive
    /// `to`/image.tar, whole each time.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub(crate) fn save(&self, reference: &str, to: &Utf8Path, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
        let sh = Shell::new()?;
        let archive = to.join("image.tar");
        let cmd = self.cmd(&sh).arg("save");
        let cmd = match self.flavor {
            Flavor::Podman => cmd.args(["--quiet", "--format", "oci-dir", "--uncompressed", "--output", to.as_str()]),
            Flavor::Docker => cmd.args(["--output", archive.as_str()]),
        };
        Job::new(cmd.arg(reference)).log(log).cancel(cancel).run()
    }

    /// Saves an image as an archive, whole each time, in the engine's default format.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn save_archive(
        &self,
        reference: &str,
        to: &Utf8Path,
        deadline: Duration,
        log: &Utf8Path,
        cancel: &Cancel,
    ) -> Result<()> {
        let sh = Shell::new()?;
        let cmd = self.cmd(&sh).args(["save", "--output", to.as_str(), reference]);
        Job::new(cmd).deadline(deadline).log(log).cancel(cancel).run()
    }

    /// Removes images by name or id, with the untagged layers below them that nothing else uses. Those that are not
    /// there or are in use stay, and are no error.
    ///
    /// # Errors
    /// When the engine cannot be started or does not answer in time.
    pub fn remove_images(&self, images: &[String], deadline: Duration) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        self.forget_images();
        let sh = Shell::new()?;
        Job::new(self.cmd(&sh).arg("rmi").args(images)).deadline(deadline).output().map(drop)
    }

    /// The names of all images that carry this label, `key=value` or `key`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn named_images(&self, label: &str) -> Result<Vec<String>> {
        let sh = Shell::new()?;
        let list = self
            .cmd(&sh)
            .args(["images", &format!("--filter=label={label}")])
            .args(["--format", "{{.Repository}}:{{.Tag}}"]);
        let list = Job::new(list).deadline(Duration::from_secs(60)).read()?;
        Ok(list.lines().filter(|name| !name.contains("<none>")).map(str::to_owned).collect())
    }

    /// Removes the images that carry this label and have no name any more, with the layers below them that nothing else
    /// uses: what builds leave whose result was built anew. (One label: of several, podman 4.3 takes images with any.)
    ///
    /// # Errors
    /// When the engine does not answer, or does not remove them.
    pub fn remove_superseded(&self, label: &str, deadline: Duration) -> Result<()> {
        let sh = Shell::new()?;
        let prune = self.cmd(&sh).args(["image", "prune", "--force", &format!("--filter=label={label}")]);
        Job::new(prune).deadline(deadline).run()
    }

    /// The images that have no name, the layers of earlier builds among them, as the engine describes each.
    ///
    /// # Errors
    /// When the engine does not answer as expected.
    pub fn unnamed_images(&self) -> Result<Vec<Value>> {
        let sh = Shell::new()?;
        let words = ["images", "--all", "--quiet", "--no-trunc", "--filter", "dangling=true"];
        let ids = Job::new(self.cmd(&sh).args(words)).deadline(Duration::from_secs(60)).read()?;
        let ids: BTreeSet<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let inspect = self.cmd(&sh).args(["image", "inspect"]).args(&ids);
        let text = Job::new(inspect).deadline(Duration::from_secs(120)).read()?;
        serde_json::from_str(&text).context("reading the engine's list of images")
    }
}

/// What podman and Docker Desktop say of a mount whose source their machine does not have.
fn is_unshared(said: &str) -> bool {
    ["statfs", "no such file or directory", "is not shared from the host", "bind source path does not exist"]
        .iter()
        .any(|part| said.contains(part))
}

/// Whether the engine said that it has no such container.
fn is_unknown(said: &str) -> bool {
    said.to_lowercase().contains("no such container")
}

fn container(value: &Value) -> Container {
    Container {
        name: value["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        state: value["State"]["Status"].as_str().unwrap_or("unknown").to_lowercase(),
        labels: string_map(&value["Config"]["Labels"]),
    }
}

fn string_map(value: &Value) -> Vec<(String, String)> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
