//! `logs`: what a step's commands or a pod printed, from any terminal, also while it goes on.

mod live;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;

use self::live::Pods;
use crate::called::called;
use crate::events::{Follower, Liveness, RunFolder, StepStatus, Timeline};
use crate::output;
use crate::paths::Paths;
use crate::suite::yaml::did_you_mean;

/// How often a log is looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// Print what a step or a pod of the newest run has printed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A step as `status` names it, or a pod; without it, the step that failed, else the one that ran last
    pub what: Option<String>,
    /// The suite; without it, the one that ran last
    #[arg(long)]
    pub suite: Option<String>,
    /// Stay, and print what comes, until the step or the run ends
    #[arg(long, short)]
    pub follow: bool,
}

/// Prints a log of the newest run of a suite of this workspace.
///
/// # Errors
/// There is no run, no such step or pod, or its log cannot be read.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> anyhow::Result<()> {
    let Some(folder) = super::status::newest(&paths.root, args.suite.as_deref())? else {
        bail!("nothing has run yet, so there are no logs: `{} e2e <suite>` makes some", called());
    };
    let mut follower = Follower::open(&folder.events())?;
    let mut timeline = Timeline::of(&follower.more()?);
    let found = match find(&timeline, &folder, args.what.as_deref()) {
        Ok(found) => found,
        // Neither a step nor a pod that was kept: one that is there now.
        Err(unknown) => return pods_now(paths, &timeline, args, cancel, unknown),
    };
    let mut logs: Vec<Tail> = found.into_iter().map(Tail::new).collect();
    let several = logs.len() > 1;
    loop {
        let liveness = follower.liveness()?;
        for event in follower.more()? {
            timeline.apply(&event);
        }
        let over = liveness == Liveness::Gone || is_over(&timeline, args.what.as_deref());
        for log in &mut logs {
            log.print(several)?;
        }
        if over || !args.follow || output::reader_is_gone() || cancel.sleep(LOOK) {
            return explain(&logs, &timeline, args.what.as_deref());
        }
    }
}

fn pods_now(
    paths: &Paths,
    timeline: &Timeline,
    args: &Args,
    cancel: &Cancel,
    unknown: anyhow::Error,
) -> anyhow::Result<()> {
    let (Some(run), Some(what)) = (&timeline.run, args.what.as_deref()) else { return Err(unknown) };
    let Some(pods) = Pods::of(paths, &run.plan.suite) else { return Err(unknown) };
    if pods.print(what, args.follow, cancel)? {
        return Ok(());
    }
    match did_you_mean(what, pods.names()) {
        Some(hint) => bail!("the cluster of suite {} has no pod of the name `{what}`: {hint}", run.plan.suite),
        None => Err(unknown),
    }
}

/// The logs that are meant: a step's, or those of all containers of all pods whose name begins so.
fn find(timeline: &Timeline, folder: &RunFolder, what: Option<&str>) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let Some(what) = what else {
        let step = interesting(timeline).context("no step has begun yet")?;
        return Ok(vec![folder.step_log(&crate::plan::StepId::new(step))]);
    };
    if let Some(state) = timeline.steps.iter().find(|state| state.step.id.as_str() == what) {
        return Ok(vec![folder.step_log(&state.step.id)]);
    }
    let pods = pods(&folder.pods());
    let mut fit: Vec<Utf8PathBuf> =
        pods.iter().filter(|(pod, _)| pod.starts_with(what)).map(|(_, log)| log.clone()).collect();
    fit.sort();
    if !fit.is_empty() {
        return Ok(fit);
    }
    let steps = timeline.steps.iter().map(|state| state.step.id.as_str());
    let names = steps.chain(pods.iter().map(|(pod, _)| pod.as_str()));
    let hint = did_you_mean(what, names).unwrap_or_else(|| "`status` lists the steps".to_owned());
    bail!("run {} has neither a step nor a pod's log of the name `{what}`: {hint}", folder.name())
}

/// Pods and the logs of their containers, below `pods/<namespace>/<pod>/<container>.log`.
fn pods(folder: &Utf8Path) -> Vec<(String, Utf8PathBuf)> {
    let children = |path: &Utf8Path| path.read_dir_utf8().into_iter().flatten().flatten().collect::<Vec<_>>();
    let mut logs = Vec::new();
    for namespace in children(folder) {
        for pod in children(namespace.path()) {
            for log in children(pod.path()) {
                logs.push((pod.file_name().to_owned(), log.into_path()));
            }
        }
    }
    logs
}

/// The step that a person most likely asks for: one that failed, else the last that began.
fn interesting(timeline: &Timeline) -> Option<&str> {
    let failed = timeline.steps.iter().find(|state| matches!(state.status, StepStatus::Failed(_)));
    let last = || timeline.steps.iter().filter(|state| state.started_us.is_some()).max_by_key(|state| state.started_us);
    failed.or_else(last).map(|state| state.step.id.as_str())
}

