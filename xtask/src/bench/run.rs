//! Runs everyone in turn.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8PathBuf;
use e2e_support::engine::Engine;
use e2e_support::{Cancel, signals};
use sha2::{Digest, Sha256};

use super::clock::{Clock, told};
use super::contender::{Contender, Order, subject};
use super::copy::{Copy, shown};
use super::measure::{INPUTS, Planned, Run};
use super::scenario::Scenario;
use super::state::{Settings, State};
use super::{order, prepare, shown};
use crate::build_mode::Choice;
use crate::compiled;
use crate::drive::{Afterwards, drive_with};
use crate::events::{self, RunFolder, StepState, Stop, Timeline};
use crate::execute::StepContext;
use crate::hash::hex;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::{Extent, History, Step, StepKind};
use crate::provision::Request;
use crate::report::text::duration;
use crate::suite::{Edit, Suite};
use crate::target;
use crate::target::kind::{self, Style, script};
use crate::target::place::Place;
use crate::target::session::Earlier;
use crate::target::session::{Session, SpecOptions};

/// How long one run may take.
const RUN: Duration = Duration::from_secs(30 * 60);
/// Nobody's contender: what makes the cluster that the scenario `reuse` begins with.
const GROUND: &str = "(cluster to reuse)";

/// A comparison that is carried out.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The user's workspace.
    pub paths: &'a Paths,
    /// What is compiled and edited.
    pub copy: Copy,
    /// That of the copy.
    pub instance: Instance,
    pub suite: Suite,
    /// The container engine; none where the scenario has no use for one.
    pub engine: Option<Engine>,
    pub settings: Settings,
    /// What is wanted of the machine.
    pub request: Request,
    /// How many rounds there are.
    pub rounds: u32,
    /// The folder of the bench.
    pub out: Utf8PathBuf,
    pub cancel: &'a Cancel,
}

