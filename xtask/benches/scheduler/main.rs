//! What the scheduler itself costs, and how near each schedule comes to the bound of a suite that none was made for:
//! `cargo bench -p xtask`.

mod made_up;
mod slots;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use e2e_support::Cancel;
use xtask::events::{Recorder, RunFolder, RunInfo, Stop};
use xtask::execute::execute;
use xtask::plan::{Plan, Schedule, Slots};
use xtask::report::analysis;
use xtask::schedule::{Graph, Need, Node, On, OnFailure, Options, run};

/// How many steps the scheduler is timed with.
const STEPS: usize = 10_000;
/// What a step may cost, in milliseconds.
const MAY_COST_MS: f64 = 1.0;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().context("making a folder for runs")?;
    let root = Utf8Path::from_path(dir.path()).context("a path in UTF-8")?;
    let queue = own_cost()?;
    let events = with_events(&root.join("many"))?;
    println!("scheduler and threads, {STEPS} steps without work: {:.4} ms a step", queue);
    println!("the same with events written to a file:           {:.4} ms a step", events);
    ensure!(queue.max(events) < MAY_COST_MS, "a step costs more than {MAY_COST_MS} ms");

    println!("\n200 steps that sleep or compute (10 to 80 ms each):");
    println!("{:<12} {:>8} {:>10} {:>10} {:>10} {:>10}", "", "total", "cores'", "over it", "slots'", "over it");
    println!("{:<12} {:>8} {:>10} {:>10} {:>10} {:>10}", "", "", "bound", "", "bound", "");
    let slots = Slots::for_cores(std::thread::available_parallelism().map_or(1, usize::from));
    let unit = Duration::from_millis(10);
    for schedule in Schedule::ALL {
        let plan = made_up::plan(schedule, unit)?;
        let (outcome, timeline) = made_up::run(&plan, slots, &RunFolder::at(root.join(schedule.name())), unit)?;
        let path_s = analysis::lower_bound(&timeline).with_context(|| outcome.reason)?.path_s;
        // Not the machine's, which counts what runs beside.
        let bound_s = path_s.max(analysis::children_cpu_s(&timeline) / slots.cpu as f64);
        let of_slots_s = slots::bound_s(&timeline, slots).max(bound_s);
        let total_s = analysis::end_us(&timeline) as f64 / 1e6;
        println!(
            "{schedule:<12} {total_s:>6.2} s {bound_s:>8.2} s {:>8.2} × {of_slots_s:>8.2} s {:>8.2} ×",
            total_s / bound_s,
            total_s / of_slots_s
        );
    }
    Ok(())
}

/// Milliseconds a step, of the ready queue and the threads around it.
fn own_cost() -> Result<f64> {
    let need = |id: usize| Need { id, on: On::Finish };
    let nodes = (0..STEPS).map(|id| {
        let needs = if id < 100 { Vec::new() } else { vec![need(id - 100), need(id / 100 * 100 - 1)] };
        Node { id, weight: 1 + (id % 7) as u64, milestones: Vec::new(), late: false, resource: id % 3, needs }
    });
    let graph = Graph::new(nodes.collect())?;
    let options = Options { slots: vec![2, 2, 32], on_failure: OnFailure::Stop, tick: None, hold_behind: None };
    let began = Instant::now();
    run(graph, &options, &Cancel::new(), |_, _: &xtask::schedule::Context<Cancel, ()>| Ok(()), |_| {})?;
    Ok(began.elapsed().as_secs_f64() * 1000.0 / STEPS as f64)
}

/// The same with a plan, its recorder and its events.
fn with_events(folder: &Utf8Path) -> Result<f64> {
    let small = made_up::plan(Schedule::Dag, Duration::ZERO)?;
    let mut plan = Plan { steps: Vec::new(), ..small.clone() };
    for copy in 0..STEPS / small.steps.len() {
        let name = |id: &xtask::plan::StepId| xtask::plan::StepId::new(format!("{copy}:{id}"));
        plan.steps.extend(small.steps.iter().cloned().map(|mut step| {
            step.id = name(&step.id);
            step.needs.iter_mut().for_each(|need| need.step = name(&need.step));
            step
        }));
    }
    let folder = RunFolder::at(folder);
    std::fs::create_dir_all(folder.steps()).context("making a folder for a run")?;
    let slots = Slots { cpu: 2, disk: 2, waiting: 32 };
    let mut recorder = Recorder::start(folder, &plan, slots, RunInfo::default(), Vec::new())?;
    let began = Instant::now();
    execute(&plan, slots, &Stop::new(&Cancel::new()), &mut recorder, |_, _| Ok(()))?;
    recorder.close().1?;
    Ok(began.elapsed().as_secs_f64() * 1000.0 / plan.steps.len() as f64)
}
