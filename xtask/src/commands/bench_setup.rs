//! `bench-setup`: what each order of the set-up costs.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8PathBuf;
use e2e_support::Cancel;
use e2e_support::engine::Flavor;
use e2e_support::kind::CLUSTER_LABEL;

use crate::bench::{self, Bench, Copy, Order, SCHEMA, Scenario, Settings, Slowed, State, contenders};
use crate::build_mode::Choice;
use crate::environment::environment;
use crate::events::Runs;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::plan::{BuildMode, Plan};
use crate::provision::Request;
use crate::suite::Suite;
use crate::suite::yaml::did_you_mean;
use crate::target::place::Place;
use crate::target::{self, kind};

/// Compare the orders that a set-up can be done in: times with intervals, bounds and ceilings, as Markdown, JSON and a page
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    #[arg(default_value = "gateway")]
    pub suite: String,
    /// Who takes part, separated by commas; the same one twice shows how far two runs of the same differ
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ORDER,…")]
    pub schedules: Vec<Order>,
    /// Leave out the script where nobody is named
    #[arg(long, conflicts_with = "schedules")]
    pub no_script: bool,
    /// What is there before each run, and what is not
    #[arg(long, value_enum, default_value_t = Scenario::Edit)]
    pub scenario: Scenario,
    /// How often each one runs
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// What the order within each round follows from; a new one each time where none is given
    #[arg(long)]
    pub seed: Option<u64>,
    /// Let one more take part: dag with a step slowed by so many seconds, to see whether it is found
    #[arg(long, value_name = "STEP=SECONDS")]
    pub slow: Vec<Slowed>,
    /// The folder of the results; one that has runs already is gone on with
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<Utf8PathBuf>,
    /// Where the schedules compile the Rust; a script does it in containers
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub build: Choice,
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// Set the machine up without asking, if something is missing
    #[arg(long)]
    pub yes: bool,
}

/// Runs it.
///
/// # Errors
/// When it is stopped, when a run cannot begin, or when the folder's runs cannot be set beside new ones. Runs that fail
/// are results.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let contenders = contenders(&orders(args)?, &args.slow)?;
    let place = args.scenario.place();
    known_steps(paths, &suite, &args.slow, &place)?;
    let runs = Runs::of(&paths.root);
    let _lock = runs.lock(&suite.name, &format!("cargo xtask bench-setup {}", suite.name))?;
    super::check::must_pass(paths, &suite)?;
    let request =
        Request { on: place.clone(), engine: args.engine, build: args.build, yes: args.yes, ..Request::default() };
    if contenders.iter().any(|contender| contender.order == Order::Script) {
        kind::set_up(paths, &suite, &Request { build: Choice::Container, ..request.clone() }, cancel)?;
    }
    let (workshop, build) = match place {
        Place::Kind => {
            let (workshop, building) = kind::set_up(paths, &suite, &request, cancel)?;
            no_cluster_beside(paths, &suite, workshop.engine()?)?;
            (workshop, building.name().to_owned())
        }
        Place::Processes | Place::Existing(_) => {
            (target::set_up(paths, &suite, &request, cancel)?, BuildMode::Host.name().to_owned())
        }
    };
    let engine = workshop.engine.clone();
    let environment = environment(&paths.root, &workshop);

    let out = args.out.clone().map_or_else(
        || paths.root.join("target/bench").join(format!("{}-{}", suite.name, args.scenario.name())),
        |out| if out.is_absolute() { out } else { paths.root.join(out) },
    );
    let before = bench::look(&out)?;
    let copy = Copy::make(paths, &paths.root.join("target/bench/work").join(&suite.name))?;
    let instance = Instance::of(&copy.paths, &suite)?;
    let _copy_lock = instance.lock(&format!("cargo xtask bench-setup {}", suite.name))?;
    let seed = args.seed.or_else(|| before.as_ref().map(|(settings, _)| settings.seed)).unwrap_or_else(new_seed);
    let settings = Settings {
        schema: SCHEMA,
        suite: suite.name.clone(),
        scenario: args.scenario,
        contenders,
        seed,
        build,
        engine: engine.as_ref().map_or("none".to_owned(), |engine| format!("{} {}", engine.flavor(), engine.version())),
        git_revision: environment.get("git revision").cloned().unwrap_or_else(|| "unknown".to_owned()),
        inputs: copy.hash.clone(),
    };
    let mut state = State::open(&out, &settings)?;
    match state.runs.len() {
        0 => eprintln!("bench of {} in {out}, seed {seed}", suite.name),
        there => eprintln!("going on in {out}: {there} runs, warm-ups included, are there already, seed {seed}"),
    }
    let bench =
        Bench { paths, copy, instance, suite, engine, settings, request, rounds: args.runs, out: out.clone(), cancel };
    let ran = bench.run(&mut state);
    // What is there is told also where it was stopped.
    if state.runs.iter().any(|run| run.round > 0) {
        let reports = bench::write(&out, &bench.suite, &bench.settings, args.runs, environment, &state.runs)?;
        println!("{}", reports.text);
        println!("{}\n{}\n{}", reports.markdown, reports.json, reports.html);
    }
    match state.runs.len() {
        0 => ran,
        kept => ran.with_context(|| format!("{kept} runs are kept in {out}; the same command goes on there")),
    }
}

/// Who takes part.
fn orders(args: &Args) -> Result<Vec<Order>> {
    let without_script = args.scenario.without_script();
    if let (Some(why), true) = (without_script, args.schedules.contains(&Order::Script)) {
        bail!("{why}: it has no place in the scenario {}", args.scenario.name());
    }
    if !args.schedules.is_empty() {
        return Ok(args.schedules.clone());
    }
    let mut orders = vec![Order::Sequential, Order::Phased, Order::Hybrid, Order::Dag];
    if !args.no_script && without_script.is_none() {
        orders.push(Order::Script);
    }
    Ok(orders)
}

/// Fails where a step is to be slowed that there is not.
fn known_steps(paths: &Paths, suite: &Suite, slowed: &[Slowed], place: &Place) -> Result<()> {
    let mut ids = Vec::new();
    for build in [BuildMode::Host, BuildMode::Container] {
        ids.extend(Plan::load(&paths.root, suite, build, place.layout())?.steps.into_iter().map(|step| step.id));
    }
    for slow in slowed {
        let names = ids.iter().map(|id| id.as_str());
        let hint =
            || did_you_mean(slow.step.as_str(), names.clone()).unwrap_or_else(|| "see `cargo xtask plan`".into());
        ensure!(ids.contains(&slow.step), "no step of the name {} ({})", slow.step, hint());
    }
    Ok(())
}

/// Fails where a cluster of this checkout runs: it would take part in every measurement.
fn no_cluster_beside(paths: &Paths, suite: &Suite, engine: &e2e_support::engine::Engine) -> Result<()> {
    let instance = Instance::of(paths, suite)?;
    let name = instance.cluster();
    ensure!(
        engine.containers(CLUSTER_LABEL, Some(name))?.is_empty(),
        "the cluster {name} is there, and would be measured along: remove it with `cargo xtask down {}`",
        suite.name
    );
    Ok(())
}

fn new_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs())
}
