//! With real processes: this test program plays a service, and `sh` one that fails.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::control::{self, Control};
use super::super::launch::{LaunchFile, Prepare, Program, Replacement};
use super::super::state::Phase;
use super::*;
use crate::suite::processes::{NamedPort, Piece, Readiness};

/// Set for this test program where it is to play a service.
const ROLE: &str = "XTASK_SERVICE";
const SOON: Duration = Duration::from_secs(30);

/// Serves until SIGTERM, then until the connections that it has are closed: each is greeted with the instance's name, and
/// what comes in is sent back. It says what it does, as services do.
#[test]
fn service() {
    let Ok(name) = std::env::var(ROLE) else { return };
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    e2e_support::signals::restore_defaults();
    let cancel = Cancel::new();
    e2e_support::signals::install(cancel.clone(), e2e_support::signals::First::Asks, || {}).unwrap();
    let word = std::fs::read_to_string("word").unwrap();
    if word == "broken" {
        println!("the word is broken");
        std::process::exit(3);
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let open = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let of_thread = Arc::clone(&open);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, name, word, open) = (stream.unwrap(), name.clone(), word.clone(), Arc::clone(&of_thread));
            open.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::thread::spawn(move || {
                let greeting = format!("{name} {word} {}\n", std::env::var("LEVEL").unwrap_or_default());
                let mut heard = String::new();
                if stream.write_all(greeting.as_bytes()).is_ok() && stream.read_to_string(&mut heard).is_ok() {
                    let _ = stream.write_all(heard.as_bytes());
                }
                open.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
    });
    println!("serving");
    while !cancel.sleep(Duration::from_millis(10)) {}
    println!("ending");
    while open.load(std::sync::atomic::Ordering::SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::exit(0);
}

fn text(text: &str) -> Vec<Piece> {
    vec![Piece::Text(text.to_owned())]
}

fn launch(workload: &str, order: Replacement) -> Launch {
    let exe = Utf8PathBuf::try_from(std::env::current_exe().unwrap()).unwrap();
    let test = "target::processes::supervisor::tests::service";
    Launch {
        workload: workload.to_owned(),
        namespace: "shop".to_owned(),
        program: Program::OfHost {
            name: exe.file_name().unwrap().to_owned(),
            folders: vec![exe.parent().unwrap().to_owned()],
        },
        args: [test, "--exact", "--nocapture"].map(text).to_vec(),
        env: BTreeMap::from([
            (ROLE.to_owned(), vec![Piece::Name]),
            ("PORT".to_owned(), vec![Piece::Port("tcp".to_owned())]),
        ]),
        files: vec![LaunchFile { path: "word".into(), text: text("hello") }],
        prepare: Vec::new(),
        ports: vec![NamedPort { name: "tcp".to_owned(), node_port: Some(30080) }],
        ready: Readiness { port: "tcp".to_owned(), http: None },
        stop: Signal::TERM,
        grace: Duration::from_secs(20),
        user: None,
        account: "default".to_owned(),
        replicas: 1,
        order,
    }
}

struct Stand {
    dir: tempfile::TempDir,
    supervisor: Supervisor,
}

impl Stand {
    fn new(launches: Vec<Launch>) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let folders = Folders { work: root.join("work"), logs: root.join("logs"), stage: root.join("stage") };
        Stand { supervisor: Supervisor::new(launches, folders).unwrap(), dir }
    }

    fn started(launches: Vec<Launch>) -> Stand {
        let names: Vec<String> = launches.iter().map(|launch| launch.workload.clone()).collect();
        let stand = Stand::new(launches);
        for name in names {
            stand.supervisor.start(&name, Instant::now() + SOON, &Cancel::new()).unwrap();
        }
        stand
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    /// A connection to the workload, with the line that it is greeted with.
    fn connect(&self, workload: &str) -> (TcpStream, String) {
        let address = self.supervisor.shared.address(workload, "tcp").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        (stream, line.trim().to_owned())
    }

    fn phases(&self, workload: &str) -> Vec<(String, Phase)> {
        let all = self.supervisor.shared.list(workload).unwrap();
        all.into_iter().map(|instance| (instance.name, instance.phase)).collect()
    }

    fn until(&self, workload: &str, expected: &[(&str, Phase)]) {
        let expected: Vec<(String, Phase)> =
            expected.iter().map(|(name, phase)| ((*name).to_owned(), *phase)).collect();
        let end = Instant::now() + SOON;
        while self.phases(workload) != expected {
            assert!(Instant::now() < end, "expected {expected:?}, found {:?}", self.phases(workload));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.root().join(format!("logs/shop/{name}/a.log"))).unwrap()
    }
}

fn finish(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_restart_leaves_no_gap_and_what_is_in_flight_is_answered_by_the_one_that_ends() {
    let stand = Stand::started(vec![launch("a", Replacement::NewFirst)]);
    let (in_flight, greeting) = stand.connect("a");
    assert_eq!(greeting, "a-1 hello");
    stand.supervisor.shared.restart("a").unwrap();
    let end = Instant::now() + SOON;
    loop {
        // Never is there nobody.
        let (_, greeting) = stand.connect("a");
        if greeting == "a-2 hello" {
            break;
        }
        assert_eq!(greeting, "a-1 hello");
        assert!(Instant::now() < end, "the new one never takes over");
    }
    stand.until("a", &[("a-1", Phase::Ending), ("a-2", Phase::Ready)]);
    assert_eq!(finish(in_flight, "late"), "late");
    stand.until("a", &[("a-2", Phase::Ready)]);
    assert!(stand.log("a-1").contains("ending\n"), "{}", stand.log("a-1"));
    assert!(!stand.root().join("work/instances/a-1").exists());
}

#[test]
fn one_whose_data_is_shared_ends_before_the_next_starts_and_finds_what_was_prepared_once() {
    let mut one = launch("a", Replacement::OldFirst);
    let script = "test ! -e \"$0\"/made && echo prepared && cat > \"$0\"/made";
    one.prepare = vec![Prepare {
        program: Program::OfHost { name: "sh".to_owned(), folders: Vec::new() },
        args: vec![text("-c"), text(script), vec![Piece::Data]],
        stdin: Some(text("from stdin")),
    }];
    let stand = Stand::started(vec![one]);
    assert_eq!(std::fs::read_to_string(stand.root().join("work/data/a/made")).unwrap(), "from stdin");
    let (in_flight, _) = stand.connect("a");
    stand.supervisor.shared.restart("a").unwrap();
    stand.until("a", &[("a-1", Phase::Ending)]);
    assert_eq!(finish(in_flight, "late"), "late");
    stand.until("a", &[("a-2", Phase::Ready)]);
    assert!(stand.log("a-1").contains("prepared") && !stand.log("a-2").contains("prepared"));
    stand.supervisor.shared.scale("a", 0).unwrap();
    stand.until("a", &[]);
    stand.supervisor.shared.scale("a", 1).unwrap();
    stand.until("a", &[("a-3", Phase::Ready)]);
    assert_eq!(stand.connect("a").1, "a-3 hello", "its address has stayed");
}

#[test]
fn the_socket_changes_what_runs_and_a_change_that_fails_replaces_nobody() {
    let stand = Stand::started(vec![launch("a", Replacement::NewFirst)]);
    let control = Control::open(&stand.root().join("control.sock"), &stand.supervisor.shared).unwrap();
    let mut socket = UnixStream::connect(control.path()).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let mut ask = |request: Value| -> Value {
        socket.write_all(format!("{request}\n").as_bytes()).unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    };
    let answer = ask(json!({"do": "list", "workload": "a"}));
    let one = &answer["instances"][0];
    assert_eq!((one["name"].as_str(), one["phase"].as_str()), (Some("a-1"), Some("ready")));
    assert!(TcpStream::connect(one["addresses"]["tcp"].as_str().unwrap()).is_ok());
    assert!(std::fs::read_to_string(one["log"].as_str().unwrap()).unwrap().contains("serving"));

    ask(json!({"do": "change", "workload": "a", "env": {"LEVEL": "debug"}, "files": {"word": "bye"}}));
    stand.until("a", &[("a-2", Phase::Ready)]);
    assert_eq!(stand.connect("a").1, "a-2 bye debug");

    ask(json!({"do": "change", "workload": "a", "files": {"word": "broken"}}));
    let end = Instant::now() + SOON;
    let failing = loop {
        let answer = ask(json!({"do": "list", "workload": "a"}));
        if answer["instances"][1]["restarts"] == 1 {
            break answer;
        }
        assert!(Instant::now() < end, "{answer}");
    };
    assert_eq!(failing["instances"][0]["phase"], "ready");
    assert!(failing["instances"][1]["said"].as_str().unwrap().contains("exit code 3"), "{failing}");
    assert!(stand.log("a-3").matches("the word is broken").count() >= 1);
    assert_eq!(stand.connect("a").1, "a-2 bye debug");

    ask(json!({"do": "change", "workload": "a"}));
    stand.until("a", &[("a-4", Phase::Ready)]);
    ask(json!({"do": "scale", "workload": "a", "count": 2}));
    stand.until("a", &[("a-4", Phase::Ready), ("a-5", Phase::Ready)]);
    let error = ask(json!({"do": "restart", "workload": "b"}));
    assert_eq!(error, json!({"error": "no workload `b`: there are a"}));
    let error = ask(json!({"do": "sing", "workload": "a"}));
    assert!(error["error"].as_str().unwrap().contains("sing"), "{error}");
    // A run at work is nobody's to end but its own.
    assert!(!control::tell_to_end(control.path()));
    assert!(!stand.supervisor.shared.told_to_end.is_cancelled());
    stand.supervisor.shared.stays.store(true, Ordering::SeqCst);
    assert!(control::tell_to_end(control.path()) && stand.supervisor.shared.told_to_end.is_cancelled());
    let path = control.path().to_owned();
    drop(control);
    assert!(!path.exists());
    // Also one whose socket was removed under it comes to its end.
    let control = Control::open(&path, &stand.supervisor.shared).unwrap();
    std::fs::remove_file(&path).unwrap();
    drop(control);
}

#[test]
fn a_package_is_started_again_after_what_was_compiled_has_gone() {
    let mut one = launch("a", Replacement::NewFirst);
    one.program = Program::Package("app".to_owned());
    one.args = ["-c", "echo here; sleep 600"].map(text).to_vec();
    let stand = Stand::new(vec![one]);
    let folders = &stand.supervisor.shared.folders;
    let compiled = folders.stage.join("app/out");
    std::fs::create_dir_all(&compiled).unwrap();
    std::fs::copy("/bin/sh", compiled.join("app")).unwrap();
    folders.keep_binary("app").unwrap();
    folders.keep_binary("app").unwrap();
    std::fs::remove_dir_all(&folders.stage).unwrap();
    stand.supervisor.shared.scale("a", 1).unwrap();
    let log = stand.root().join("logs/shop/a-1/a.log");
    let end = Instant::now() + SOON;
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains("here")) {
        assert!(Instant::now() < end, "{:?}", stand.supervisor.shared.list("a"));
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = folders.keep_binary("other").unwrap_err();
    assert!(format!("{error:#}").contains("stage/other/out/other"), "{error:#}");
}

#[test]
fn one_that_ends_by_itself_again_and_again_is_told_of_with_its_last_words() {
    let mut one = launch("a", Replacement::NewFirst);
    one.program = Program::OfHost { name: "sh".to_owned(), folders: Vec::new() };
    one.args = ["-c", "echo out of cheese; exit 4"].map(text).to_vec();
    let stand = Stand::new(vec![one]);
    let error = stand.supervisor.start("a", Instant::now() + SOON, &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("a-1 ended by itself, started 4 time(s)") && error.contains("out of cheese"), "{error}");
    assert!(error.contains("logs/shop/a-1/a.log"), "{error}");
}

#[test]
fn one_that_never_listens_is_given_up_at_the_deadline() {
    let mut one = launch("a", Replacement::NewFirst);
    one.program = Program::OfHost { name: "sleep".to_owned(), folders: Vec::new() };
    one.args = vec![text("600")];
    let stand = Stand::new(vec![one]);
    let error = stand.supervisor.start("a", Instant::now() + Duration::from_millis(300), &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("a-1 runs and is not ready"), "{error}");
}

#[test]
fn the_end_of_the_run_is_the_end_of_all_at_once() {
    let mut stubborn = launch("b", Replacement::NewFirst);
    stubborn.replicas = 2;
    let stand = Stand::started(vec![launch("a", Replacement::OldFirst), stubborn]);
    let port = stand.supervisor.node_ports()[&30080];
    // It would wait for this one.
    let (_in_flight, _) = stand.connect("b");
    let begin = Instant::now();
    stand.supervisor.stop();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(stand.phases("a").is_empty() && stand.phases("b").is_empty());
    let Stand { supervisor, .. } = stand;
    drop(supervisor);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
