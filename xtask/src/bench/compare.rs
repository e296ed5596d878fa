//! What the runs of a bench come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::contender::{Contender, Order, reference, subject};
use super::measure::{PathPart, Run, counted};
use super::stats::{Interval, Ratio, Sample, Spread, ratio, told_apart};
use super::void::void;
use crate::events::Timeline;
use crate::plan::StepId;
use crate::report::analysis;

/// A step counts as slower only from this many seconds on…
const STEP_S: f64 = 0.25;
/// …and from this part of what it took on.
const STEP_PART: f64 = 0.1;

/// All that is said about a bench.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Whom savings are told against.
    pub reference: String,
    /// Who is set beside everyone else.
    pub subject: String,
    /// Why the times must not be compared; empty where they may.
    pub void: Vec<String>,
    /// Everyone who took part.
    pub contenders: Vec<Standing>,
    /// Everyone against the reference.
    pub savings: Vec<Pair>,
    /// The subject against everyone else who stands for himself.
    pub subject_against: Vec<Pair>,
    /// Copies against what they are copies of.
    pub copies: Vec<Pair>,
    /// What no order could undercut, by the shortest time that each step took with anyone.
    pub bound: Option<Bound>,
}

/// How one contender did. Times are seconds, of the runs that passed.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    pub name: String,
    /// How many of its runs passed.
    pub passed: usize,
    /// Those that did not, with why.
    pub failed: Vec<Failed>,
    pub set_up_s: Option<Spread>,
    pub tests_s: Option<Spread>,
    pub total_s: Option<Spread>,
    pub machine_cpu_s: Option<Spread>,
    pub children_cpu_s: Option<Spread>,
    pub busy_cores: Option<Spread>,
    pub peak_memory_bytes: Option<Spread>,
    pub moved_bytes: Option<Spread>,
    /// The larger of longest way and CPU time over cores, of each run itself.
    pub lower_bound_s: Option<Spread>,
    /// Total over that bound.
    pub over_bound: Option<Spread>,
    /// The folder of the run whose total is nearest to the median.
    pub median_run: Option<String>,
    /// The critical path of that run.
    pub critical_path: Vec<PathPart>,
    /// How long at least one step of each phase ran.
    pub phases: BTreeMap<String, Spread>,
    pub steps: Vec<StepStanding>,
}

/// A run that did not pass.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    pub round: u32,
    pub folder: String,
    /// How it ended and why.
    pub reason: String,
}

/// How one step of a contender did.
#[derive(Debug, Clone, Serialize)]
pub struct StepStanding {
    pub id: StepId,
    pub seconds: Spread,
    /// CPU time of its children, in seconds.
    pub cpu_s: Spread,
    /// The largest resident size of any of its children.
    pub peak_rss_bytes: Spread,
    pub moved_bytes: Spread,
}

/// One contender beside another.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    pub of: String,
    pub against: String,
    /// The total time of the one over that of the other.
    pub time: Ratio,
    /// The same for the time until everything is deployed.
    pub set_up: Option<Ratio>,
    /// How many times as fast any order of the other's work could be: cores over its mean busy cores.
    pub ceiling: Option<f64>,
    /// Which part of that is reached.
    pub reached: Option<f64>,
    /// How many times as fast it is for computing less: CPU time over CPU time.
    pub less_work: Option<f64>,
    /// How many times as fast it is for keeping more cores busy.
    pub overlap: Option<f64>,
    /// Steps that take longer.
    pub slower_steps: Vec<StepDifference>,
    /// Steps that take less long.
    pub faster_steps: Vec<StepDifference>,
}

/// A step that takes another time.
#[derive(Debug, Clone, Serialize)]
pub struct StepDifference {
    pub id: StepId,
    /// By how many seconds.
    pub seconds: f64,
    /// With 99 % confidence.
    pub interval: Interval,
}

/// What no order could undercut, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bound {
    /// The longest way through the needs that are no schedule's.
    pub way_s: f64,
    /// The least CPU time of any contender over the cores.
    pub cpu_s: f64,
}

impl Bound {
    /// The larger of the two.
    pub fn seconds(self) -> f64 {
        self.way_s.max(self.cpu_s)
    }
}

