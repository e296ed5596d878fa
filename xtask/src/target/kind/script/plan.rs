//! The plan of a shell script: the same suite, done one thing after the other as it is commonly done.

use crate::plan::{BuildMode, Need, On, Plan, Schedule, Step, StepId, StepKind};
use crate::target::kind::layout::DNS;

/// `plan` as a script would have it. It has no steps for what a script leaves to its commands: waiting for DNS, compiling
/// what images share, asking for the specs; and nothing runs beside `kind create cluster`.
#[must_use]
pub fn as_script(mut plan: Plan) -> Plan {
    debug_assert_eq!(plan.build, BuildMode::Container, "a script builds in containers");
    let left_out = |step: &Step| match &step.kind {
        StepKind::Part { part, .. } => part == DNS,
        kind => matches!(kind, StepKind::Dependencies | StepKind::List),
    };
    let (gone, left): (Vec<_>, Vec<_>) = plan.steps.into_iter().partition(left_out);
    let is_gone = |id: &StepId| gone.iter().any(|step| step.id == *id);
    plan.steps = left;
    for step in &mut plan.steps {
        step.milestones.clear();
        let mut needs: Vec<Need> = Vec::new();
        for need in std::mem::take(&mut step.needs).into_iter().filter(|need| !is_gone(&need.step)) {
            if !needs.iter().any(|other| other.step == need.step) {
                needs.push(Need { on: On::Finish, ..need });
            }
        }
        step.needs = needs;
    }
    plan.with_schedule(Schedule::Sequential)
}
