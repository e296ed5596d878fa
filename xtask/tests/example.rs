//! `examples/wordcount`, a project without Rust, on a program that has none of its sources beside it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Ended, Job};
use xshell::{Shell, cmd};

/// How long a command may take on a machine that has to build all that the suite needs first.
const DEADLINE: Duration = Duration::from_secs(1800);

/// A copy of the project, and a program that works on it.
struct Example {
    program: Utf8PathBuf,
    root: Utf8PathBuf,
}

/// How a command ended, and what it said on both streams.
struct Ran {
    ended: Ended,
    text: String,
}

impl Example {
    /// A copy in `place`, without what an earlier one has left there but for its runs, which know of a cluster that was
    /// left.
    fn new(place: &Utf8Path, program: Utf8PathBuf) -> Result<Example> {
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wordcount");
        let root = place.join("wordcount");
        std::fs::create_dir_all(&root).with_context(|| format!("making the folder {root}"))?;
        let sh = Shell::new()?;
        let clear = "find \"$0\" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +";
        Job::new(cmd!(sh, "sh -c {clear} {root}")).run()?;
        let copy = "cd \"$0\" && tar -c --exclude ./target --exclude __pycache__ . | tar -x -C \"$1\"";
        Job::new(cmd!(sh, "sh -c {copy} {from} {root}")).run()?;
        Ok(Example { program, root })
    }

    /// In a folder of its own, with the program where cargo has put it.
    fn here(dir: &tempfile::TempDir) -> Result<Example> {
        let place = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?.canonicalize_utf8()?;
        Example::new(&place, env!("CARGO_BIN_EXE_xtask").into())
    }

    /// With another text in place of one that is in a file once.
    fn replace(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.root.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        ensure!(text.matches(from).count() == 1, "{file} has {from:?} more than once or not at all");
        std::fs::write(&path, text.replace(from, to)).with_context(|| format!("writing {path}"))
    }

    /// Runs the program in the project's folder, as somebody does who has no cargo.
    fn run(&self, words: &[&str]) -> Result<Ran> {
        let sh = Shell::new()?;
        sh.change_dir(&self.root);
        let program = &self.program;
        let log = self.root.join("said.log");
        std::fs::write(&log, "").with_context(|| format!("writing {log}"))?;
        let mut call = cmd!(sh, "{program} {words...}");
        for name in ["CARGO", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_MANIFEST_DIR"] {
            call = call.env_remove(name);
        }
        let out = Job::new(call).deadline(DEADLINE).log(&log).output()?;
        let text = out.stdout + &std::fs::read_to_string(&log).with_context(|| format!("reading {log}"))?;
        Ok(Ran { ended: out.ended, text })
    }
}

impl Ran {
    /// Fails, with all that was said, unless it ended with this exit code and said all of `words`.
    #[track_caller]
    fn must(&self, code: i32, words: &[&str]) -> &str {
        assert_eq!(self.ended, Ended::Exited(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "{word:?} is not in:\n{}", self.text);
        }
        &self.text
    }
}

#[test]
fn it_is_checked_and_planned_without_rust_and_without_a_list_of_pieces() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let example = Example::here(&dir)?;
    for missing in ["Cargo.toml", "images/setup.yaml"] {
        assert!(!example.root.join(missing).exists(), "{missing}");
    }
    example.run(&["check"])?.must(0, &["wordcount: nothing that would go wrong was found"]);
    let steps = ["image:web", "image:worker", "image:seed", "list specs", "ready:redis", "ready:web", "ready:seed"];
    let plan = example.run(&["plan", "wordcount"])?;
    assert!(!plan.must(0, &steps).contains("compile"), "{}", plan.text);
    // What is wrong is told where it stands, also in what kustomize makes.
    for (file, from, to, said) in [
        (
            "deploy/e2e/kustomization.yaml",
            "../base",
            "../bsae",
            "kustomization.yaml:5:13: `../bsae`: there is no such file",
        ),
        (
            "deploy/e2e/kustomization.yaml",
            "newTag: e2e }\n  - { name: registry.example/wordcount-worker",
            "newTag: e3e }\n  - { name: registry.example/wordcount-worker",
            "deploy/base/web.yaml:",
        ),
        ("deploy/base/web.yaml", "targetPort: http", "targetPort: htpt", "error[port]: deploy/base/web.yaml:9:"),
        (
            "manifests/suites/wordcount.yaml",
            "specs/run.py",
            "specs/rum.py",
            "wordcount.yaml:47:22: `specs/rum.py`: there is no such file",
        ),
        (
            "manifests/suites/wordcount.yaml",
            "target: seed",
            "target: sead",
            "worker/Dockerfile has no stage `sead` (did you mean `seed`?)",
        ),
        (
            "manifests/suites/wordcount.yaml",
            "preload: [redis]",
            "preload: [rediss]",
            "this program's own images/setup.yaml lists no image `rediss`",
        ),
    ] {
        let dir = tempfile::tempdir()?;
        let example = Example::here(&dir)?;
        example.replace(file, from, to)?;
        example.run(&["check"])?.must(2, &[said]);
    }
    Ok(())
}

#[test]
#[ignore = "makes two clusters; `cargo xtask ci` runs it"]
fn it_runs_where_nothing_of_this_repository_is() -> Result<()> {
    // Always the same place: what a killed run has left there the next one finds.
    let place = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("example");
    let (from, program) = (env!("CARGO_BIN_EXE_xtask"), place.join("bin/xtask"));
    let sh = Shell::new()?;
    let copy = "mkdir -p \"$(dirname \"$1\")\" && rm -f \"$1\" && cp \"$0\" \"$1\"";
    // By another process: a program that this one writes cannot always be started.
    Job::new(cmd!(sh, "sh -c {copy} {from} {program}")).run()?;
    let example = Example::new(&place, program)?;
    let tell = |ran: &Ran| println!("{}", ran.text);
    let ran = example.run(&["e2e", "wordcount", "--yes"])?;
    tell(&ran);
    ran.must(0, &["5 passed; passed in"]);
    let ran = example.run(&["up", "wordcount"])?;
    tell(&ran);
    let answered =
        ran.ended == Ended::Exited(0) && counted(&ran.text).is_ok_and(|answer| answer.contains("\"count\": 2"));
    let status = example.run(&["status", "wordcount"])?;
    let down = example.run(&["down", "wordcount"])?;
    tell(&down);
    ran.must(0, &["stays; remove it: xtask down wordcount", "have a text counted:"]);
    assert!(answered, "the service does not answer where `up` says");
    status.must(0, &["wordcount"]);
    down.must(0, &["is gone"]);
    Ok(())
}

/// What the service says of a word that the seed has put in, at the address that `up` has printed.
fn counted(printed: &str) -> Result<String> {
    let rest = printed.split_once("  http://").context("no address was printed")?.1;
    let address = rest.split_whitespace().next().context("no address was printed")?;
    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /words/welcome HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("reading the answer of {address}"))?;
    Ok(answer)
}