impl Bench<'_> {
    /// Runs what `state` does not have yet, and adds it there.
    ///
    /// # Errors
    /// When someone stops it, the warm-up fails, or a run cannot begin. A run that fails is a result.
    pub fn run(&self, state: &mut State) -> Result<()> {
        let Some(engine) = &self.engine else { return self.all(state) };
        let before = prepare::unnamed(engine)?;
        let result = self.all(state);
        // Each edit has left layers; they are kept until here, so that every run finds the same.
        prepare::remove_new(engine, &before)?;
        result
    }

    fn all(&self, state: &mut State) -> Result<()> {
        let contenders = &self.settings.contenders;
        let subject = subject(contenders).context("nobody takes part")?;
        let script = contenders.iter().find(|contender| contender.order == Order::Script);
        let goes_on = !state.runs.is_empty() && self.turns().any(|(round, _, other)| !state.has(round, &other.name));
        for contender in std::iter::once(subject).chain(script.filter(|script| script.name != subject.name)) {
            // What the script compiles is in layers of images, and those do not stay when a bench is stopped.
            if !state.has(0, &contender.name) || (goes_on && contender.order == Order::Script) {
                self.warm_up(contender, state)?;
            }
        }
        if self.settings.scenario != Scenario::Cold && self.was_unusual(subject, state) {
            self.warm_up(subject, state)?;
        }
        let history = self.history(subject, state);
        let mut clock = Clock::default();
        for (round, place, contender) in self.turns() {
            if state.has(round, &contender.name) {
                continue;
            }
            let left: Vec<&Contender> =
                self.turns().filter(|(round, _, other)| !state.has(*round, &other.name)).map(|turn| turn.2).collect();
            let total = contenders.len() * self.rounds as usize;
            eprint!("[{}/{total}] round {round} of {}: {contender:<12} ", total - left.len() + 1, self.rounds);
            let began = Instant::now();
            let run = self.one(contender, round, place, &history, state)?;
            clock.note(&contender.name, began.elapsed().as_secs_f64());
            let left_s: f64 = left.iter().skip(1).map(|other| clock.expected_s(&other.name, &state.runs)).sum();
            eprintln!("{}; {} to go, about {}", told(&run), left.len() - 1, duration((left_s * 1e6) as u64));
            state.add(run)?;
        }
        if self.settings.scenario == Scenario::Reuse {
            self.delete_cluster()?;
        }
        Ok(())
    }

    /// Everyone's turns, in the order in which they come.
    fn turns(&self) -> impl Iterator<Item = (u32, usize, &Contender)> {
        let contenders = &self.settings.contenders;
        (1..=self.rounds).flat_map(move |round| {
            let order = order::order(self.settings.seed, round, contenders.len());
            order.into_iter().enumerate().map(move |(place, at)| (round, place + 1, &contenders[at]))
        })
    }

    /// Runs once without counting it: caches are filled, and the times tell what to expect.
    fn warm_up(&self, contender: &Contender, state: &mut State) -> Result<()> {
        eprint!("warm-up: {contender} ");
        let run = self.one(contender, 0, state.runs.len() + 1, &History::default(), state)?;
        eprintln!("{}", told(&run));
        ensure!(
            run.passed(),
            "the warm-up {}: {}; everything is in {}",
            run.result.name(),
            run.reason,
            self.out.join(&run.folder)
        );
        state.add(run)
    }

    /// The times of the subject's last warm-up: the same for every run, so that nobody profits from what ran before.
    fn history(&self, subject: &Contender, state: &State) -> History {
        let mut history = History::default();
        for step in last_warm_up(subject, state).iter().flat_map(|run| &run.steps) {
            history.add(step.id.clone(), step.seconds());
        }
        history
    }

    /// Whether the subject's warm-up compiled from nothing: it tells what no round will take.
    fn was_unusual(&self, subject: &Contender, state: &State) -> bool {
        let warm = last_warm_up(subject, state).and_then(|run| timeline(&self.out, &run.folder));
        warm.is_some_and(|warm| warm.steps.iter().any(StepState::was_unusual))
    }

    fn one(
        &self,
        contender: &Contender,
        round: u32,
        place: usize,
        history: &History,
        state: &mut State,
    ) -> Result<Run> {
        let scenario = self.settings.scenario;
        // The warm-up of `cold` is there for tools and base images: it may find what it likes.
        if scenario == Scenario::Cold && round > 0 {
            prepare::forget_builds(&self.copy.paths, &self.suite, self.engine()?)?;
        }
        if scenario == Scenario::Reuse && round > 0 {
            self.see_to_a_cluster(history, state)?;
        }
        let edit = self.edit()?.map(|edit| (edit, new_text(round, place)));
        if let Some((edit, text)) = &edit {
            self.copy.edit(&self.paths.root, edit, text)?;
        }
        let planned = Planned {
            round,
            place,
            contender: contender.name.clone(),
            folder: format!("runs/{round:02}-{place}-{}", contender.file_stem()),
            edit: edit.as_ref().map(|(_, text)| text.clone()),
            busy_cores_before: None,
        };
        self.carry_out(contender, planned, edit, history)
    }

    fn carry_out(
        &self,
        contender: &Contender,
        mut planned: Planned,
        edit: Option<(&Edit, String)>,
        history: &History,
    ) -> Result<Run> {
        let folder = self.folder(&planned.folder)?;
        let reuse = self.settings.scenario == Scenario::Reuse;
        let is_script = contender.order == Order::Script;
        let (build, style) = match is_script {
            true => (Choice::Container, Style::Script),
            false => (self.request.build, Style::Native),
        };
        let request = Request { build, ..self.request.clone() };
        let earlier = if reuse { Earlier::Reuse } else { Earlier::Replace };
        let mut said = String::new();
        let mut say = |line: &str| said.push_str(&format!("{line}\n"));
        let path = folder.path().to_owned();
        let (paths, suite) = (&self.copy.paths, self.suite.clone());
        let mut session = match request.on {
            Place::Kind => kind::open(paths, suite, &request, earlier, style, path, self.cancel, &mut say)?,
            Place::Processes | Place::Existing(_) => {
                target::open(paths, suite, &request, earlier, path, self.cancel, &mut say)?
            }
        };
        crate::disk::write(&folder.path().join("opening.log"), said)?;
        session.specs = Some(SpecOptions::default());
        let plan = session.plan()?;
        let compilation = compiled::expected(&self.copy.paths, &self.suite);
        let plan = plan.up_to(Extent::Specs).with_history(history).with_compilation(compilation);
        let plan = match contender.order.schedule() {
            Some(schedule) => plan.with_schedule(schedule),
            None => script::as_script(plan),
        };
        if let Some(slow) = &contender.slowed {
            ensure!(plan.step(&slow.step).is_some(), "no step of the name {}: see `cargo xtask plan`", slow.step);
        }
        let after = if reuse { Afterwards::Keep } else { Afterwards::Delete };
        planned.busy_cores_before = prepare::calm(self.cancel);
        let minutes = RUN.as_secs() / 60;
        let stop = Stop::within(self.cancel, RUN, format!("the run took longer than {minutes} min"));
        let work =
            |step: &Step, context: &StepContext<'_>| self.work(&session, contender, edit.as_ref(), step, context);
        let mut driven = drive_with(&session, &plan, &folder, after, &stop, Vec::new(), work)?;
        if signals::was_signalled() || self.cancel.is_cancelled() {
            bail!("stopped: {}", driven.outcome.reason);
        }
        if let Some(error) = driven.afterwards.pop() {
            return Err(error);
        }
        Ok(Run::of(planned, &driven.timeline))
    }

    /// One step: what it is done with is noted, and what is to be seen is looked at.
    fn work(
        &self,
        session: &Session,
        contender: &Contender,
        edit: Option<&(&Edit, String)>,
        step: &Step,
        context: &StepContext<'_>,
    ) -> Result<()> {
        context.fact(INPUTS, self.inputs(session, step));
        if let Some(slow) = contender.slowed.as_ref().filter(|slow| slow.step == step.id) {
            context.fact("slowed on purpose by", format!("{} s", slow.seconds));
            context.cancel().sleep(Duration::from_secs_f64(slow.seconds));
        }
        if let (StepKind::Specs, Some((edit, text))) = (&step.kind, edit) {
            let ports = session.ports();
            let port = ports.get(&edit.shown.node_port);
            let port =
                *port.with_context(|| format!("no port of this machine is NodePort {}", edit.shown.node_port))?;
            shown::must_show(port, &edit.shown.path, &shown(edit, text), context.cancel())?;
            context.fact("shows the edit", text.as_str());
        }
        session.execute(step, context)
    }

    /// A hash of all that a step may read: for the cluster, its node and configuration; else the sources without the
    /// edit, which is another text in every run.
    fn inputs(&self, session: &Session, step: &Step) -> String {
        let what = if step.role().is_some() { session.target.fingerprint() } else { &self.copy.hash };
        let build = session.build.name();
        hex(&Sha256::digest(format!("{what}\0{build}\0{}\0{:?}", step.id, step.kind)))[..16].to_owned()
    }

    fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().with_context(|| format!("the scenario {} has no engine", self.settings.scenario.name()))
    }

    fn edit(&self) -> Result<Option<&Edit>> {
        if !self.settings.scenario.edits() {
            return Ok(None);
        }
        let edit = self.suite.bench.as_ref().and_then(|bench| bench.edit.as_ref());
        let why = "the scenario changes one line: say which one in the suite's `bench.edit`";
        Ok(Some(edit.context(why)?))
    }

    /// The folder of a run, empty: what a call that was killed has left there is worth nothing.
    fn folder(&self, name: &str) -> Result<RunFolder> {
        let path = self.out.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("removing {path}"))?;
        }
        let folder = RunFolder::at(path);
        std::fs::create_dir_all(folder.steps()).with_context(|| format!("making the folder {}", folder.steps()))?;
        Ok(folder)
    }

    /// Makes the cluster that is reused, where none fits or the last run may have broken it.
    fn see_to_a_cluster(&self, history: &History, state: &mut State) -> Result<()> {
        let sound = state.runs.last().is_none_or(Run::passed);
        if !sound {
            self.delete_cluster()?;
        }
        let nodes = self.engine()?.containers(e2e_support::kind::CLUSTER_LABEL, Some(self.instance.cluster()))?;
        if nodes.iter().any(|node| node.state == "running") && sound {
            return Ok(());
        }
        let ground = Contender { name: GROUND.to_owned(), order: Order::Dag, slowed: None, copy_of: None };
        let planned = Planned {
            round: 0,
            place: state.runs.len() + 1,
            contender: ground.name.clone(),
            folder: format!("runs/00-{}-cluster", state.runs.len() + 1),
            edit: None,
            busy_cores_before: None,
        };
        let run = self.carry_out(&ground, planned, None, history)?;
        ensure!(run.passed(), "making the cluster to reuse: {}: {}", run.result.name(), run.reason);
        state.add(run)
    }

    fn delete_cluster(&self) -> Result<()> {
        kind::delete(self.engine()?, self.instance.cluster(), &self.copy.paths.cache, None)?;
        self.instance.files.remove()
    }
}

fn last_warm_up<'s>(subject: &Contender, state: &'s State) -> Option<&'s Run> {
    state.runs.iter().rfind(|run| run.round == 0 && run.contender == subject.name)
}

/// A text that no run has edited in before.
fn new_text(round: u32, place: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench-{round}-{place}-{}", now.as_secs())
}

/// The events of a run; none where they cannot be read any more.
pub(super) fn timeline(out: &camino::Utf8Path, run: &str) -> Option<Timeline> {
    let events = events::read(&RunFolder::at(out.join(run)).events()).ok()?;
    Some(Timeline::of(&events))
}
