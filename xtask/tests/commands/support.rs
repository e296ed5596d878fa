//! A small workspace, a machine on which nothing but fake programs is, and what the program says there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Daemon, Ended, Job};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use testbed::fakes::{Fake, Play};
use xshell::{Cmd, Shell, cmd};
use xtask::instance::Instance;
use xtask::paths::Paths;
use xtask::setup::catalog::Catalog;
use xtask::setup::host::Host;
use xtask::setup::piece;
use xtask::suite::Suite;

/// A user and a group that own nothing.
const NOBODY: u32 = 65534;
/// A cluster and nothing on it.
const SUITE: &str = "
name: shop
phases: [all]
cluster: { name: shop, config: kind.yaml, node: node, preload: [], phase: all }
";
const KIND: &str = "
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{ role: control-plane }]
";
/// What the suite needs of a machine. Nothing of it is to be had anywhere: no host is ever asked.
const CATALOG: &str = "
versions: {}
engine_packages: [podman]
pieces:
  - { name: kind, kind: files, about: the kind program, recipe: recipe.sh }
  - { name: kubectl, kind: files, about: the kubectl program, recipe: recipe.sh }
  - { name: node, kind: image, about: a node, recipe: recipe.sh, replaces: 'localhost/node:1' }
";

/// A workspace in a folder of its own, and a machine for it.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    pub(crate) fake: Fake,
    pub(crate) paths: Paths,
}

/// How a command ended, and what it said on both streams.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) text: String,
}

impl Stage {
    /// A workspace with the suite `shop`, on a machine that is set up for it with podman.
    pub(crate) fn new() -> Result<Stage> {
        let stage = Stage::bare()?;
        stage.put_tools()?;
        stage.put_image("podman", "node")?;
        Ok(stage)
    }

    /// Puts kind and kubectl in place.
    pub(crate) fn put_tools(&self) -> Result<()> {
        ["kind", "kubectl"].into_iter().try_for_each(|name| self.put_tool(name))
    }

    /// The same on a machine with an engine and no more.
    pub(crate) fn bare() -> Result<Stage> {
        let dir = tempfile::tempdir()?;
        let base = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?.canonicalize_utf8()?;
        let root = base.join("root");
        let paths = Paths { target: root.join("target"), cache: base.join("cache/gateway-e2e"), root };
        let fake = Fake::new(base.join("fake"))?;
        fake.cluster_answers()?;
        let stage = Stage { dir, fake, paths };
        stage.write("manifests/suites/shop.yaml", SUITE)?;
        stage.write("kind.yaml", KIND)?;
        stage.write("images/setup.yaml", CATALOG)?;
        stage.write("recipe.sh", "exit 1\n")?;
        Ok(stage)
    }

