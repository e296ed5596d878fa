//! The plan of a shell script: the same suite, done one thing after the other as it is commonly done.

use super::{BuildMode, Need, On, Plan, Schedule, StepId, StepKind};

impl Plan {
    /// This plan as a script would have it. It has no steps for what a script leaves to its commands: waiting for the
    /// node's container runtime or for DNS, and compiling what images share.
    #[must_use]
    pub fn as_script(mut self) -> Self {
        debug_assert_eq!(self.build, BuildMode::Container, "a script builds in containers");
        let left_out = |kind: &StepKind| matches!(kind, StepKind::Node | StepKind::Dns | StepKind::Dependencies);
        let (gone, left): (Vec<_>, Vec<_>) = self.steps.into_iter().partition(|step| left_out(&step.kind));
        let of_cluster = |id: &StepId| gone.iter().any(|step| step.id == *id && step.kind != StepKind::Dependencies);
        let is_gone = |id: &StepId| gone.iter().any(|step| step.id == *id);
        let api = left.iter().find(|step| step.kind == StepKind::Api).map(|step| step.id.clone());
        self.steps = left;
        for step in &mut self.steps {
            if step.kind == StepKind::Api {
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
        self.with_schedule(Schedule::Sequential)
    }
}
