//! `plan`: the graph of a suite, without running it.

use crate::compiled;
use crate::events::{Runs, history};
use crate::paths::Paths;
use crate::plan::{BuildMode, Format, Schedule, derive, read_manifests, unrendered};
use crate::suite::Suite;
use crate::target::existing;
use crate::target::place::Place;

/// Print what a run would do, and what waits for what
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// Where it runs
    #[arg(long, value_name = "TARGET", default_value_t = Place::Kind)]
    pub on: Place,
    /// The order that the steps are put in
    #[arg(long, value_enum, default_value_t = Schedule::Dag)]
    pub schedule: Schedule,
    /// text is a tree with expected times, mermaid a flow chart, json everything
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Where the Rust is compiled
    #[arg(long, value_enum, default_value_t = BuildMode::Host)]
    pub build: BuildMode,
    #[command(flatten)]
    pub elsewhere: existing::Options,
}

/// Prints the plan of a suite of the workspace.
///
/// # Errors
/// The suite or one of its manifests is wrong: every problem with file and line.
pub fn run(paths: &Paths, args: &Args) -> anyhow::Result<()> {
    let root = &paths.root;
    let suite = Suite::load(root, &args.suite)?;
    let layout = args.on.layout();
    let history = history::load(&Runs::of(root), &suite.name, args.build, args.schedule, layout);
    let manifests = read_manifests(root, &suite)?;
    for problem in unrendered(&suite, &manifests) {
        eprintln!("note: {problem}; what it has is not in the plan");
    }
    let plan = derive(&suite, &manifests, args.build, layout)?
        .with_history(&history)
        .with_compilation(compiled::expected(paths, &suite))
        .with_schedule(args.schedule);
    print!("{}", plan.print(args.format));
    if let (Place::Existing(name), Format::Text) = (&args.on, args.format) {
        println!("\nrights that the user of the context {name} needs (ID is another text for each run):");
        for line in existing::rights_of(paths, &suite, &args.elsewhere)? {
            println!("  {line}");
        }
    }
    Ok(())
}
