use std::time::{Duration, Instant};

use e2e_support::{Ended, Job};
use xshell::Shell;

use super::*;

fn job<'a>(sh: &'a Shell, fake: &Fake, program: &str, words: &[&str]) -> Job<'a> {
    Job::new(sh.cmd(fake.program(program)).args(words))
}

fn fake() -> (tempfile::TempDir, Fake) {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new(dir.path()).unwrap();
    (dir, fake)
}

#[test]
fn the_newest_rule_that_matches_is_played_and_every_call_is_noted() {
    let (_dir, fake) = fake();
    let sh = Shell::new().unwrap();
    fake.note(&["FAKE_NOTED", "FAKE_ABSENT"]).unwrap();
    fake.on("kubectl", "get *", Play::says("it's $HOME")).unwrap();
    fake.on("kubectl", "get pods -o {.a}|list", Play::fails(3, "no").and_says("half")).unwrap();
    fake.on("kubectl", "*", Play::fails(1, "not yet").times(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(job(&sh, &fake, "kubectl", &["list"]).output().unwrap().ended, Ended::Exited(1));
    }
    assert_eq!(job(&sh, &fake, "kubectl", &["get", "x"]).read().unwrap(), "it's $HOME");
    let out = job(&sh, &fake, "kubectl", &["get", "pods", "-o", "{.a}"]).output().unwrap();
    assert_eq!((out.ended, out.stdout.as_str()), (Ended::Exited(3), "half\n"));
    let odd = ["two words", "two\nlines", ""];
    Job::new(sh.cmd(fake.program("kubectl")).args(odd).env("FAKE_NOTED", "a=b c")).output().unwrap();
    let last = fake.calls().unwrap().pop().unwrap();
    let env = BTreeMap::from([("FAKE_NOTED".to_owned(), "a=b c".to_owned())]);
    assert_eq!(last, Call { program: "kubectl".into(), args: odd.map(str::to_owned).into(), env });
    assert_eq!(fake.calls_of("kubectl").unwrap()[..3], ["list", "list", "get x"]);
}

#[test]
fn what_nobody_foresaw_is_no_success() {
    let (_dir, fake) = fake();
    let sh = Shell::new().unwrap();
    for (program, words) in [("kubectl", ["get", "x"]), ("podman", ["system", "reset"]), ("kind", ["delete", "x"])] {
        let out = job(&sh, &fake, program, &words).output().unwrap();
        assert_eq!(out.ended, Ended::Exited(99));
        assert!(out.tail.contains(&format!("the fake {program} has no rule for: {}", words.join(" "))), "{}", out.tail);
    }
}

#[test]
fn one_can_be_slow_dead_or_killed() {
    let (_dir, fake) = fake();
    let sh = Shell::new().unwrap();
    fake.on("podman", "--version", Play::slow(Duration::from_millis(60))).unwrap();
    let begin = Instant::now();
    assert_eq!(job(&sh, &fake, "podman", &["--version"]).read().unwrap(), "podman version 4.3.1");
    assert!(begin.elapsed() >= Duration::from_millis(60));
    fake.on("podman", "ps*", Play::hangs()).unwrap();
    fake.on("podman", "rm*", Play::dies()).unwrap();
    let deadline = Duration::from_millis(50);
    let error = job(&sh, &fake, "podman", &["ps"]).deadline(deadline).run().unwrap_err().to_string();
    assert!(error.contains("still running after its deadline"), "{error}");
    let died = job(&sh, &fake, "podman", &["rm"]).output().unwrap();
    assert_eq!(died.ended, Ended::Signalled(9));
}

#[test]
fn containers_and_images_come_and_go() {
    let (_dir, fake) = fake();
    let sh = Shell::new().unwrap();
    let read = |program: &str, words: &[&str]| job(&sh, &fake, program, words).read();
    fake.image("podman", "localhost/node:1", &[("suite", "one")]).unwrap();
    let create = ["create", "cluster", "--name", "c", "--image", "localhost/node:1", "--kubeconfig"];
    let kubeconfig = fake.dir().join("kubeconfig");
    let kind = sh.cmd(fake.program("kind")).args(create).arg(&kubeconfig);
    Job::new(kind.env("KIND_EXPERIMENTAL_PROVIDER", "podman")).run().unwrap();
    assert_eq!((fake.containers("podman"), fake.containers("docker")), (vec!["c-control-plane".into()], vec![]));
    let labels = ["ps", "--all", "--quiet", "--filter", "label=suite=one", "--filter", "label=io.x-k8s.kind.cluster=c"];
    let id = read("podman", &labels).unwrap();
    assert_eq!(id.len(), 64);
    assert_eq!(read("podman", &["ps", "--quiet", "--filter", "label=suite=two"]).unwrap(), "");
    let inspected: serde_json::Value =
        serde_json::from_str(&read("podman", &["container", "inspect", &id]).unwrap()).unwrap();
    assert_eq!(inspected[0]["Config"]["Labels"]["suite"], "one");
    assert_eq!(inspected[0]["State"]["Status"], "running");
    assert_eq!(
        read("podman", &["volume", "ls", "--quiet", "--filter", "label=c-control-plane"]).unwrap(),
        "c-control-plane"
    );
    read("podman", &["rm", "--force", "--time", "0", "--volumes", "c-control-plane", "gone"]).unwrap();
    assert!(fake.containers("podman").is_empty());
    read("podman", &["tag", "localhost/node:1", "localhost/other"]).unwrap();
    read("podman", &["rmi", "localhost/node:1"]).unwrap();
    assert!(fake.has_image("podman", "localhost/other:latest") && !fake.has_image("podman", "localhost/node:1"));
    let gone = job(&sh, &fake, "docker", &["image", "inspect", "gone"]).output().unwrap();
    assert!(gone.tail.contains("No such image: gone:latest"), "{}", gone.tail);
}
