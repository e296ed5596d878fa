//! Carries out what a survey found: asks, installs, and puts pieces in place side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e_support::Cancel;

use super::display::Display;
use super::fetch::{self, Mismatch};
use super::make::{Scratch, Workshop, go_on};
use super::piece::State;
use super::places::Places;
use super::survey::{Survey, Task, Wanted, Way};
use super::{digests, packages};
use crate::paths::Paths;
use crate::schedule::{self, Change, End, Graph, Need, Node, On, OnFailure, Options};

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

impl Consent {
    /// `--yes`, or a question.
    pub fn of(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Ask }
    }
}

/// Sees to it that all of `wanted` is there.
///
/// # Errors
/// When it cannot be had or may not be: everything that stands in the way, each with what to do. Also when what was put
/// in place is still missing.
pub fn ensure(paths: &Paths, wanted: &Wanted, consent: Consent, cancel: &Cancel) -> Result<Workshop> {
    let mut places = Places::default();
    let (mut agreed, mut done) = (BTreeSet::new(), BTreeSet::new());
    // Held to the end: what one round has compiled with, the next may compile with again.
    let mut scratch = None;
    loop {
        let survey = Survey::look(paths, wanted, &mut places, cancel);
        go_on(cancel)?;
        let survey = survey?;
        if survey.is_complete() {
            if let Some(scratch) = scratch {
                Scratch::remove(scratch)?;
            }
            if !done.is_empty() {
                eprintln!("set-up: everything is there");
            }
            return with_images(survey.workshop, wanted);
        }
        let changes = survey.changes();
        let new = !changes.is_subset(&agreed);
        if new {
            let (what, text) = match agreed.is_empty() {
                true => ("what a run needs and this machine does not have yet", survey.describe()),
                false => ("what is left to do is not what was said before", survey.describe()),
            };
            eprint!("set-up: {what}:\n{text}");
        }
        if !survey.blockers.is_empty() {
            bail!("this machine cannot be set up:\n  {}", survey.blockers.join("\n  "));
        }
        if let Some(again) = changes.intersection(&done).next() {
            bail!(
                "this was done, and is still to do: {again}; something undoes it, or the one that was put in place is \
                 not the one that is found (another program of that name on PATH?). Logs: {}",
                paths.cache.join("logs")
            );
        }
        if new {
            agree("Do that now?", consent, cancel)?;
            agreed.extend(changes.iter().cloned());
        }
        if !survey.packages.is_empty() || survey.packages_unfinished {
            install(paths, &survey, cancel)?;
        }
        if survey.engine_missing.is_some() {
            // Only now can the engine be asked for its images.
            done.extend(survey.package_changes());
            continue;
        }
        if scratch.is_none() && survey.tasks.iter().any(|task| task.way == Way::Make) {
            scratch = Some(Scratch::hold(&paths.cache, cancel)?);
        }
        let unfetched = carry_out(&survey, cancel)?;
        done.extend(changes);
        for (name, why) in unfetched {
            places.note_failure(&name, why);
        }
    }
}

/// Notes which public images are used, and says where one is another than the last time.
fn with_images(mut workshop: Workshop, wanted: &Wanted) -> Result<Workshop> {
    let Some(engine) = &workshop.engine else { return Ok(workshop) };
    let mut references = Vec::new();
    for name in &wanted.pieces {
        let piece = workshop.catalog.piece(name)?;
        if let Some(reference) = piece.replaces.as_deref()
            && workshop.state(piece)? == State::Public
        {
            references.push(reference);
        }
    }
    workshop.images = digests::note(&workshop.cache, engine, &references)?;
    for image in workshop.images.iter().filter(|image| image.before.is_some()) {
        eprintln!("set-up: another image than the last time: {image}");
    }
    Ok(workshop)
}

/// Asks `question` at the terminal, unless consent was given beforehand.
///
/// # Errors
/// When the answer is no, there is no terminal, or the work was told to stop meanwhile.
pub fn agree(question: &str, consent: Consent, cancel: &Cancel) -> Result<()> {
    if consent == Consent::Given {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        bail!("nothing was changed: there is no terminal to ask at; run again with --yes to have all of that done");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().context("asking at the terminal")?;
    // Nothing interrupts a read of the terminal: it stays behind on its thread.
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        let _ = sender.send(read.map(|_| answer));
    });
    let answer = loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(read) => break read.context("reading the answer")?,
            Err(mpsc::RecvTimeoutError::Timeout) => go_on(cancel)?,
            Err(mpsc::RecvTimeoutError::Disconnected) => break String::new(),
        }
    };
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

/// Puts the pieces in place. Returns those that could not be fetched after all, each with the reason, so that the next
/// look plans to make them.
fn carry_out(survey: &Survey, cancel: &Cancel) -> Result<BTreeMap<String, String>> {
    let tasks: BTreeMap<&str, &Task> = survey.tasks.iter().map(|task| (task.piece.name.as_str(), task)).collect();
    let nodes = tasks.values().map(|task| Node {
        id: task.piece.name.clone(),
        weight: task.piece.seconds * 1000,
        milestones: Vec::new(),
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
    let workshop = &survey.workshop;
    let own = cancel.child();
    let mut display = Display::new(&survey.tasks);
    let mut failure = None;
    let mut unfetched = BTreeMap::new();
    schedule::run(
        graph,
        &options,
        &own,
        |name: &String, context: &schedule::Context<Cancel, String>| {
            let task = tasks[name.as_str()];
            match task.way {
                Way::Make => workshop.make(&task.piece, &own),
                Way::Fetch => workshop.fetch(&task.piece, &own).or_else(|error| {
                    if own.is_cancelled() || error.chain().any(|cause| cause.is::<Mismatch>()) {
                        return Err(error);
                    }
                    context.say(fetch::said(&error));
                    Ok(())
                }),
            }
        },
        |change| match change {
            Change::Started(name) => display.started(name),
            Change::Said(name, why) => {
                display.unfetched(name, &why);
                unfetched.insert(name.clone(), why);
            }
            Change::Ended(name, End::Finished) if unfetched.contains_key(name) => {}
            Change::Ended(name, End::Finished) => display.finished(name),
            Change::Ended(name, End::Failed(error)) => {
                display.gone(name);
                failure.get_or_insert(error);
            }
            Change::Ended(name, _) => display.gone(name),
            Change::Tick => display.tick(),
            Change::Ready(_) | Change::Held(_) | Change::Reached(..) => {}
        },
    )?;
    display.close();
    match failure {
        Some(error) => Err(error),
        None => go_on(cancel).map(|()| unfetched),
    }
}
