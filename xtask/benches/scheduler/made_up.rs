//! A suite of some 200 steps that nobody has: images, and groups of manifests that use them and wait for each other.
//! Its steps sleep or compute for a time that follows from their name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8PathBuf;
use xtask::events::{Recorder, RunFolder, RunInfo, Stop, Timeline, What};
use xtask::execute::{Outcome, StepContext, execute};
use xtask::plan::{BuildMode, History, Plan, Resource, Schedule, Slots, Step, derive};
use xtask::suite::Suite;
use xtask::suite::yaml::Source;
use xtask::target::kind::LAYOUT;

/// How many images there are: two steps each.
const IMAGES: usize = 40;
/// How many groups of manifests there are: two steps each.
const GROUPS: usize = 58;

/// The plan, in the order of `schedule`, that knows how long its steps take, as from the second run on.
pub(crate) fn plan(schedule: Schedule, unit: Duration) -> Result<Plan> {
    let mut text = String::from(
        "name: made-up\nphases: [ground, build, deploy, check]\n\
         cluster: {name: m, config: k, node: n, phase: ground}\nbuild: {packages: [p, s]}\nimages:\n",
    );
    for image in 0..IMAGES {
        // Every third one needs what is compiled.
        let package = if image % 3 == 0 { ", package: p" } else { "" };
        writeln!(text, "  - {{name: i{image}, dockerfile: d, reference: 'x/i{image}:1', phase: build{package}}}")?;
    }
    text.push_str("manifests:\n");
    let mut manifests = BTreeMap::new();
    for group in 0..GROUPS {
        // Chains, fans and islands.
        let needs = match group % 5 {
            0 => String::new(),
            1 => format!("g{}", group - 1),
            2 => format!("g{}, g{}", group / 2, group - 2),
            3 => format!("g{}", group / 3),
            _ => format!("g{}", group % 7),
        };
        let needs = if group < 8 { String::new() } else { format!(", needs: [{needs}]") };
        writeln!(text, "  - {{name: g{group}, files: [g{group}.yaml]{needs}, phase: deploy}}")?;
        let image = group * 7 % IMAGES;
        let manifest = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: g{group}, namespace: default}}\n\
             spec: {{template: {{spec: {{containers: [{{name: c, image: 'x/i{image}:1'}}]}}}}}}\n"
        );
        let file = Utf8PathBuf::from(format!("g{group}.yaml"));
        manifests.insert(file.clone(), Source::new(file, manifest));
    }
    let all: Vec<String> = (0..GROUPS).map(|group| format!("g{group}")).collect();
    writeln!(text, "specs: {{package: s, binary: s, needs: [{}], phase: check}}", all.join(", "))?;
    let suite = Suite::parse(Source::new("made-up.yaml", text))?;
    let plan = derive(&suite, &manifests, BuildMode::Host, &LAYOUT)?;
    let mut history = History::default();
    for step in &plan.steps {
        history.add(step.id.clone(), time(step, unit).as_secs_f64());
        for milestone in &step.milestones {
            history.add(step.id.milestone(&milestone.name), time(step, unit).as_secs_f64() / 2.0);
        }
    }
    Ok(plan.with_history(&history).with_schedule(schedule))
}

/// How long a step takes: between one and eight times `unit`.
fn time(step: &Step, unit: Duration) -> Duration {
    let sum = step.id.as_str().bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    unit * (1 + sum % 8)
}

/// Runs the plan in `folder`, whose steps take `unit` or some more, and half of that up to their milestones.
pub(crate) fn run(plan: &Plan, slots: Slots, folder: &RunFolder, unit: Duration) -> Result<(Outcome, Timeline)> {
    std::fs::create_dir_all(folder.steps())?;
    let mut recorder = Recorder::start(folder.clone(), plan, slots, RunInfo::default(), Vec::new())?;
    let work = |step: &Step, context: &StepContext<'_>| {
        let time = time(step, unit);
        if step.resource == Resource::Cpu {
            let began = Instant::now();
            while began.elapsed() < time {
                std::hint::spin_loop();
            }
            context.add_cpu(time);
        } else {
            context.cancel().sleep(time / 2);
            step.milestones.iter().for_each(|milestone| context.reach(&milestone.name));
            context.cancel().sleep(time / 2);
        }
        Ok(())
    };
    let outcome = execute(plan, slots, &Stop::new(&e2e_support::Cancel::new()), &mut recorder, work)?;
    recorder.record(What::RunFinished { result: outcome.result, reason: outcome.reason.clone() });
    let (timeline, written) = recorder.close();
    written?;
    Ok((outcome, timeline))
}