fn is_over(timeline: &Timeline, what: Option<&str>) -> bool {
    let step = timeline.steps.iter().find(|state| Some(state.step.id.as_str()) == what);
    timeline.result.is_some() || step.is_some_and(crate::events::StepState::is_over)
}

/// Says why nothing was printed, where nothing was.
fn explain(logs: &[Tail], timeline: &Timeline, what: Option<&str>) -> anyhow::Result<()> {
    if logs.iter().all(|log| log.offset == 0) {
        let state = timeline.steps.iter().find(|state| Some(state.step.id.as_str()) == what);
        let why = match state.map(|state| &state.status) {
            Some(StepStatus::Waiting | StepStatus::Ready) => "it has not begun",
            Some(StepStatus::Skipped { .. }) => "it was skipped",
            _ => "it has printed nothing",
        };
        eprintln!("{}: {why}", what.or_else(|| interesting(timeline)).unwrap_or("the run"));
    }
    Ok(())
}

/// A log and how far it has been printed.
struct Tail {
    path: Utf8PathBuf,
    offset: u64,
}

impl Tail {
    fn new(path: Utf8PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// Prints what has been added. A log that is not there yet is as good as an empty one.
    fn print(&mut self, with_name: bool) -> anyhow::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("opening {}", self.path)),
        };
        let mut new = Vec::new();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_to_end(&mut new))
            .with_context(|| format!("reading {}", self.path))?;
        if new.is_empty() {
            return Ok(());
        }
        if with_name && self.offset == 0 {
            println!("==> {} <==", self.path);
        }
        self.offset += new.len() as u64;
        output::out_bytes(&new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Event, RunStarted, SCHEMA, What};
    use crate::plan::{BuildMode, Slots, StepId, derive};
    use crate::suite::{Suite, yaml::Source};
    use crate::target::kind::LAYOUT;

    const SUITE: &str = "\
name: s
phases: [a, b]
cluster: {name: s, config: k, node: n, phase: a}
build: {packages: [p]}
specs: {package: p, binary: s, phase: b}
";

    fn timeline(what: Vec<What>) -> Timeline {
        let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
        let started = RunStarted {
            schema: SCHEMA,
            run: "r".to_owned(),
            started_at: "2030-01-01T00:00:00Z".to_owned(),
            command: Vec::new(),
            partition: None,
            plan: derive(&suite, &std::collections::BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap(),
            slots: Slots::for_cores(2),
            cores: 2,
            pid: 1,
            environment: std::collections::BTreeMap::new(),
        };
        let first = What::RunStarted(Box::new(started));
        let events: Vec<Event> =
            std::iter::once(first).chain(what).enumerate().map(|(at, what)| Event { at_us: at as u64, what }).collect();
        Timeline::of(&events)
    }

    fn started(step: &str) -> What {
        What::StepStarted { step: StepId::new(step) }
    }

    #[test]
    fn a_step_a_kept_pod_or_what_one_most_likely_wants_is_found() {
        let temp = tempfile::tempdir().unwrap();
        let folder = RunFolder::at(Utf8Path::from_path(temp.path()).unwrap());
        for log in ["ns/app-1/main.log", "ns/app-1/side.log", "ns/app-2/main.log", "other/db-0/main.log"] {
            let path = folder.pods().join(log);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x\n").unwrap();
        }
        let failed = What::StepFailed {
            step: StepId::from("compile"),
            error: "no".to_owned(),
            usage: crate::events::Usage::default(),
        };
        let run = timeline(vec![started("compile"), started("cluster"), failed]);
        let still = timeline(vec![started("compile"), started("cluster")]);
        for (timeline, what, expected) in [
            (&run, Some("specs"), &["steps/specs.log"][..]),
            (&run, Some("app-1"), &["pods/ns/app-1/main.log", "pods/ns/app-1/side.log"]),
            (&run, Some("app"), &["pods/ns/app-1/main.log", "pods/ns/app-1/side.log", "pods/ns/app-2/main.log"]),
            (&run, None, &["steps/compile.log"]),
            (&still, None, &["steps/cluster.log"]),
        ] {
            let found = find(timeline, &folder, what).unwrap();
            let found: Vec<&Utf8Path> = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
            assert_eq!(found, expected, "{what:?}");
        }
        for (what, hint) in
            [("clustr", "did you mean `cluster`?"), ("db-1", "did you mean `db-0`?"), ("zzzzzz", "`status` lists")]
        {
            let error = find(&run, &folder, Some(what)).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        assert!(find(&timeline(Vec::new()), &folder, None).is_err());
    }

    #[test]
    fn following_ends_with_the_step() {
        let run = timeline(vec![
            started("compile"),
            What::StepFinished { step: StepId::from("compile"), usage: crate::events::Usage::default() },
        ]);
        for (what, over) in [(Some("compile"), true), (Some("cluster"), false), (Some("a-pod"), false), (None, false)] {
            assert_eq!(is_over(&run, what), over, "{what:?}");
        }
    }
}