/// Compares. `medians` has the events of each contender's median run, as far as they are there.
pub fn compare(
    contenders: &[Contender],
    runs: &[Run],
    medians: &BTreeMap<String, Timeline>,
    seed: u64,
) -> Option<Comparison> {
    let (reference, subject) = (reference(contenders)?, subject(contenders)?);
    let standings: Vec<Standing> = contenders.iter().map(|contender| standing(&contender.name, runs)).collect();
    let pair = |of: &str, against: &str| {
        let one = standings.iter().find(|standing| standing.name == of)?;
        let other = standings.iter().find(|standing| standing.name == against)?;
        self::pair(one, other, runs, seed)
    };
    let others = contenders.iter().filter(|contender| contender.name != reference.name);
    let originals = contenders.iter().filter(|contender| contender.copy_of.is_none() && contender.name != subject.name);
    let copies = contenders.iter().filter_map(|contender| Some((contender, contender.copy_of.as_ref()?)));
    Some(Comparison {
        reference: reference.name.clone(),
        subject: subject.name.clone(),
        void: void(contenders, runs),
        savings: others.filter_map(|contender| pair(&contender.name, &reference.name)).collect(),
        subject_against: originals.filter_map(|contender| pair(&subject.name, &contender.name)).collect(),
        copies: copies.filter_map(|(contender, base)| pair(&contender.name, base)).collect(),
        bound: bound(contenders, &standings, medians.get(&subject.name)),
        contenders: standings,
    })
}

fn samples(name: &str, runs: &[Run], value: impl Fn(&Run) -> Option<f64>) -> Vec<Sample> {
    counted(name, runs).filter_map(|run| Some((run.round, value(run)?))).collect()
}

fn standing(name: &str, runs: &[Run]) -> Standing {
    let spread = |value: &dyn Fn(&Run) -> Option<f64>| Spread::of(counted(name, runs).filter_map(value));
    let total_s = spread(&|run| Some(run.total_s));
    let median_run = total_s.and_then(|total| {
        let distance = |run: &&Run| (run.total_s - total.median).abs();
        counted(name, runs).min_by(|one, other| distance(one).total_cmp(&distance(other)))
    });
    let failed = runs.iter().filter(|run| run.contender == name && !run.passed());
    let mut phases: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for phase in counted(name, runs).flat_map(|run| &run.phases) {
        phases.entry(phase.name.clone()).or_default().push(phase.busy_s);
    }
    Standing {
        name: name.to_owned(),
        passed: counted(name, runs).count(),
        failed: failed
            .map(|run| Failed {
                round: run.round,
                folder: run.folder.clone(),
                reason: format!("{}: {}", run.result.name(), run.reason),
            })
            .collect(),
        set_up_s: spread(&|run| run.set_up_s),
        tests_s: spread(&|run| run.tests_s),
        machine_cpu_s: spread(&|run| run.machine_cpu_s),
        children_cpu_s: spread(&|run| Some(run.children_cpu_s)),
        busy_cores: spread(&Run::busy_cores),
        peak_memory_bytes: spread(&|run| run.peak_memory_bytes.map(|bytes| bytes as f64)),
        moved_bytes: spread(&|run| Some(run.moved_bytes as f64)),
        lower_bound_s: spread(&Run::lower_bound_s),
        over_bound: spread(&|run| run.lower_bound_s().filter(|bound| *bound > 0.0).map(|bound| run.total_s / bound)),
        median_run: median_run.map(|run| run.folder.clone()),
        critical_path: median_run.map(|run| run.critical_path.clone()).unwrap_or_default(),
        phases: phases.into_iter().filter_map(|(name, values)| Some((name, Spread::of(values)?))).collect(),
        steps: median_run.map(|run| steps(name, runs, run)).unwrap_or_default(),
        total_s,
    }
}

/// The steps of a contender, in the order of `median`'s plan.
fn steps(name: &str, runs: &[Run], median: &Run) -> Vec<StepStanding> {
    let of = |id: &StepId, value: &dyn Fn(&super::measure::Step) -> f64| {
        let steps = counted(name, runs).filter_map(|run| run.steps.iter().find(|step| step.id == *id));
        Spread::of(steps.map(value))
    };
    let one = |id: &StepId| {
        Some(StepStanding {
            id: id.clone(),
            seconds: of(id, &|step| step.seconds())?,
            cpu_s: of(id, &|step| step.cpu_s)?,
            peak_rss_bytes: of(id, &|step| step.peak_rss_bytes as f64)?,
            moved_bytes: of(id, &|step| step.moved_bytes as f64)?,
        })
    };
    median.steps.iter().filter_map(|step| one(&step.id)).collect()
}

