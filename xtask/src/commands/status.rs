//! `status`: what a run does now, or how the last one ended, from any terminal.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use camino::Utf8Path;
use console::Term;
use e2e_support::Cancel;
use serde_json::json;

use crate::called::called;
use crate::error::WrongUsage;
use crate::events::{Follower, Liveness, RunFolder, Runs, SpecStatus, StepStatus, Timeline};
use crate::report::frame::{Size, frame};
use crate::report::live::{Painter, lasting};
use crate::report::summary::summary;
use crate::report::text::duration;
use crate::suite::Suite;
use crate::suite::yaml::did_you_mean;

/// How often the events are looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// Show what a run does now, or how the last one ended
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite; without it, the one that ran last
    pub suite: Option<String>,
    /// Stay, and show how it goes on, until the run ends
    #[arg(long, conflicts_with = "format")]
    pub watch: bool,
    /// text is for people, json everything that is known of the run
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Shows the newest run of a suite of the workspace in `root`.
///
/// # Errors
/// There is no such suite, or its events cannot be read.
pub fn run(root: &Utf8Path, args: &Args, cancel: &Cancel) -> anyhow::Result<()> {
    let Some(folder) = newest(root, args.suite.as_deref())? else {
        if args.format == Format::Json {
            println!("null");
            return Ok(());
        }
        let known = Suite::names(root);
        let known =
            if known.is_empty() { "there are no suites".to_owned() } else { format!("suites: {}", known.join(", ")) };
        println!("nothing has run yet: `{} e2e <suite>` does ({known})", called());
        return Ok(());
    };
    let mut follower = Follower::open(&folder.events())?;
    if args.watch {
        return watch(&folder, &mut follower, cancel);
    }
    let liveness = follower.liveness()?;
    let timeline = Timeline::of(&follower.more()?);
    if args.format == Format::Json {
        println!("{:#}", json(&timeline, &folder, liveness));
        return Ok(());
    }
    if liveness == Liveness::Alive {
        let size = Term::stdout().size_checked().map_or(120, |(_, width)| usize::from(width));
        // All that wait are listed: nobody redraws this.
        let picture = frame(&timeline, now_us(&timeline, &folder), Size { width: size, height: usize::MAX });
        for line in picture {
            println!("{line}");
        }
    } else {
        print!("{}", ended(&timeline, &folder));
    }
    Ok(())
}

/// The newest run of this suite, or of the one that ran last.
///
/// # Errors
/// Neither a suite nor runs of this name exist.
pub(super) fn newest(root: &Utf8Path, suite: Option<&str>) -> anyhow::Result<Option<RunFolder>> {
    let runs = Runs::of(root);
    let Some(suite) = suite else {
        return Ok(runs.suites().first().and_then(|suite| runs.latest(suite)));
    };
    let known = Suite::names(root);
    let newest = runs.latest(suite);
    if newest.is_none() && !known.iter().any(|name| name == suite) {
        let near = did_you_mean(suite, known.iter().map(String::as_str));
        let near = near.unwrap_or_else(|| format!("there are: {}", known.join(", ")));
        return Err(WrongUsage(format!("no suite of the name `{suite}`: {near}")).into());
    }
    Ok(newest)
}

/// All that is known of a run. Times are seconds since it began.
fn json(timeline: &Timeline, folder: &RunFolder, liveness: Liveness) -> serde_json::Value {
    let seconds = |us: Option<u64>| us.map(|us| us as f64 / 1e6);
    let steps = timeline.steps.iter().map(|state| {
        let (status, why) = match &state.status {
            StepStatus::Waiting => ("waiting", None),
            StepStatus::Ready => ("ready", None),
            StepStatus::Running => ("running", None),
            StepStatus::Finished => ("finished", None),
            StepStatus::Failed(why) => ("failed", Some(why)),
            StepStatus::Skipped { reason, .. } => ("skipped", Some(reason)),
            StepStatus::Cancelled(why) => ("cancelled", Some(why)),
        };
        json!({
            "step": state.step.id,
            "status": status,
            "why": why,
            "note": state.note,
            "ready_s": seconds(state.ready_us),
            "started_s": seconds(state.started_us),
            "ended_s": seconds(state.ended_us),
            "cpu_s": state.usage.cpu_s,
            "facts": state.facts,
        })
    });
    let specs = timeline.specs.iter().map(|state| {
        let (status, why) = match &state.status {
            SpecStatus::Listed => ("listed", None),
            SpecStatus::Running => ("running", None),
            SpecStatus::Passed => ("passed", None),
            SpecStatus::Failed(why) => ("failed", Some(why)),
            SpecStatus::Ignored => ("ignored", None),
            SpecStatus::Unfinished(why) => ("unfinished", Some(why)),
        };
        json!({
            "spec": state.name,
            "status": status,
            "why": why,
            "started_s": seconds(state.started_us),
            "ended_s": seconds(state.ended_us),
            "attempts": state.attempts,
        })
    });
    let run = timeline.run.as_ref();
    let result = timeline.result.as_ref();
    json!({
        "folder": folder.path(),
        "run": folder.name(),
        "suite": run.map(|run| &run.plan.suite),
        "shard": run.and_then(|run| run.partition),
        "schedule": run.map(|run| run.plan.schedule),
        "started_at": run.map(|run| &run.started_at),
        "is_running": liveness == Liveness::Alive,
        "result": result.map(|(result, _)| result),
        "why": result.map(|(_, why)| why).filter(|why| !why.is_empty()),
        "last_s": seconds(Some(timeline.last_us)),
        "steps": steps.collect::<Vec<_>>(),
        "specs": specs.collect::<Vec<_>>(),
    })
}