    /// Writes a file of the workspace.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.paths.root.join(path);
        std::fs::create_dir_all(path.parent().context("a file in a folder")?)?;
        std::fs::write(&path, text).with_context(|| format!("writing {path}"))
    }

    /// Puts the fake program where the set-up would have put the piece of that name.
    pub(crate) fn put_tool(&self, name: &str) -> Result<()> {
        let bin = self.piece(name)?.join("bin");
        std::fs::create_dir_all(&bin)?;
        // The link's own name tells the fake which folder is its own.
        let start = format!("#!/bin/sh\nexec {} \"$@\"\n", self.fake.program(name));
        self.write_program(&bin.join(name), &start)
    }

    /// Gives the engine the image of the piece of that name, as its recipe would have made it.
    pub(crate) fn put_image(&self, engine: &str, name: &str) -> Result<()> {
        self.put_image_of(engine, name, None)
    }

    /// As [`Stage::put_image`], for another version of Kubernetes than the catalog's own.
    pub(crate) fn put_image_of(&self, engine: &str, name: &str, kubernetes: Option<&str>) -> Result<()> {
        let catalog = Catalog::read_for(&self.paths.root, kubernetes)?;
        let keys = piece::keys(&self.paths.root, &catalog, Host::look().arch)?;
        let reference = catalog.piece(name)?.replaces.as_deref().context("an image")?;
        self.fake.image(engine, reference, &[(piece::STAND_IN_LABEL, &keys[name])])
    }

    /// Writes a program, by another process: one that this one holds open for writing, if only in a child that was
    /// forked just now, cannot be started.
    pub(crate) fn write_program(&self, path: &Utf8Path, text: &str) -> Result<()> {
        let sh = Shell::new()?;
        let write = "cat > \"$0\" && chmod 755 \"$0\"";
        Job::new(cmd!(sh, "sh -c {write} {path}")).stdin(text).run()
    }

    /// The folder of a piece that is files.
    pub(crate) fn piece(&self, name: &str) -> Result<Utf8PathBuf> {
        let catalog = Catalog::read(&self.paths.root)?;
        let keys = piece::keys(&self.paths.root, &catalog, Host::look().arch)?;
        Ok(piece::folder(&self.paths.cache, catalog.piece(name)?, &keys[name]))
    }

    /// The names and labels of what the suite makes here.
    pub(crate) fn instance(&self) -> Result<Instance> {
        Instance::of(&self.paths, &Suite::load(&self.paths.root, "shop")?)
    }

    /// Gives podman a container with the labels of this workspace's suite, and others.
    pub(crate) fn container(&self, name: &str, status: &str, others: &[(&str, &str)]) -> Result<()> {
        let labels = self.instance()?.labels();
        let mut all: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        all.extend(others);
        self.fake.container("podman", name, status, &all)
    }

    fn cmd<'a>(&self, sh: &'a Shell, words: &[&str]) -> Cmd<'a> {
        let (program, root) = (env!("CARGO_BIN_EXE_xtask"), &self.paths.root);
        let dir = self.dir.path();
        let cmd = cmd!(sh, "{program} --root {root}").args(words).env_clear();
        cmd.env("PATH", self.fake.path())
            .env("HOME", dir)
            .env("XDG_CACHE_HOME", dir.join("cache"))
            .env("CARGO", self.fake.program("cargo"))
    }

    /// Runs `cargo xtask` with these words to its end.
    pub(crate) fn xtask(&self, words: &[&str]) -> Result<Ran> {
        let sh = Shell::new()?;
        self.ran(Job::new(self.cmd(&sh, words)))
    }

    /// The same as somebody who is not root; none where this is root's and others cannot read the checkout.
    pub(crate) fn xtask_without_root(&self, words: &[&str]) -> Result<Option<Ran>> {
        let sh = Shell::new()?;
        if !geteuid().is_root() {
            return self.xtask(words).map(Some);
        }
        let dir = self.dir.path();
        Job::new(cmd!(sh, "chmod -R a+rwX {dir}")).run()?;
        let reads = |program: &str| Job::new(cmd!(sh, "test -x {program}")).user(NOBODY, NOBODY).run().is_ok();
        if ![env!("CARGO_BIN_EXE_xtask"), self.fake.program("sudo").as_str()].iter().all(|program| reads(program)) {
            return Ok(None);
        }
        self.ran(Job::new(self.cmd(&sh, words)).user(NOBODY, NOBODY)).map(Some)
    }

    fn ran(&self, job: Job<'_>) -> Result<Ran> {
        let log = self.dir.path().join("said");
        let log = Utf8Path::from_path(&log).context("a folder in UTF-8")?;
        std::fs::write(log, "")?;
        let out = job.log(log).output()?;
        Ok(Ran { ended: out.ended, text: out.stdout + &std::fs::read_to_string(log)? })
    }

    /// Starts it, and leaves it running; what it says goes to `log`.
    pub(crate) fn start(&self, words: &[&str], log: &Utf8Path) -> Result<Daemon> {
        e2e_support::signals::restore_defaults();
        let sh = Shell::new()?;
        Job::new(self.cmd(&sh, words)).log(log).daemon()
    }

    /// What podman was asked to change, in the order of the calls.
    pub(crate) fn changes(&self) -> Result<Vec<String>> {
        let asks = [
            "ps",
            "image inspect",
            "container inspect",
            "images",
            "--version",
            "info",
            "volume ls",
            "network ls",
            "network inspect",
        ];
        let calls = self.fake.calls_of("podman")?;
        Ok(calls.into_iter().filter(|call| !asks.iter().any(|ask| call.starts_with(ask))).collect())
    }
}

impl Ran {
    /// Fails, with all that was said, unless it ended with this exit code and said all of `words`.
    #[track_caller]
    pub(crate) fn must(&self, code: i32, words: &[&str]) {
        assert_eq!(self.ended, Ended::Exited(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "{word:?} is not in:\n{}", self.text);
        }
    }
}

/// A program that is not there: what is asked of it is answered by nobody.
pub(crate) fn dead_podman(stage: &Stage) -> Result<()> {
    let said = "Cannot connect to Podman. Please verify your connection to the Linux system using `podman system \
                connection list`, or try `podman machine init` and `podman machine start` to manage a new Linux VM\n\
                Error: unable to connect to Podman socket: Get \"http://d/v4.3.1/libpod/_ping\": dial unix ///no.sock: \
                connect: no such file or directory";
    stage.fake.on("podman", "*", Play::fails(125, said))?;
    Ok(())
}

/// As docker's client says it where its daemon is down.
pub(crate) fn dead_docker(stage: &Stage) -> Result<()> {
    let said = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
    stage.fake.on("docker", "*", Play::fails(1, said))?;
    Ok(())
}

/// Presses Ctrl-C, and says how it ended.
pub(crate) fn interrupt(mut run: Daemon) -> Result<String> {
    let pid = i32::try_from(run.pid()).ok().and_then(Pid::from_raw).context("a process id")?;
    kill_process(pid, Signal::INT)?;
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if let Err(error) = run.check() {
            return Ok(error.to_string());
        }
        std::thread::yield_now();
    }
    bail!("it does not end within 30 s")
}
