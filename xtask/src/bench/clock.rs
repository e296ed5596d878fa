//! What is told while a bench goes on.

use std::collections::BTreeMap;

use super::measure::Run;
use crate::report::text::duration;

/// What a run takes besides its own steps, before any has been timed: opening, calming down, deleting.
const AROUND_S: f64 = 20.0;

/// What came of a run, in half a line.
pub(super) fn told(run: &Run) -> String {
    let time = |seconds: f64| duration((seconds * 1e6) as u64);
    let set_up = run.set_up_s.map(|seconds| format!(" (ready after {})", time(seconds))).unwrap_or_default();
    let reason = if run.passed() { String::new() } else { format!(": {}", run.reason) };
    format!("{} in {}{set_up}{reason}", run.result.name(), time(run.total_s))
}

/// How long runs take, all around them included.
#[derive(Debug, Default)]
pub(super) struct Clock(BTreeMap<String, Vec<f64>>);

impl Clock {
    /// Notes how long a run of a contender took.
    pub(super) fn note(&mut self, contender: &str, seconds: f64) {
        self.0.entry(contender.to_owned()).or_default().push(seconds);
    }

    /// How long the next run of a contender should take, in seconds; `runs`: those of earlier calls too.
    pub(super) fn expected_s(&self, contender: &str, runs: &[Run]) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        if let Some(values) = self.0.get(contender) {
            return mean(values);
        }
        let own = runs.iter().filter(|run| run.contender == contender).map(|run| run.total_s + AROUND_S);
        let own: Vec<f64> = own.collect();
        if !own.is_empty() {
            return mean(&own);
        }
        let all: Vec<f64> = self.0.values().flatten().copied().collect();
        if all.is_empty() { AROUND_S } else { mean(&all) }
    }
}
