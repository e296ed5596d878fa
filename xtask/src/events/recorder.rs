//! Takes events, gives them a time, keeps them, and shows them to the reporters.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::SystemTime;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use e2e_support::clock::Instant;

use super::folder::RunFolder;
use super::{Event, RunStarted, SCHEMA, Timeline, What};
use crate::plan::{Plan, Slots};
use crate::shards::Partition;

/// Shows a run while it goes on. Everything that it shows follows from the events, and thus from the timeline.
pub trait Reporter {
    /// This has just happened; `timeline` holds it already.
    fn event(&mut self, event: &Event, timeline: &Timeline);

    /// Time has passed; `now_us` is microseconds since the run began.
    fn tick(&mut self, _timeline: &Timeline, _now_us: u64) {}

    /// How often [`Reporter::tick`] is wanted.
    fn wants_ticks(&self) -> bool {
        false
    }
}

/// Keeps a run's events in its folder and hands them to the reporters. It belongs to one thread.
///
/// While it lives it holds a lock on the events' file, so that anyone can tell whether the run still goes on.
pub struct Recorder {
    folder: RunFolder,
    file: File,
    begun: Instant,
    timeline: Timeline,
    reporters: Vec<Box<dyn Reporter>>,
    broken: Option<std::io::Error>,
    folders: Vec<(Utf8PathBuf, &'static str)>,
}

/// What of a run is not known from its plan.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    /// The command line, without the program.
    pub command: Vec<String>,
    /// The shard that it is; none where it is a whole run.
    pub partition: Option<Partition>,
    /// Versions, hardware, stand-ins.
    pub environment: BTreeMap<String, String>,
    /// Folders of this machine, and what stands for them where a command is told: reports are there to be handed on.
    /// One that lies in another comes before it.
    pub folders: Vec<(Utf8PathBuf, &'static str)>,
}

impl Recorder {
    /// Begins a run: writes its first event; from then on it is the latest of its suite.
    ///
    /// # Errors
    /// The events' file cannot be made or written to.
    pub fn start(
        folder: RunFolder,
        plan: &Plan,
        slots: Slots,
        info: RunInfo,
        reporters: Vec<Box<dyn Reporter>>,
    ) -> anyhow::Result<Self> {
        let path = folder.events();
        let open = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = open.with_context(|| format!("creating {path}"))?;
        file.lock().with_context(|| format!("locking {path}"))?;
        let started = RunStarted {
            schema: SCHEMA,
            run: folder.name().to_owned(),
            started_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            command: info.command,
            partition: info.partition,
            plan: plan.clone(),
            slots,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            pid: std::process::id(),
            environment: info.environment,
        };
        // The run's own folder lies in others.
        let own = (folder.path().to_owned(), "{run}");
        let mut recorder = Self {
            folders: std::iter::once(own).chain(info.folders).collect(),
            folder,
            file,
            begun: Instant::now(),
            timeline: Timeline::default(),
            reporters,
            broken: None,
        };
        recorder.record(What::RunStarted(Box::new(started)));
        if let Some(error) = recorder.broken.take() {
            return Err(error).with_context(|| format!("writing {path}"));
        }
        recorder.folder.becomes_latest()?;
        Ok(recorder)
    }

    /// Where the run is kept.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Folders of this machine, with what stands for them in what is told.
    pub(crate) fn folders(&self) -> &[(Utf8PathBuf, &'static str)] {
        &self.folders
    }

    /// All that has happened so far.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// This happens now.
    pub fn record(&mut self, what: What) {
        let event = Event { at_us: self.now_us(), what };
        self.write(&event);
        self.timeline.apply(&event);
        for reporter in &mut self.reporters {
            reporter.event(&event, &self.timeline);
        }
    }

    /// A line about the run as a whole.
    pub fn note(&mut self, text: impl Into<String>) {
        self.record(What::Note { text: text.into() });
    }

    /// Lets the reporters show how time passes.
    pub fn tick(&mut self) {
        let now = self.now_us();
        for reporter in &mut self.reporters {
            reporter.tick(&self.timeline, now);
        }
    }

    /// Whether any reporter wants to be told how time passes.
    pub fn wants_ticks(&self) -> bool {
        self.reporters.iter().any(|reporter| reporter.wants_ticks())
    }

    /// Ends the recording: the lock is given back. What has happened is known in any case; the second value is an error
    /// where not all events could be written, with the first reason: a full disk, say.
    pub fn close(self) -> (Timeline, anyhow::Result<()>) {
        let written = match self.broken {
            Some(error) => Err(error).with_context(|| format!("writing {}", self.folder.events())),
            None => Ok(()),
        };
        (self.timeline, written)
    }

    /// One line in one write, so that a reader never sees half of one unless the machine stops within it.
    fn write(&mut self, event: &Event) {
        if self.broken.is_some() {
            return;
        }
        let result = serde_json::to_vec(event).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)
        });
        if let Err(error) = result {
            self.broken = Some(error);
        }
    }
}
