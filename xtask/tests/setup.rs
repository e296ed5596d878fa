//! `cargo xtask setup` on machines that are made up: a PATH with programs that answer as a test wants.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Ended, Finished, Job, ProcessError};
use testbed::fakes::{Fake, Play};
use xshell::{Cmd, Shell, cmd};
use xtask::setup::catalog::Catalog;
use xtask::setup::host::Host;
use xtask::setup::piece::{self, STAND_IN_LABEL};

/// A set-up that has not ended by then loops.
const LOOPS: Duration = Duration::from_secs(40);
const DEBIAN: &str = "docker.io/library/debian:trixie-slim";

/// A machine with podman and hardly anything else.
struct Machine {
    _dir: tempfile::TempDir,
    at: Utf8PathBuf,
    fake: Fake,
    env: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let at = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        let fake = Fake::new(&at).unwrap();
        for name in ["docker", "kind", "kubectl"] {
            fake.remove(name).unwrap();
        }
        ["sed", "dirname", "flock"].iter().for_each(|name| fake.tool(name).unwrap());
        // Images whose C library is younger than any machine's.
        fake.on("podman", "run *getconf*", Play::says("glibc 2.99")).unwrap();
        Machine { _dir: dir, at, fake, env: Vec::new() }
    }

    fn on(self, program: &str, pattern: &str, play: Play) -> Machine {
        self.fake.on(program, pattern, play).unwrap();
        self
    }

    /// Go, of that version. It compiles nothing.
    fn with_go(self, version: &str) -> Machine {
        let said = format!("go version go{version} linux/amd64");
        self.on("go", "*", Play::fails(1, "no compiler here")).on("go", "version", Play::says(said))
    }

    /// Debian's programs for packages. All are installed but `missing`, which stays so.
    fn with_apt(self, missing: &str) -> Machine {
        let list = format!("shift 3; for name; do [ \"$name\" = '{missing}' ] || echo \"ii  $name\"; done");
        let machine = self.on("dpkg-query", "*", Play::script(list));
        // What the installation is made of; sudo, for a test that is not root's.
        let machine = machine.on("apt-get", "*", Play::default()).on("dpkg", "*", Play::default());
        machine.on("sudo", "*", Play::default())
    }

    fn env(mut self, name: &str, value: &str) -> Machine {
        self.env.push((name.into(), value.into()));
        self
    }

    fn cache(&self) -> Utf8PathBuf {
        self.at.join("cache/gateway-e2e")
    }

    /// Puts pieces that are files in place.
    fn with_pieces(self, names: &[&str]) -> Machine {
        let (catalog, keys) = catalog();
        for name in names {
            let folder = piece::folder(&self.cache(), catalog.piece(name).unwrap(), &keys[*name]);
            std::fs::create_dir_all(folder).unwrap();
        }
        self
    }

    /// Gives podman all images of the catalog, made here, but those of the pieces `without`.
    fn with_stand_ins(self, without: &[&str]) -> Machine {
        let (catalog, keys) = catalog();
        for piece in catalog.pieces.iter().filter(|piece| !without.contains(&piece.name.as_str())) {
            if let Some(reference) = &piece.replaces {
                self.fake.image("podman", reference, &[(STAND_IN_LABEL, &keys[&piece.name])]).unwrap();
            }
        }
        self
    }

    /// Gives podman an image with that digest in that repository.
    fn with_public(self, reference: &str, repository: &str, digest: &str) -> Machine {
        let arch = Host::look().arch;
        let inspected =
            format!(r#"[{{"Id": "sha256:0123", "Architecture": "{arch}", "RepoDigests": ["{repository}@{digest}"]}}]"#);
        self.on("podman", &format!("image inspect {reference}"), Play::says(inspected))
    }

    fn command<'sh>(&self, sh: &'sh Shell, words: &[&str]) -> Cmd<'sh> {
        let program = env!("CARGO_BIN_EXE_xtask");
        let mut cmd = cmd!(sh, "{program} setup gateway").args(words);
        for name in ["E2E_ENGINE", "CONTAINER_HOST", "CONTAINERS_CONF", "DOCKER_HOST", "HTTPS_PROXY", "https_proxy"] {
            cmd = cmd.env_remove(name);
        }
        let cmd = cmd.env("PATH", self.fake.path()).env("XDG_CACHE_HOME", self.at.join("cache"));
        cmd.envs(self.env.iter().map(|(name, value)| (name, value)))
    }

    /// Runs the set-up, which must come to an end by itself.
    fn setup(&self, words: &[&str]) -> Finished {
        let sh = Shell::new().unwrap();
        Job::new(self.command(&sh, words)).deadline(LOOPS).log(self.at.join("log")).output().unwrap()
    }

    /// What the set-ups said until now.
    fn said(&self) -> String {
        std::fs::read_to_string(self.at.join("log")).unwrap()
    }

    /// What the set-up, which must fail, said, with each of `expected` in it.
    fn fails(&self, words: &[&str], expected: &[&str]) -> String {
        let finished = self.setup(words);
        let said = self.said();
        assert_eq!(finished.ended, Ended::Exited(1), "{said}");
        for one in expected {
            assert!(said.contains(one), "{one:?} is missing in:\n{said}");
        }
        said
    }

    fn calls_of(&self, program: &str) -> Vec<String> {
        self.fake.calls_of(program).unwrap()
    }
}

