//! Carries out what a survey found: asks, installs, and puts pieces in place side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e_support::Cancel;
use indicatif::{ProgressBar, ProgressStyle};

use super::make::Workshop;
use super::packages;
use super::survey::{Survey, Task, Wanted, Way};
use crate::paths::Paths;
use crate::schedule::{self, Change, End, Graph, Need, Node, On, OnFailure, Options};

/// Where there is no terminal to draw on, this often a line says what is still being done.
const STILL: Duration = Duration::from_secs(15);
/// How many pieces are made at a time. Most of a recipe waits for a network or a disk; compilers take turns by
/// themselves.
const SLOTS: usize = 6;

/// Whether the machine may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `--yes`.
    Given,
    /// Ask at the terminal; where there is none, change nothing and fail with the list.
    Ask,
}

/// Sees to it that all of `wanted` is there.
///
/// # Errors
/// When it cannot be had or may not be: everything that stands in the way, each with what to do.
pub fn ensure(paths: &Paths, wanted: &Wanted, consent: Consent, cancel: &Cancel) -> Result<Workshop> {
    let mut unreachable = BTreeSet::new();
    let mut asked = false;
    loop {
        let survey = Survey::look(paths, wanted, &unreachable)?;
        if survey.is_complete() {
            if asked {
                eprintln!("set-up: everything is there");
            }
            return Ok(survey.workshop);
        }
        if !asked {
            eprint!("set-up: what a run needs and this machine does not have yet:\n{}", survey.describe());
        }
        if !survey.blockers.is_empty() {
            bail!("this machine cannot be set up:\n  {}", survey.blockers.join("\n  "));
        }
        if !asked {
            agree("Do that now?", consent)?;
            asked = true;
        }
        if !survey.packages.is_empty() || survey.packages_unfinished {
            install(paths, &survey, cancel)?;
        }
        if survey.engine_missing.is_some() {
            // Only now can the engine be asked for its images.
            continue;
        }
        unreachable.extend(carry_out(&survey, cancel)?);
    }
}

/// Asks `question` at the terminal, unless consent was given beforehand.
///
/// # Errors
/// When the answer is no, or there is no terminal.
pub fn agree(question: &str, consent: Consent) -> Result<()> {
    if consent == Consent::Given {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        bail!("nothing was changed: there is no terminal to ask at; run again with --yes to have all of that done");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().context("asking at the terminal")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    bail!("nothing was changed, as you said")
}

fn install(paths: &Paths, survey: &Survey, cancel: &Cancel) -> Result<()> {
    let names: Vec<String> = survey.packages.keys().cloned().collect();
    match names.len() {
        0 => eprintln!("set-up: finishing an installation of Debian packages that was stopped"),
        count => eprintln!("set-up: installing {count} Debian packages"),
    }
    let started = Instant::now();
    packages::install(&names, survey.workshop.host.root, &paths.cache, cancel)?;
    eprintln!("set-up: packages installed in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Puts the pieces in place. Returns those that could not be fetched after all, so that the next
/// look plans to make them.
fn carry_out(survey: &Survey, cancel: &Cancel) -> Result<BTreeSet<String>> {
    let tasks: BTreeMap<&str, &Task> = survey.tasks.iter().map(|task| (task.piece.name.as_str(), task)).collect();
    let nodes = tasks.values().map(|task| Node {
        id: task.piece.name.clone(),
        weight: task.piece.seconds * 1000,
        late: false,
        resource: 0,
        needs: match task.way {
            Way::Fetch => Vec::new(),
            Way::Make => {
                let needs = task.piece.needs.iter().filter(|need| tasks.contains_key(need.as_str()));
                needs.map(|need| Need { id: need.clone(), on: On::Finish }).collect()
            }
        },
    });
    let graph = Graph::new(nodes.collect()).context("ordering the pieces")?;
    let options = Options {
        slots: vec![SLOTS],
        on_failure: OnFailure::Stop,
        tick: Some(Duration::from_millis(250)),
        hold_behind: None,
    };
    let unfetched = Mutex::new(BTreeSet::new());
    let workshop = &survey.workshop;
    let own = cancel.child();
    let mut display = Display::new(&survey.tasks);
    let mut failure = None;
    schedule::run(
        graph,
        &options,
        &own,
        |name: &String, _: &schedule::Context<Cancel, ()>| {
            let task = tasks[name.as_str()];
            match task.way {
                Way::Make => workshop.make(&task.piece, &own),
                Way::Fetch => workshop.fetch(&task.piece, &own).or_else(|error| {
                    if own.is_cancelled() {
                        return Err(error);
                    }
                    let mut set = unfetched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    set.insert(name.clone());
                    Ok(())
                }),
            }
        },
        |change| match change {
            Change::Started(name) => display.started(name),
            Change::Ended(name, End::Finished) => display.finished(name),
            Change::Ended(name, End::Failed(error)) => {
                display.gone(name);
                failure.get_or_insert((name.clone(), error));
            }
            Change::Ended(name, _) => display.gone(name),
            Change::Tick => display.tick(),
            Change::Ready(_) | Change::Held(_) | Change::Said(..) => {}
        },
    )?;
    display.bar.finish_and_clear();
    match failure {
        Some((_, error)) => Err(error),
        None if cancel.is_cancelled() => {
            bail!("set-up stopped: {}; start it again and it goes on", cancel.reason().unwrap_or_default())
        }
        None => Ok(unfetched.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)),
    }
}

/// One moving line on a terminal; a line now and then elsewhere.
struct Display<'a> {
    tasks: &'a [Task],
    running: BTreeMap<String, Instant>,
    done: BTreeSet<String>,
    bar: ProgressBar,
    last: Instant,
    moving: bool,
}

impl Display<'_> {
    fn new(tasks: &[Task]) -> Display<'_> {
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

    fn started(&mut self, name: &str) {
        self.running.insert(name.to_owned(), Instant::now());
        let Some(task) = self.task(name) else { return };
        let how = match task.way {
            Way::Fetch => "fetching".to_owned(),
            Way::Make => format!("building, by itself about {} s", task.piece.seconds),
        };
        self.say(&format!("set-up: {name}: {how}"));
    }

    fn finished(&mut self, name: &str) {
        let took = self.running.remove(name).map_or(0.0, |since| since.elapsed().as_secs_f64());
        self.done.insert(name.to_owned());
        self.say(&format!("set-up: {name}: done in {took:.1} s"));
    }

    fn gone(&mut self, name: &str) {
        self.running.remove(name);
    }

    fn tick(&mut self) {
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
