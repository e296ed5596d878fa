//! The socket by which specs and other commands change which instances there are: JSON lines, one answer for each.
//!
//! ```json
//! {"do": "list", "workload": "shop"}
//! {"do": "scale", "workload": "shop", "count": 2}
//! {"do": "restart", "workload": "shop"}
//! {"do": "change", "workload": "shop", "env": {"LEVEL": "debug"}, "files": {"rules": "…"}}
//! {"do": "end"}
//! ```
//!
//! The last is for what stays until it is told to end, and an error before that. A change takes the place of an earlier
//! one; one without anything in it undoes that. None of these waits: each is answered with the workload's instances as
//! they are then, `{"instances": […]}`, or with `{"error": "…"}`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::shared::Shared;
use super::state::{Change, Instance, Phase};
use crate::disk;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What somebody wants.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    List {
        workload: String,
    },
    Scale {
        workload: String,
        count: usize,
    },
    Restart {
        workload: String,
    },
    Change {
        workload: String,
        #[serde(default)]
        env: BTreeMap<String, String>,
        #[serde(default)]
        files: BTreeMap<Utf8PathBuf, String>,
    },
    End,
}

/// What they are told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Instances(Vec<Described>),
    Error(String),
}

/// One instance as it is told of.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    phase: Phase,
    /// `host:port` of each of its own ports.
    addresses: BTreeMap<String, String>,
    /// The file with all that it has printed.
    log: Utf8PathBuf,
    /// How often it was started again.
    restarts: u32,
    /// How it ended, where it ended by itself.
    said: Option<String>,
}

/// Answers at a socket until it is dropped, which removes the socket.
#[derive(Debug)]
pub(super) struct Control {
    path: Utf8PathBuf,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens at `path`, or at one in the folder for temporary files where that is too long for a socket.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(super) fn open(path: &Utf8Path, shared: &Arc<Shared>) -> Result<Control> {
        let path = disk::socket(path)?;
        let doing = || format!("listening at the socket {path}");
        // One of a run that was killed.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(doing)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, shared) = (Arc::clone(&is_over), Arc::clone(shared));
        let listening = std::thread::Builder::new().name("control".into()).spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { continue };
                // Where there is no thread for it the other side finds its connection closed.
                let _ = std::thread::Builder::new().name("control".into()).spawn(move || serve(&stream, &shared));
            }
        });
        let listening = Some(listening.with_context(doing)?);
        Ok(Control { path, is_over, listening })
    }

    /// The socket.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The thread waits for a connection: this one. Where somebody has removed the socket it waits until this program ends.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.listening.take()
        {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Tells whoever listens at a socket to end; returns whether somebody has heard it.
pub(super) fn tell_to_end(path: &Utf8Path) -> bool {
    let tell = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"{\"do\":\"end\"}\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line.contains("instances"))
    };
    tell().unwrap_or(false)
}

/// Answers line after line, until the other side closes.
fn serve(stream: &UnixStream, shared: &Arc<Shared>) {
    let mut to = stream;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answer = answer(&line, shared).unwrap_or_else(|error| Answer::Error(format!("{error:#}")));
        let Ok(mut text) = serde_json::to_vec(&answer) else { return };
        text.push(b'\n');
        if to.write_all(&text).is_err() {
            return;
        }
    }
}

fn answer(line: &str, shared: &Arc<Shared>) -> Result<Answer> {
    let request: Request = serde_json::from_str(line).with_context(|| format!("reading the request {line}"))?;
    let workload = match request {
        Request::List { workload } => workload,
        Request::Scale { workload, count } => {
            shared.scale(&workload, count)?;
            workload
        }
        Request::Restart { workload } => {
            shared.restart(&workload)?;
            workload
        }
        Request::Change { workload, env, files } => {
            shared.change(&workload, Change { env, files })?;
            workload
        }
        Request::End => {
            ensure!(shared.stays.load(Ordering::SeqCst), "the run is at work: it ends by itself, or by Ctrl-C");
            shared.told_to_end.cancel("told to end");
            return Ok(Answer::Instances(Vec::new()));
        }
    };
    let launch = shared.launch(&workload)?;
    let describe = |instance: Instance| Described {
        log: shared.folders.log(launch, &instance.name),
        addresses: instance.ports.iter().map(|(name, port)| (name.clone(), format!("127.0.0.1:{port}"))).collect(),
        name: instance.name,
        phase: instance.phase,
        restarts: instance.restarts,
        said: instance.said,
    };
    Ok(Answer::Instances(shared.list(&workload)?.into_iter().map(describe).collect()))
}
