//! One cluster is created: once more where ports were taken meanwhile, no longer than its node may still come, and with
//! the cause first where it does not.

use std::time::Duration;

use anyhow::{Result, ensure};
use camino::Utf8Path;
use e2e_support::clock::Instant;
use e2e_support::diagnosis::{self, Surety};
use e2e_support::engine::Engine;
use e2e_support::kind::{Create, Kind};
use e2e_support::{Cancel, inotify, network};

use super::Effective;
use crate::disk::write;
use crate::steps::below;

/// How often a cluster is created in all when its ports are taken each time.
const CREATIONS: u32 = 3;
/// After this time a creation takes longer than it should, and the node is asked every [`LOOK`] what is the matter.
const LATE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_secs(4);

/// What a cluster is created with.
pub(crate) struct Creation<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) engine: &'a Engine,
    /// Its deadline is that of all tries together.
    pub(crate) create: Create,
    pub(crate) log: &'a Utf8Path,
    pub(crate) cancel: &'a Cancel,
    pub(crate) say: &'a (dyn Fn(&str) + Sync),
}

impl Creation<'_> {
    /// Creates the cluster as `config` says, with other ports where those in it have been taken since. Returns how many
    /// tries that took.
    ///
    /// # Errors
    /// Why it did not come: in the words of its node, of kubeadm, of the engine or of kind, whichever is the cause.
    pub(crate) fn run(&self, config: &Effective) -> Result<u32> {
        let end = Instant::now() + self.create.deadline;
        let mut config = config.clone();
        let mut taken = Vec::new();
        let mut tries = 1;
        self.shortage().inspect(|shortage| (self.say)(shortage));
        self.mounts_are_seen(&config)?;
        loop {
            config = config.chosen_again(&taken)?;
            for (was, port) in &config.replaced {
                (self.say)(&format!("port {was} was taken meanwhile: {port} is used in its place"));
            }
            write(&self.create.config, &config.yaml)?;
            let from = self.log.metadata().map_or(0, |log| log.len());
            let Err(error) = self.once(end.saturating_duration_since(Instant::now())) else { return Ok(tries) };
            let ports = diagnosis::taken_ports(&diagnosis::tail_of(self.log, from));
            match ports {
                Some(ports) if tries < CREATIONS && !self.cancel.is_cancelled() => taken = ports,
                _ => return Err(self.explained(error, from)),
            }
            (self.say)("a port was taken while the node was being made; it is made again");
            self.kind.delete(&self.create.name, Some(self.log))?;
            network::clean(self.engine)?.iter().for_each(|line| (self.say)(line));
            tries += 1;
        }
    }

    /// A machine of the engine's own sees only those folders of this one that are shared with it; docker makes an empty
    /// folder in the place of another.
    fn mounts_are_seen(&self, config: &Effective) -> Result<()> {
        if !self.engine.is_remote() {
            return Ok(());
        }
        for path in config.mounts()? {
            ensure!(
                self.engine.sees(&path, &self.create.node_image)?,
                "creating the cluster {}: its configuration mounts {path}, and the machine that {} runs containers on \
                 does not see it; share that folder with it, or move the checkout to where one is shared (on a Mac: \
                 below your home)",
                self.create.name,
                self.engine.flavor()
            );
        }
        Ok(())
    }

    /// Creates the cluster, and stops that as soon as its node is known not to come.
    fn once(&self, deadline: Duration) -> Result<()> {
        let stop = self.cancel.child();
        let over = Cancel::new();
        std::thread::scope(|scope| {
            // What it asks is counted for nobody: a cluster that comes in time is never asked.
            scope.spawn(|| self.watch(&stop, &over));
            let result = self.kind.create(&Create { deadline, ..self.create.clone() }, self.log, &stop);
            over.cancel("kind has ended");
            result
        })
    }

    /// Sets `stop` when the node will not come; ends when `over` is set.
    fn watch(&self, stop: &Cancel, over: &Cancel) {
        let mut pause = LATE;
        while !over.sleep(pause) {
            pause = LOOK;
            if let Some(cause) = diagnosis::of_nodes(self.engine, &self.create.name, Surety::Hopeless) {
                stop.cancel(cause);
                return;
            }
        }
    }

    /// The error of a creation with its cause first; what kind printed is in the log from the byte `from` on.
    fn explained(&self, error: anyhow::Error, from: u64) -> anyhow::Error {
        // Whoever stopped it knows why.
        if self.cancel.is_cancelled() {
            return error;
        }
        let (name, image) = (&self.create.name, &self.create.node_image);
        self.engine.forget_images();
        // An image that was there when the run began is pulled by kind where it no longer is, which says nothing of that.
        let gone = matches!(self.engine.image_id(image), Ok(None)).then(|| {
            format!(
                "the node image {image} is gone: something removed it since this run began; the next one makes it again"
            )
        });
        let cause = gone.or_else(|| diagnosis::of_creation(self.engine, name, self.log, from));
        let shortage = self.shortage().filter(|_| !cause.as_ref().is_some_and(|cause| cause.contains("inotify")));
        let cause: Vec<String> = cause.into_iter().chain(shortage).collect();
        match (!cause.is_empty()).then(|| cause.join("; ")) {
            Some(cause) => below(&format!("creating the cluster {name}: {cause}"), &error),
            None => error,
        }
    }

    /// A sentence on what this machine may have too little of for one more node. A machine of the engine's own does not
    /// tell.
    fn shortage(&self) -> Option<String> {
        if self.engine.is_remote() { None } else { inotify::shortage() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use camino::Utf8PathBuf;
    use e2e_support::Job;
    use e2e_support::engine::Flavor;
    use xshell::{Shell, cmd};

    use super::*;
    use crate::target::kind::config::tests::of_ports;

    /// What the engines say, below what kind says.
    const TAKEN: [&str; 3] = [
        "Error: cannot listen on the TCP port: listen tcp4 :PORT: bind: address already in use",
        "docker: Error response from daemon: driver failed programming external connectivity on endpoint e2e-control-plane \
         (4f): Bind for 127.0.0.1:PORT failed: port is already allocated.",
        "docker: Error response from daemon: failed to set up container networking: driver failed programming external \
         connectivity on endpoint e2e-control-plane (4f): failed to bind host port for 127.0.0.1:PORT:10.89.0.2:30080/tcp: \
         address already in use",
    ];
    const BY_KIND: &str = "ERROR: failed to create cluster: command \"docker run --name e2e-control-plane\" failed with error: exit status 126";

    /// Programs that play kind and docker (podman's network on this machine would really be cleaned), in a folder.
    struct Stage {
        _dir: tempfile::TempDir,
        folder: Utf8PathBuf,
        engine: Engine,
        kind: Kind,
    }

    fn program(folder: &Utf8Path, name: &str, body: &str) -> Utf8PathBuf {
        let path = folder.join(name);
        let script = format!("#!/bin/sh\ncd {folder}\necho \"{name} $*\" >>calls\n{body}\n");
        let sh = Shell::new().unwrap();
        // By another process: see `Fake` in e2e-support's tests.
        let write = "cat > \"$0.new\" && chmod 755 \"$0.new\" && mv \"$0.new\" \"$0\"";
        Job::new(cmd!(sh, "sh -c {write} {path}")).stdin(script).run().unwrap();
        path
    }

    impl Stage {
        /// kind fails the first `failures` times, and says what `said` is then.
        fn new(failures: u32, said: &str) -> Stage {
            let dir = tempfile::tempdir().unwrap();
            let folder = Utf8Path::from_path(dir.path()).unwrap().to_owned();
            std::fs::write(folder.join("said"), format!("{BY_KIND}\nCommand Output: {said}\n")).unwrap();
            let answers = "case \"$*\" in info*) echo 28.2.2 ;; image*) echo '[{\"Id\":\"sha256:1\"}]' ;; container*) echo 'no such container' >&2; exit 1 ;; esac";
            let engine = Engine::at(Flavor::Docker, &program(&folder, "docker", answers), &[]).unwrap();
            let body = format!(
                "cp kind.yaml kind.yaml.$(grep -c ^kind calls)\n[ \"$(grep -c ^kind calls)\" -gt {failures} ] || {{ cat said >&2; exit 1; }}"
            );
            let kind = Kind::new(program(&folder, "kind", &body), engine.clone());
            Stage { _dir: dir, folder, engine, kind }
        }

        fn run(&self, config: &Effective) -> (Result<u32>, Vec<String>) {
            let said = Mutex::new(Vec::new());
            let log = self.folder.join("log");
            let creation = Creation {
                kind: &self.kind,
                engine: &self.engine,
                create: Create {
                    name: "e2e".into(),
                    config: self.folder.join("kind.yaml"),
                    node_image: "n".into(),
                    kubeconfig: self.folder.join("k"),
                    deadline: Duration::from_secs(60),
                },
                log: &log,
                cancel: &Cancel::new(),
                say: &|text| said.lock().unwrap().push(text.to_owned()),
            };
            let result = creation.run(config);
            (result, said.into_inner().unwrap())
        }

        fn config(&self, attempt: u32) -> String {
            std::fs::read_to_string(self.folder.join(format!("kind.yaml.{attempt}"))).unwrap()
        }
    }

    #[test]
    fn a_port_that_is_taken_before_the_node_has_it_is_replaced() {
        for sentence in TAKEN {
            let config = of_ports();
            let port = config.ports[&30080];
            let stage = Stage::new(1, &sentence.replace("PORT", &port.to_string()));
            let (result, said) = stage.run(&config);
            assert_eq!(result.unwrap(), 2, "{sentence}");
            let was = format!("hostPort: {port}\n");
            assert!(stage.config(1).contains(&was) && !stage.config(2).contains(&was), "{}", stage.config(2));
            assert!(said[0].contains("made again") && said[1].contains(&format!("port {port} was taken")), "{said:?}");
            let calls = std::fs::read_to_string(stage.folder.join("calls")).unwrap();
            assert_eq!(
                calls.matches("docker ps --all").count(),
                1,
                "the node that was half made is looked for: {calls}"
            );
        }
    }

    #[test]
    fn ports_that_are_taken_each_time_end_it_in_the_engines_words() {
        let stage = Stage::new(99, &TAKEN[1].replace("PORT", "8080"));
        let (result, said) = stage.run(&of_ports());
        let error = format!("{:#}", result.unwrap_err());
        let first = error.lines().next().unwrap();
        assert!(first.starts_with("creating the cluster e2e: docker: driver failed"), "{error}");
        assert!(first.ends_with("Bind for 127.0.0.1:8080 failed: port is already allocated."), "{error}");
        assert_eq!(said.iter().filter(|text| text.contains("made again")).count(), 2, "{said:?}");
    }

    #[test]
    fn a_node_image_that_was_removed_meanwhile_is_told_of() {
        let mut stage = Stage::new(99, "Error: initializing source docker://n: connection refused");
        let answers = "case \"$*\" in info*) echo 28.2.2 ;; image*) echo '[]'; echo 'Error: No such image: n' >&2; exit 1 ;; esac";
        stage.engine = Engine::at(Flavor::Docker, &program(&stage.folder, "docker", answers), &[]).unwrap();
        let error = format!("{:#}", stage.run(&of_ports()).0.unwrap_err());
        assert!(error.starts_with("creating the cluster e2e: the node image n is gone: "), "{error}");
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let stage = Stage::new(99, "Error: short-name resolution enforced");
        let (result, said) = stage.run(&of_ports());
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.starts_with("creating the cluster e2e: docker: short-name resolution enforced\n"), "{error}");
        assert!(said.is_empty(), "{said:?}");
    }
}
