//! `e2e`: from nothing to every spec's answer.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use e2e_support::Cancel;
use e2e_support::engine::Flavor;

use crate::build_mode::Choice;
use crate::called::called;
use crate::compiled;
use crate::drive::{Afterwards, Driven, Left, drive};
use crate::error::{SetUpFailed, WrongUsage};
use crate::events::{RunFolder, Runs, Stop, history};
use crate::exit;
use crate::paths::Paths;
use crate::plan::{Extent, Schedule};
use crate::provision::Request;
use crate::report::junit;
use crate::report::summary::summary;
use crate::shards::times::Times;
use crate::shards::{Partition, Shard};
use crate::suite::Suite;
use crate::target::place::Place;
use crate::target::session::Earlier;
use crate::target::session::{Session, SpecOptions};
use crate::target::{self, existing};

/// Run a suite: set-up of the machine if something is missing, cluster, images, services, specs, report, clean-up
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// Where it runs
    #[arg(long, value_name = "TARGET", default_value_t = Place::Kind)]
    pub on: Place,
    /// Set the machine up without asking, if something is missing
    #[arg(long)]
    pub yes: bool,
    /// Leave the cluster if something fails, and say how to look into it
    #[arg(long)]
    pub keep: bool,
    /// Use the cluster of an earlier run if it fits, and leave it for the next
    #[arg(long)]
    pub reuse: bool,
    /// The order that the steps are put in
    #[arg(long, value_enum, default_value_t = Schedule::Dag)]
    pub schedule: Schedule,
    /// Where the Rust is compiled
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub build: Choice,
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// The version of Kubernetes, of those in images/setup.yaml, such as 1.35
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    /// Only specs whose name has this in it
    #[arg(long)]
    pub filter: Option<String>,
    /// Only the K-th of N shards of the specs, which together run each of them once: `merge` makes one verdict of their
    /// runs
    #[arg(long, value_name = "K/N")]
    pub partition: Option<Partition>,
    /// What shards are split by, so that they take about equally long: a file that `times` writes, the same for all of
    /// them; where none is named, that of the suite, and where it names none, the names of the specs
    #[arg(long, value_name = "FILE", requires = "partition")]
    pub times: Option<Utf8PathBuf>,
    /// How many specs run at a time
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// How often a failed spec is tried again; one that passes then is reported as flaky
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub retries: u32,
    /// Stop the whole run after so many minutes
    #[arg(long, default_value_t = 30, value_name = "MINUTES")]
    pub timeout: u64,
    /// Also write the JUnit report here
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub elsewhere: existing::Options,
}

/// Runs it.
///
/// # Errors
/// When the run could not begin. What a run finds is its exit code.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<ExitCode> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let shard = args.partition.map(|partition| shard(paths, &suite, partition, args)).transpose()?;
    let name = suite.name.clone();
    if let Some(to) = &args.junit {
        junit::begin(to, &name)?;
    }
    let ended = begin(paths, suite, shard, args, cancel);
    let report = match &ended {
        Ok((.., driven)) => junit::junit(&driven.timeline),
        Err(error) => junit::without_run(&name, &format!("{error:#}")),
    };
    let written = match &args.junit {
        Some(to) => std::fs::write(to, report).with_context(|| format!("writing the JUnit report to {to}")),
        None => Ok(()),
    };
    let (session, folder, mut driven) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            written.unwrap_or_else(|error| eprintln!("error: {error:#}"));
            return Err(error);
        }
    };
    driven.afterwards.extend(written.err());
    print!("{}", summary(&driven.timeline, Some(&folder)));
    super::up::print_left(&session, driven.left);
    if driven.left == Left::Cluster {
        driven.afterwards.extend(session.target.stay(&session, cancel).err());
    }
    driven.tell_afterwards();
    Ok(exit::of_run(driven.outcome.result, driven.afterwards.is_empty()))
}

/// The shard that is asked for.
fn shard(paths: &Paths, suite: &Suite, partition: Partition, args: &Args) -> Result<Shard> {
    if suite.specs.is_none() {
        return Err(WrongUsage(format!("--partition {partition}: the suite {} has no specs", suite.name)).into());
    }
    let times = Times::of(&paths.root, suite, args.times.as_deref())?;
    Ok(Shard { partition, times })
}

/// From the suite to a run that is over.
fn begin(
    paths: &Paths,
    suite: Suite,
    shard: Option<Shard>,
    args: &Args,
    cancel: &Cancel,
) -> Result<(Session, RunFolder, Driven)> {
    if args.reuse && !args.on.outlives_commands() {
        let message = "--reuse: processes do not outlive the command that started them, each run begins anew";
        return Err(WrongUsage(message.to_owned()).into());
    }
    let runs = Runs::of(&paths.root);
    let _lock = runs.lock(&suite.name, &format!("{} e2e {}", called(), suite.name))?;
    // Mistakes are found before the machine is touched.
    let is_whole = super::check::must_pass(paths, &suite)?;
    let limit = Duration::from_secs(args.timeout.saturating_mul(60));
    let stop = Stop::within(cancel, limit, format!("the run's --timeout of {} min has passed", args.timeout));
    let folder = runs.create(&suite.name)?;
    let kubernetes = args.kubernetes.clone();
    let request = Request {
        on: args.on.clone(),
        engine: args.engine,
        build: args.build,
        yes: args.yes,
        kubernetes,
        elsewhere: args.elsewhere.clone(),
    };
    let earlier = if args.reuse { Earlier::Reuse } else { Earlier::Replace };
    let name = suite.name.clone();
    let path = folder.path().to_owned();
    let mut say = |line: &str| eprintln!("{line}");
    let opened = target::open(paths, suite, &request, earlier, path, stop.cancel(), &mut say);
    let mut session = opened.map_err(|error| {
        folder.remove_if_empty();
        let error = if stop.is_out_of_time() { error.context(stop.reason()) } else { error };
        error.context(SetUpFailed)
    })?;
    if !is_whole {
        // Now that kubectl is there.
        super::check::must_pass(paths, &session.suite).inspect_err(|_| folder.remove_if_empty())?;
    }
    let (filter, jobs, retries, keep) = (args.filter.clone(), args.jobs, args.retries, args.keep);
    session.specs = Some(SpecOptions { filter, shard, jobs, retries, keep });
    let plan = session
        .plan()?
        .up_to(Extent::Specs)
        .with_history(&history::load(&runs, &name, session.build, args.schedule, session.target.layout()))
        .with_compilation(compiled::expected(paths, &session.suite))
        .with_schedule(args.schedule);
    let after = match (args.reuse, args.keep) {
        (true, _) => Afterwards::Keep,
        (false, true) => Afterwards::KeepFailed,
        (false, false) => Afterwards::Delete,
    };
    let driven = drive(&session, &plan, &folder, after, &stop)?;
    Ok((session, folder, driven))
}
