//! What is shown while pieces are put in place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::survey::{Task, Way};

/// Where there is no terminal to draw on, this often a line says what is still being done.
const STILL: Duration = Duration::from_secs(15);

/// One moving line on a terminal; a line now and then elsewhere.
pub(super) struct Display<'a> {
    tasks: &'a [Task],
    running: BTreeMap<String, Instant>,
    done: BTreeSet<String>,
    bar: ProgressBar,
    last: Instant,
    moving: bool,
}

impl Display<'_> {
    pub(super) fn new(tasks: &[Task]) -> Display<'_> {
        let moving = std::io::stderr().is_terminal();
        let bar = if moving { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Display { tasks, running: BTreeMap::new(), done: BTreeSet::new(), bar, last: Instant::now(), moving }
    }

    fn say(&self, line: &str) {
        if self.moving {
            self.bar.suspend(|| eprintln!("{line}"));
        } else {
            eprintln!("{line}");
        }
    }

    fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.piece.name == name)
    }

    pub(super) fn started(&mut self, name: &str) {
        self.running.insert(name.to_owned(), Instant::now());
        let Some(task) = self.task(name) else { return };
        let how = match task.way {
            Way::Fetch => "fetching".to_owned(),
            Way::Make => format!("building, by itself about {} s", task.piece.seconds),
        };
        self.say(&format!("set-up: {name}: {how}"));
    }

    pub(super) fn finished(&mut self, name: &str) {
        let took = self.running.remove(name).map_or(0.0, |since| since.elapsed().as_secs_f64());
        self.done.insert(name.to_owned());
        self.say(&format!("set-up: {name}: done in {took:.1} s"));
    }

    /// It could not be fetched, for this reason.
    pub(super) fn unfetched(&mut self, name: &str, why: &str) {
        self.running.remove(name);
        let Some(task) = self.task(name) else { return };
        let from = task.place();
        self.say(&format!("set-up: {name}: fetching {from} failed: {why}; building it is tried next"));
    }

    /// No more moving lines.
    pub(super) fn close(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn gone(&mut self, name: &str) {
        self.running.remove(name);
    }

    pub(super) fn tick(&mut self) {
        let line = self.line();
        if self.moving {
            self.bar.set_message(line);
            self.bar.tick();
        } else if self.last.elapsed() >= STILL {
            self.last = Instant::now();
            eprintln!("set-up: {line}");
        }
    }

    /// What runs, since when, of how long; and what waits for what.
    fn line(&self) -> String {
        let running = self.running.iter().map(|(name, since)| {
            let expected = self.task(name).map_or(0, |task| task.piece.seconds);
            format!("{name} since {} s (by itself about {expected} s)", since.elapsed().as_secs())
        });
        let waiting = self.tasks.iter().filter_map(|task| {
            let name = &task.piece.name;
            if task.way == Way::Fetch || self.done.contains(name) || self.running.contains_key(name) {
                return None;
            }
            let missing: Vec<&str> = task
                .piece
                .needs
                .iter()
                .filter(|need| self.task(need).is_some() && !self.done.contains(*need))
                .map(String::as_str)
                .collect();
            (!missing.is_empty()).then(|| format!("{name} waits for {}", missing.join(" and ")))
        });
        running.chain(waiting).collect::<Vec<_>>().join(" · ")
    }
}
