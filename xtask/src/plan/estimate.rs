//! How long steps are expected to take, and how long they may.

use std::collections::BTreeMap;

use super::{Expected, ExpectedFrom, StepId, StepKind};

/// The times of earlier runs, in seconds by step, newest last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    times: BTreeMap<StepId, Vec<f64>>,
}

impl History {
    /// Notes that `step` took `seconds` in a run.
    pub fn add(&mut self, step: StepId, seconds: f64) {
        self.times.entry(step).or_default().push(seconds);
    }

    /// Whether nothing has been measured yet.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The median of what was measured.
    pub fn expected(&self, step: &StepId) -> Option<Expected> {
        let mut times = self.times.get(step)?.clone();
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let seconds = if times.len() % 2 == 1 {
            times[middle]
        } else {
            f64::midpoint(*times.get(middle.checked_sub(1)?)?, times[middle])
        };
        Some(Expected { seconds, source: ExpectedFrom::Measured(u32::try_from(times.len()).unwrap_or(u32::MAX)) })
    }
}

/// What is expected of a step that nothing is known about, and its deadline: both in seconds. Those of a target's parts
/// stand in its layout.
pub(super) fn defaults(kind: &StepKind) -> (f64, f64) {
    match kind {
        StepKind::Compile { .. } => (10.0, 1200.0),
        StepKind::Dependencies => (120.0, 1500.0),
        StepKind::Image { .. } => (1.0, 1200.0),
        StepKind::Deliver { .. } => (1.0, 300.0),
        StepKind::Apply { .. } => (0.5, 60.0),
        StepKind::Part { .. } | StepKind::Ready { .. } => (4.0, 240.0),
        StepKind::List => (0.5, 60.0),
        StepKind::Specs => (30.0, 900.0),
    }
}
