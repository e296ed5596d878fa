//! `up`: a cluster that stays.

use anyhow::{Result, anyhow};
use e2e_support::Cancel;
use e2e_support::engine::Flavor;
use sha2::{Digest, Sha256};

use crate::build_mode::Choice;
use crate::called::called;
use crate::compiled;
use crate::drive::{Afterwards, Left, drive};
use crate::error::SetUpFailed;
use crate::events::{RunResult, Runs, Stop, history};
use crate::hash::hex;
use crate::paths::Paths;
use crate::plan::object;
use crate::plan::{Extent, Schedule};
use crate::provision::Request;
use crate::report::summary::summary;
use crate::suite::Suite;
use crate::target::place::Place;
use crate::target::session::Earlier;
use crate::target::session::Session;
use crate::target::{self, existing};

/// Create the suite's cluster, deploy everything on it, and leave it running
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite: a file in manifests/suites/ without its ending
    pub suite: String,
    /// Where it runs
    #[arg(long, value_name = "TARGET", default_value_t = Place::Kind)]
    pub on: Place,
    /// Only the cluster, with its custom resource definitions and namespaces
    #[arg(long)]
    pub cluster_only: bool,
    /// Set the machine up without asking, if something is missing
    #[arg(long)]
    pub yes: bool,
    /// The container engine; podman before docker where none is named
    #[arg(long, env = "E2E_ENGINE")]
    pub engine: Option<Flavor>,
    /// Where the Rust is compiled
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub build: Choice,
    /// The version of Kubernetes, of those in images/setup.yaml, such as 1.35
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    #[command(flatten)]
    pub elsewhere: existing::Options,
}

/// Runs it.
///
/// # Errors
/// When the machine cannot be set up, or a step fails; the cluster is left for a look then.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<()> {
    let suite = Suite::load(&paths.root, &args.suite)?;
    let runs = Runs::of(&paths.root);
    let _lock = runs.lock(&suite.name, &format!("{} up {}", called(), suite.name))?;
    let extent = if args.cluster_only { Extent::Cluster } else { Extent::Deployed };
    let kubernetes = args.kubernetes.clone();
    let request = Request {
        on: args.on.clone(),
        engine: args.engine,
        build: args.build,
        yes: args.yes,
        kubernetes,
        elsewhere: args.elsewhere.clone(),
    };
    let folder = runs.create(&suite.name)?;
    let path = folder.path().to_owned();
    let mut say = |line: &str| eprintln!("{line}");
    let opened = target::open(paths, suite, &request, Earlier::Reuse, path, cancel, &mut say);
    let session = opened.map_err(|error| {
        folder.remove_if_empty();
        error.context(SetUpFailed)
    })?;
    let plan = session
        .plan()?
        .up_to(extent)
        .with_history(&history::load(&runs, &session.suite.name, session.build, Schedule::Dag, session.target.layout()))
        .with_compilation(compiled::expected(paths, &session.suite))
        .with_schedule(Schedule::Dag);
    let ground = ground(&session);
    if args.cluster_only && session.target.was_there() && session.instance.files.ground().as_deref() == Some(&ground) {
        println!("the cluster {} is there, answers, and is as it would be made now", session.instance.cluster());
        print_access(&session);
        folder.remove_if_empty();
        return Ok(());
    }
    let driven = drive(&session, &plan, &folder, Afterwards::Keep, &Stop::new(cancel))?;
    if driven.outcome.result != RunResult::Passed {
        print!("{}", summary(&driven.timeline, Some(&folder)));
        print_left(&session, driven.left);
        driven.tell_afterwards();
        if driven.left == Left::Cluster {
            session.target.stay(&session, cancel)?;
        }
        return Err(anyhow!(driven.outcome.reason).context(SetUpFailed));
    }
    driven.tell_afterwards();
    session.instance.files.write_ground(&ground)?;
    print_access(&session);
    session.target.stay(&session, cancel)
}

/// The content of all manifests of the suite as this run applies them, as one hash.
fn ground(session: &Session) -> String {
    let mut hash = Sha256::new();
    for (file, source) in &session.manifests.sources {
        hash.update(format!("{file}\0{}\0{}", source.text.len(), source.text));
    }
    hex(&hash.finalize())
}

/// What a run has left of the cluster, and how to look into it; nothing where it has left nothing.
pub fn print_left(session: &Session, left: Left) {
    match left {
        Left::Nothing => {}
        Left::Cluster => print_access(session),
        Left::Remains => println!(
            "{} was not made; what there is of it stays ({}); remove it: {} down {}",
            session.target.place(&session.instance),
            session.target.remains(session),
            called(),
            session.suite.name
        ),
    }
}

/// Where the cluster answers, and how to talk to it.
pub fn print_access(session: &Session) {
    let kubeconfig = session.instance.files.kubeconfig();
    println!("{}", session.target.stays(session));
    println!("  export KUBECONFIG={kubeconfig}");
    let names = object::node_ports(session.manifests.all());
    let ports = session.ports();
    for (node_port, port) in &ports {
        let name = names.get(node_port).map_or("nobody's", String::as_str);
        println!("  http://127.0.0.1:{port}  {name} (NodePort {node_port})");
    }
    if let Some(text) = &session.suite.access {
        let kubectl = format!("{} --kubeconfig {kubeconfig}", session.kubectl);
        let text = text.replace("{kubectl}", &kubectl).replace("{namespace}", &session.namespace);
        let text = ports
            .iter()
            .fold(text, |text, (node_port, port)| text.replace(&format!("{{{node_port}}}"), &port.to_string()));
        println!("{}", text.trim_end());
    }
}
