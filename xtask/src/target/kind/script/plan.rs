//! The plan of a shell script: the same suite, done one thing after the other as it is commonly done.

use crate::plan::{BuildMode, Need, On, Plan, Schedule, Step, StepId, StepKind};
use crate::target::kind::layout::{API, DNS, NODE};

/// `plan` as a script would have it. It has no steps for what a script leaves to its commands: waiting for the node's
/// container runtime or for DNS, compiling what images share, asking for the specs.
#[must_use]
pub fn as_script(mut plan: Plan) -> Plan {
    debug_assert_eq!(plan.build, BuildMode::Container, "a script builds in containers");
    let is_part = |step: &Step, name: &str| matches!(&step.kind, StepKind::Part { part, .. } if part == name);
    let is_of_target = |step: &Step| is_part(step, NODE) || is_part(step, DNS);
    let left_out = |step: &Step| is_of_target(step) || matches!(step.kind, StepKind::Dependencies | StepKind::List);
    let (gone, left): (Vec<_>, Vec<_>) = plan.steps.into_iter().partition(left_out);
    let of_cluster = |id: &StepId| gone.iter().any(|step| step.id == *id && is_of_target(step));
    let is_gone = |id: &StepId| gone.iter().any(|step| step.id == *id);
    let api = left.iter().find(|step| is_part(step, API)).map(|step| step.id.clone());
    plan.steps = left;
    for step in &mut plan.steps {
        if is_part(step, API) {
            step.title = "node ready".to_owned();
            // Nothing runs beside `kind create cluster`.
            step.needs.iter_mut().for_each(|need| need.on = On::Finish);
        }
        let mut needs: Vec<Need> = Vec::new();
        for mut need in std::mem::take(&mut step.needs) {
            match &api {
                // Where the node takes pods its runtime is up.
                Some(api) if of_cluster(&need.step) => need.step = api.clone(),
                _ if is_gone(&need.step) => continue,
                _ => {}
            }
            if !needs.iter().any(|other| other.step == need.step) {
                needs.push(need);
            }
        }
        step.needs = needs;
    }
    plan.with_schedule(Schedule::Sequential)
}