/// How a run ended that nobody writes any more.
fn ended(timeline: &Timeline, folder: &RunFolder) -> String {
    let mut out = String::new();
    let Some(run) = &timeline.run else {
        return format!("run {} died before its first event\n", folder.name());
    };
    let ago = since(&run.started_at).map_or_else(|_| String::new(), |us| format!(", {} ago", age(us)));
    out.push_str(&format!("{} ({}), run {}{ago}\n\n", run.subject(), run.plan.schedule, run.run));
    if timeline.result.is_none() {
        let running = timeline.steps.iter().filter(|state| state.started_us.is_some() && !state.is_over());
        let running: Vec<&str> = running.map(|state| state.step.id.as_str()).collect();
        let during = if running.is_empty() { String::new() } else { format!(" during {}", running.join(", ")) };
        out.push_str(&format!(
            "It is dead: process {} ended{during} without finishing, {} after it began. `{} gc` removes what it left.\n\n",
            run.pid,
            duration(timeline.last_us),
            called(),
        ));
    }
    out + &summary(timeline, Some(folder))
}

fn watch(folder: &RunFolder, follower: &mut Follower, cancel: &Cancel) -> anyhow::Result<()> {
    let mut timeline = Timeline::default();
    let mut painter = Painter::new(Term::stdout());
    let mut first = true;
    loop {
        // Asked first: what is written after this is read with the next look.
        let liveness = follower.liveness()?;
        let mut lines = Vec::new();
        for event in follower.more()? {
            timeline.apply(&event);
            lines.extend(lasting(&event, &timeline, folder));
        }
        if liveness == Liveness::Gone {
            painter.paint(&lines, &[]);
            if first || timeline.result.is_none() {
                print!("{}", ended(&timeline, folder));
            }
            return Ok(());
        }
        let picture = frame(&timeline, now_us(&timeline, folder), painter.size());
        painter.paint(&lines, &picture);
        first = false;
        if cancel.sleep(LOOK) {
            return Ok(());
        }
    }
}

/// Microseconds since the run began, by its own clock: that of its last event, and the time since that was written.
fn now_us(timeline: &Timeline, folder: &RunFolder) -> u64 {
    let written = folder.events().metadata().and_then(|events| events.modified());
    let since = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok()).unwrap_or_default();
    timeline.last_us.saturating_add(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Microseconds since a time in RFC 3339; none of a time that is still to come.
fn since(time: &str) -> anyhow::Result<u64> {
    let then = humantime::parse_rfc3339(time).with_context(|| format!("`{time}` is no time"))?;
    let elapsed = SystemTime::now().duration_since(then).unwrap_or_default();
    Ok(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// A time span in the one unit that fits.
fn age(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Recorder, RunInfo, What};
    use crate::plan::{BuildMode, Slots, StepId, derive};
    use crate::suite::yaml::Source;
    use crate::target::kind::LAYOUT;

    const SUITE: &str = "name: s\nphases: [a]\ncluster: {name: s, config: k, node: n, phase: a}\n";

    #[test]
    fn a_run_whose_writer_died_is_said_to_be_dead_and_at_what() {
        let temp = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(temp.path()).unwrap();
        assert!(newest(root, None).unwrap().is_none());
        let folder = Runs::of(root).create("s").unwrap();
        let suite = Suite::parse(Source::new("s.yaml", SUITE)).unwrap();
        let plan = derive(&suite, &std::collections::BTreeMap::new(), BuildMode::Host, &LAYOUT).unwrap();
        let slots = Slots::for_cores(1);
        let mut recorder = Recorder::start(folder.clone(), &plan, slots, RunInfo::default(), Vec::new()).unwrap();
        recorder.record(What::StepStarted { step: StepId::from("cluster") });
        drop(recorder);
        let newest = newest(root, None).unwrap().unwrap();
        assert_eq!(newest, folder);
        let timeline = Timeline::of(&crate::events::read(&newest.events()).unwrap());
        let text = ended(&timeline, &newest);
        let dead = format!("It is dead: process {} ended during cluster without finishing", std::process::id());
        assert!(text.contains(&dead) && text.contains("not finished after"), "{text}");
        let told = json(&timeline, &newest, Liveness::Gone);
        assert_eq!((&told["suite"], &told["result"], &told["is_running"]), (&json!("s"), &json!(null), &json!(false)));
        let cluster = told["steps"].as_array().unwrap().iter().find(|step| step["step"] == "cluster").unwrap();
        assert_eq!((&cluster["status"], &cluster["ended_s"]), (&json!("running"), &json!(null)), "{cluster}");
        assert!(cluster["started_s"].as_f64().is_some(), "{cluster}");
    }

    #[test]
    fn a_suite_that_is_not_there_is_told_with_the_nearest() {
        let temp = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(temp.path()).unwrap();
        std::fs::create_dir_all(root.join(crate::suite::SUITES)).unwrap();
        std::fs::write(root.join(crate::suite::SUITES).join("shop.yaml"), SUITE).unwrap();
        let error = newest(root, Some("shp")).unwrap_err().to_string();
        assert!(error.contains("did you mean `shop`?"), "{error}");
        assert!(newest(root, Some("shop")).unwrap().is_none());
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in [(5, "5 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (200_000, "2 days")] {
            assert_eq!(age(seconds * 1_000_000), text);
        }
    }
}