fn pair(of: &Standing, against: &Standing, runs: &[Run], seed: u64) -> Option<Pair> {
    let total = |standing: &Standing| samples(&standing.name, runs, |run| Some(run.total_s));
    let set_up = |standing: &Standing| samples(&standing.name, runs, |run| run.set_up_s);
    let time = ratio(&total(of), &total(against), seed)?;
    let cores = counted(&against.name, runs).next()?.cores as f64;
    let busy = |standing: &Standing| standing.busy_cores.map(|spread| spread.median).filter(|cores| *cores > 0.0);
    let cpu = |standing: &Standing| standing.machine_cpu_s.map(|spread| spread.median).filter(|cpu_s| *cpu_s > 0.0);
    let ceiling = busy(against).map(|busy| (cores / busy).max(1.0));
    let ids: BTreeSet<&StepId> = of.steps.iter().map(|step| &step.id).collect();
    let shared = against.steps.iter().map(|step| &step.id).filter(|id| ids.contains(id));
    let differences: Vec<StepDifference> = shared.filter_map(|id| difference(id, of, against, runs, seed)).collect();
    let (mut slower, mut faster): (Vec<_>, Vec<_>) = differences.into_iter().partition(|step| step.seconds > 0.0);
    slower.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    faster.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    Some(Pair {
        of: of.name.clone(),
        against: against.name.clone(),
        time,
        set_up: ratio(&set_up(of), &set_up(against), seed),
        ceiling,
        reached: ceiling.map(|ceiling| 1.0 / time.value / ceiling),
        less_work: cpu(against).zip(cpu(of)).map(|(against, of)| against / of),
        overlap: busy(of).zip(busy(against)).map(|(of, against)| of / against),
        slower_steps: slower,
        faster_steps: faster,
    })
}

/// The difference that a step makes, where it is no chance and not too small to matter.
fn difference(id: &StepId, of: &Standing, against: &Standing, runs: &[Run], seed: u64) -> Option<StepDifference> {
    let seconds = |standing: &Standing| {
        samples(&standing.name, runs, |run| {
            run.steps.iter().find(|step| step.id == *id).map(super::measure::Step::seconds)
        })
    };
    let (seconds, interval) = told_apart(&seconds(of), &seconds(against), of.steps.len(), seed)?;
    let usual = against.steps.iter().find(|step| step.id == *id)?.seconds.median;
    let least = STEP_S.max(usual * STEP_PART);
    (seconds.abs() >= least).then(|| StepDifference { id: id.clone(), seconds, interval })
}

/// By the shortest median that each step has with any schedule: what contention adds is no part of the work.
fn bound(contenders: &[Contender], standings: &[Standing], subject: Option<&Timeline>) -> Option<Bound> {
    let timeline = subject?;
    let counts = |standing: &&Standing| {
        let contender = contenders.iter().find(|contender| contender.name == standing.name);
        contender.is_some_and(|contender| contender.order != Order::Script && contender.slowed.is_none())
    };
    let fair: Vec<&Standing> = standings.iter().filter(counts).collect();
    let shortest = |id: &StepId| {
        let steps = fair.iter().flat_map(|standing| standing.steps.iter().filter(|step| step.id == *id));
        steps.map(|step| step.seconds.median).min_by(f64::total_cmp)
    };
    let way_us = analysis::longest_way_us(timeline, |state| {
        shortest(&state.step.id).map_or(0, |seconds| (seconds * 1e6).round() as u64)
    });
    let cores = timeline.run.as_ref().map_or(1, |run| run.cores.max(1)) as f64;
    let cpu_s = fair.iter().filter_map(|standing| Some(standing.machine_cpu_s?.median)).min_by(f64::total_cmp);
    Some(Bound { way_s: way_us as f64 / 1e6, cpu_s: cpu_s.unwrap_or(0.0) / cores })
}