fn catalog() -> (Catalog, BTreeMap<String, String>) {
    let root = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let catalog = Catalog::read(root).unwrap();
    let keys = piece::keys(root, &catalog, Host::look().arch).unwrap();
    (catalog, keys)
}

/// podman whose service is not there.
fn silent() -> Play {
    Play::fails(125, "Error: unable to connect to Podman socket")
}

/// curl that gets something, and never what it should be.
fn wrong() -> Play {
    Play::script("for last; do [ \"$before\" != --output ] || echo wrong >\"$last\"; before=$last; done")
}

#[test]
fn an_engine_that_does_not_answer_is_no_reason_to_install_it_again() {
    let machine = Machine::new().with_apt("").on("podman", "ps*", silent());
    let words = ["does not answer", "unable to connect to Podman socket", "see to it that podman answers"];
    machine.fails(&["--yes"], &words);
    let machine = Machine::new().with_apt("buildah").on("podman", "ps*", silent()).env("CONTAINER_HOST", "unix:///no");
    let said = machine.fails(&["--yes"], &["CONTAINER_HOST is set: unset it"]);
    assert!(!said.contains("docker.io/library/redis"), "nobody knows which images it has:\n{said}");
    assert_eq!(machine.calls_of("apt-get"), [""; 0]);
}

#[test]
fn a_machine_of_the_engines_own_that_is_too_small_is_told_before_it_is_used() {
    let small =
        r#"{"host": {"memTotal": 1000000000}, "store": {"graphRootAllocated": 90000000, "graphRootUsed": 60000000}}"#;
    let machine = || Machine::new().with_go("1.26.3").with_apt("").on("podman", "info*", Play::says(small));
    let remote = machine().env("CONTAINER_HOST", "tcp://127.0.0.1:1");
    let memory = "too little memory for a cluster: 1000 MB of at least 1800 MB; podman machine";
    remote.fails(&["--yes"], &[memory, "too little disk: about ", "30 MB are free"]);
    // Of this machine it says nothing.
    let here = machine().on("curl", "*", wrong());
    let said = here.fails(&["--yes"], &[]);
    assert!(!said.contains("the machine that podman runs containers on"), "{said}");
}

#[test]
fn what_is_still_missing_after_it_was_put_in_place_ends_the_set_up() {
    let machine = Machine::new().with_apt("buildah").on("podman", "ps*", silent()).with_go("1.26.3");
    let machine = machine.with_pieces(&["kind", "kubectl"]);
    machine.fails(&["--yes"], &["this was done, and is still to do: installing buildah"]);
}

#[test]
fn ctrl_c_ends_a_set_up_whose_engine_hangs() {
    let machine = Machine::new().with_apt("").on("podman", "ps*", Play::hangs());
    let sh = Shell::new().unwrap();
    e2e_support::signals::restore_defaults();
    let mut setup = Job::new(machine.command(&sh, &["--yes"])).log(machine.at.join("log")).daemon().unwrap();
    let asked = || !machine.calls_of("podman").is_empty();
    setup.wait_until("the engine to be asked", Duration::from_secs(20), asked).unwrap();
    let pid = rustix::process::Pid::from_raw(setup.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let begin = Instant::now();
    let ended = loop {
        if let Err(error) = setup.check() {
            break error.downcast_ref::<ProcessError>().unwrap().ended;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "deaf to SIGINT: {}", machine.said());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(ended, Ended::Exited(130), "{}", machine.said());
}

#[test]
fn what_has_another_checksum_than_the_committed_one_ends_the_set_up() {
    let machine = Machine::new().with_stand_ins(&[]).with_go("1.26.3").on("curl", "*", wrong());
    let words = ["the SHA-256 of what came is", "images/setup.yaml says", "nothing of it was kept"];
    let said = machine.fails(&["--yes"], &words);
    assert!(!said.contains("done in"), "{said}");
    assert_eq!(machine.calls_of("go"), [""; 0], "nothing is compiled in its place");
    assert!(!machine.cache().join("pieces").exists());
}

#[test]
fn a_fetch_that_fails_is_told_before_the_slow_way_is_taken() {
    let busy = Play::fails(22, "curl: (22) The requested URL returned error: 429");
    let machine = Machine::new().with_stand_ins(&[]).with_pieces(&["kubectl"]).with_go("1.26.3");
    let machine = machine.on("curl", "*", busy).on("curl", "*--head*", Play::default());
    let failed = "failed: curl: (22) The requested URL returned error: 429; building it is tried next";
    let said = machine.fails(&["--yes"], &[failed]);
    let plan = said.rfind("build it from packages").unwrap();
    assert!(said.find(failed).unwrap() < plan, "{said}");
    assert!(said[plan..].contains("making kind by images/kind/build.sh") && !said.contains("kind: done"), "{said}");
}

#[test]
fn a_site_that_is_out_of_reach_is_named_with_the_reason_in_the_plan() {
    for (code, reason) in [
        (6, "curl: (6) Could not resolve host: x"),
        (56, "curl: (56) CONNECT tunnel failed, response 407"),
        (60, "curl: (60) SSL certificate problem: unable to get local issuer certificate"),
    ] {
        let machine = Machine::new().with_stand_ins(&[]).with_go("1.26.3").on("curl", "*", Play::fails(code, reason));
        let why = format!("kind.sigs.k8s.io does not give it: {reason}");
        machine.fails(&["--check"], &["missing:", "build it from packages", &why]);
    }
    let machine = Machine::new().with_stand_ins(&[]).with_go("1.26.3");
    machine.fails(&["--check"], &["build it from packages", "curl is not on PATH"]);
}

#[test]
fn curl_is_installed_where_it_can_be() {
    let machine = Machine::new().with_stand_ins(&[]).with_apt("curl");
    let said = machine.fails(&["--check"], &["apt-get install curl", "download (15 MB)"]);
    assert!(!said.contains("build it from packages"), "{said}");
}

#[test]
fn a_go_that_is_too_old_is_named_with_its_version() {
    let machine = Machine::new().with_stand_ins(&[]).with_go("1.21.5");
    let words = ["go version go1.21.5", "1.26.3 or later is needed", "cannot be made without it: kind, kubernetes"];
    machine.fails(&["--yes"], &words);
}

#[test]
fn the_node_image_is_pulled_by_its_digest_alone_and_then_named() {
    let (catalog, _) = catalog();
    let node = catalog.piece("node").unwrap();
    let (reference, digest) = (node.replaces.clone().unwrap(), node.digest.clone().unwrap());
    let (repository, _) = reference.rsplit_once(':').unwrap();
    let exact = format!("{repository}@{digest}");
    // An image of that name which is another one is not used in silence.
    let machine = Machine::new().with_stand_ins(&["node"]).with_pieces(&["kind", "kubectl"]);
    let machine = machine.with_public(&reference, repository, "sha256:abc");
    let machine = machine.on("podman", &format!("manifest inspect {exact} *"), Play::default());
    machine
        .fails(&["--check"], &["an image with the digest sha256:abc has that name, and wanted is", "pull (1200 MB)"]);
    let pull = format!("pull --quiet --platform linux/{} {exact}", Host::look().arch);
    let machine = machine.on("podman", &pull, Play::default());
    let machine = machine.on("podman", &format!("tag {exact} {reference}"), Play::script("touch \"$home/tagged\""));
    let arch = Host::look().arch;
    let inspected = format!(r#"[{{"Architecture": "{arch}", "RepoDigests": ["{exact}"]}}]"#);
    let now = format!("[ ! -e \"$home/tagged\" ] || {{ echo '{inspected}'; exit; }}");
    let machine = machine.on("podman", &format!("image inspect {reference}"), Play::script(now).and_passes_on());
    assert_eq!(machine.setup(&["--yes"]).ended, Ended::Exited(0), "{}", machine.said());
    assert!(machine.calls_of("podman").contains(&pull));
    assert_eq!(machine.setup(&["--check"]).ended, Ended::Exited(0), "{}", machine.said());
}

#[test]
fn one_image_that_a_registry_does_not_have_says_nothing_of_the_others() {
    let machine = Machine::new().with_stand_ins(&["base", "redis"]).with_pieces(&["kind", "kubectl"]).with_apt("");
    let unknown = Play::fails(125, "Error: reading manifest trixie-slim in x/debian: manifest unknown");
    let machine = machine.on("podman", "manifest inspect *", Play::default());
    let machine = machine.on("podman", "manifest inspect *debian*", unknown);
    let said = machine.fails(&["--check"], &["docker.io does not give it: Error: reading manifest trixie-slim"]);
    assert!(said.contains("pull (150 MB) as docker.io/library/redis"), "{said}");
}

#[test]
fn an_image_that_is_pulled_and_is_another_one_ends_the_set_up() {
    let (catalog, _) = catalog();
    let reference = catalog.piece("node").unwrap().replaces.clone().unwrap();
    let machine = Machine::new().with_stand_ins(&["node"]).with_pieces(&["kind", "kubectl"]);
    let machine = machine.on("podman", "manifest*|pull*", Play::default());
    let machine = machine.on("podman", "tag*", Play::script("touch \"$home/tagged\""));
    let now = "[ ! -e \"$home/tagged\" ] || { echo '[{\"Architecture\": \"riscv64\"}]'; exit; }";
    let machine = machine.on("podman", &format!("image inspect {reference}"), Play::script(now).and_passes_on());
    machine.fails(&["--yes"], &["pulling docker.io/kindest/node@sha256:", "an image for riscv64 has that name"]);
    assert_eq!(machine.calls_of("podman").iter().filter(|call| call.starts_with("pull")).count(), 1);
}

#[test]
fn a_registry_that_has_something_else_by_that_digest_ends_the_set_up() {
    let machine = Machine::new().with_stand_ins(&["node"]).with_pieces(&["kind", "kubectl"]).with_apt("");
    let other = "Error: parsing image: manifest does not match provided manifest digest sha256:abc";
    let machine = machine.with_go("1.26.3").on("podman", "manifest*|pull*", Play::fails(125, other));
    let words = ["pulling docker.io/kindest/node@sha256:", "manifest does not match provided manifest digest"];
    let said = machine.fails(&["--yes"], &words);
    assert!(!said.contains("build it from packages"), "{said}");
    assert_eq!(machine.calls_of("podman").iter().filter(|call| call.starts_with("build")).count(), 0);
}

#[test]
fn a_public_image_that_became_another_one_is_told() {
    let mut machine = Machine::new().with_stand_ins(&["base"]).with_pieces(&["kind", "kubectl"]);
    for (digest, told) in [("sha256:old", false), ("sha256:old", false), ("sha256:new", true), ("sha256:new", false)] {
        machine = machine.with_public(DEBIAN, "docker.io/library/debian", digest);
        std::fs::write(machine.at.join("log"), "").unwrap();
        assert_eq!(machine.setup(&["--yes"]).ended, Ended::Exited(0), "{}", machine.said());
        let expected = format!("another image than the last time: {DEBIAN} sha256:new (the last time sha256:old)");
        assert_eq!(machine.said().contains(&expected), told, "{digest}: {}", machine.said());
    }
}

#[test]
fn a_proxys_password_is_on_no_command_line_and_in_no_output() {
    let proxy = "http://user:hunter2@proxy:3128";
    let machine = Machine::new().with_stand_ins(&[]).on("curl", "*", wrong());
    let machine = machine.env("HTTPS_PROXY", proxy).env("https_proxy", proxy);
    let said = machine.fails(&["--yes"], &["the SHA-256 of what came is"]);
    let calls = machine.fake.calls().unwrap();
    assert!(calls.iter().any(|call| call.program == "curl"));
    assert!(!format!("{said}{calls:?}").contains("hunter2"), "{said}{calls:?}");
}

/// A machine whose own binaries do not run in the images, on which everything else is there.
fn newer_than_its_images() -> Machine {
    let machine = Machine::new().with_stand_ins(&[]).with_pieces(&["kind", "kubectl"]);
    machine.on("podman", "run *getconf*", Play::says("glibc 2.17"))
}

#[test]
fn a_host_that_is_newer_than_the_images_gets_zig_and_others_do_not() {
    let machine = Machine::new().with_stand_ins(&[]).with_pieces(&["kind", "kubectl"]);
    assert_eq!(machine.setup(&["--check"]).ended, Ended::Exited(0), "{}", machine.said());
    assert!(!machine.said().contains("zig"), "{}", machine.said());
    let machine = newer_than_its_images().on("curl", "*--head*", Play::default()).on("curl", "*", wrong());
    machine.fake.tool("unzip").unwrap();
    let said = machine.fails(&["--check"], &["missing:", "zig: zig, a C compiler", "download (460 MB)"]);
    assert!(!said.contains("rust-builder"), "{said}");
    machine.fails(&["--yes"], &["the SHA-256 of what came is", "nothing of it was kept"]);
}

#[test]
fn where_zig_is_not_to_be_had_services_are_compiled_in_containers_and_that_is_said() {
    let machine = newer_than_its_images().on("curl", "*", Play::fails(6, "curl: (6) Could not resolve host: x"));
    machine.fake.tool("unzip").unwrap();
    assert_eq!(machine.setup(&["--yes"]).ended, Ended::Exited(0), "{}", machine.said());
    let said = machine.said();
    for word in ["services are compiled in containers", "zig cannot be had", "curl: (6) Could not resolve host"] {
        assert!(said.contains(word), "{word:?} is missing in:\n{said}");
    }
}
