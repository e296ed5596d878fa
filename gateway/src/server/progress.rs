//! What of a delivery is done already when it comes again.
//!
//! A delivery that fails in part, or whose sender goes away, comes again as it was. What was done for it is kept until
//! then, so that each try begins where the last one ended: alerts that were not tried yet come first, then those that
//! failed, and those that are done are answered from here. Only failed tries leave anything: two senders of the same
//! alert, each served at once, know nothing of each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::told::Told;
use crate::problem::Problem;

/// How long it is kept: an Alertmanager tries again within a minute.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// Alerts that are kept at once: some ten megabytes.
const MAX_KEPT: usize = 20_000;

/// Stands for one alert of a delivery: its text, the delivery's common labels, and the how manieth it is of those with
/// the same text.
pub(super) type Key = [u8; 32];

/// Makes the keys of one delivery's alerts, in their order.
pub(super) struct Keys {
    common: Sha256,
    seen: HashMap<Key, u32>,
}

impl Keys {
    pub(super) fn new(common_labels: &str) -> Self {
        Self { common: Sha256::new().chain_update(common_labels).chain_update([0]), seen: HashMap::new() }
    }

    pub(super) fn next(&mut self, alert: &str) -> Key {
        let text: Key = self.common.clone().chain_update(alert).finalize().into();
        let before = self.seen.entry(text).or_default();
        let key = Sha256::new().chain_update(text).chain_update(before.to_be_bytes()).finalize().into();
        *before += 1;
        key
    }
}

/// How far an earlier try came with an alert.
#[derive(Clone)]
pub(super) enum Step {
    /// It is settled, well or for good.
    Done(Box<Result<Told, Problem>>),
    /// It was tried, and may be again.
    Failed,
}

impl Step {
    pub(super) fn of(outcome: &Result<Told, Problem>) -> Self {
        match outcome {
            Err(problem) if problem.is_retryable() => Self::Failed,
            settled => Self::Done(Box::new(settled.clone())),
        }
    }
}

/// What is kept of all deliveries.
#[derive(Default)]
pub(super) struct Progress(Mutex<HashMap<Key, (Step, Instant)>>);

impl Progress {
    /// Takes out what is kept of these alerts.
    fn take(&self, keys: &[Key]) -> Vec<Option<Step>> {
        let mut kept = self.lock();
        if kept.is_empty() {
            return keys.iter().map(|_| None).collect();
        }
        let fresh = |(step, at): (Step, Instant)| (at.elapsed() < KEPT_FOR).then_some(step);
        keys.iter().map(|key| kept.remove(key).and_then(fresh)).collect()
    }

    fn keep(&self, steps: impl IntoIterator<Item = (Key, Step)>) {
        let now = Instant::now();
        let mut kept = self.lock();
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (_, at)| at.elapsed() < KEPT_FOR);
        }
        for (key, step) in steps {
            // What does not fit is done again, which deduplication makes harmless.
            if kept.len() < MAX_KEPT {
                kept.insert(key, (step, now));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Step, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One try of a delivery. Dropped without an answer that ends the delivery, it leaves what was done.
pub(super) struct Try(Arc<Notes>);

/// Where the work on alerts notes its outcome, also after the try is over.
pub(super) struct Notes {
    progress: Arc<Progress>,
    state: Mutex<State>,
}

enum State {
    /// It is not known yet how the try ends.
    Open(Vec<(Key, Step)>),
    /// It failed: what is still being done is kept as well.
    Failed,
    /// The delivery will not come again.
    Answered,
}

impl Try {
    /// Begins a try, and says how far the last one came with each alert.
    pub(super) fn begin(progress: &Arc<Progress>, keys: &[Key]) -> (Self, Vec<Option<Step>>) {
        let known = progress.take(keys);
        let done = keys.iter().zip(&known).filter_map(|(key, step)| match step {
            Some(Step::Done(_)) => Some((*key, step.clone()?)),
            _ => None,
        });
        let state = Mutex::new(State::Open(done.collect()));
        (Self(Arc::new(Notes { progress: Arc::clone(progress), state })), known)
    }

    pub(super) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.0)
    }

    /// The sender is told something after which the delivery does not come again.
    pub(super) fn answered(self) {
        *self.0.lock() = State::Answered;
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let State::Open(steps) = &mut *state {
            self.0.progress.keep(std::mem::take(steps));
            *state = State::Failed;
        }
    }
}

impl Notes {
    pub(super) fn note(&self, key: Key, step: Step) {
        match &mut *self.lock() {
            State::Open(steps) => steps.push((key, step)),
            State::Failed => self.progress.keep([(key, step)]),
            State::Answered => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(alerts: &[&str]) -> Vec<Key> {
        let mut keys = Keys::new("{}");
        alerts.iter().map(|alert| keys.next(alert)).collect()
    }

    fn done() -> Step {
        Step::of(&Ok(Told::ignored()))
    }

    #[test]
    fn equal_alerts_of_one_delivery_have_keys_of_their_own_and_the_same_ones_next_time() {
        let first = keys(&["a", "a", "b"]);
        assert_ne!(first[0], first[1]);
        assert_eq!(first, keys(&["a", "a", "b"]));
        assert_ne!(first[0], Keys::new("{\"x\":\"y\"}").next("a"), "common labels count");
    }

    #[test]
    fn a_failed_try_leaves_what_it_did_and_an_answered_one_nothing() {
        let (progress, keys) = (Arc::<Progress>::default(), keys(&["a", "b", "c"]));
        let (first, known) = Try::begin(&progress, &keys);
        assert!(known.iter().all(Option::is_none));
        first.notes().note(keys[0], done());
        let late = first.notes();
        assert!(progress.lock().is_empty(), "nobody else sees it before the try has failed");
        drop(first);
        late.note(keys[1], Step::Failed);

        let (second, known) = Try::begin(&progress, &keys);
        assert!(matches!(known[..], [Some(Step::Done(_)), Some(Step::Failed), None]));
        assert!(progress.lock().is_empty(), "of two senders one alone gets it");
        drop(second);
        let (third, known) = Try::begin(&progress, &keys);
        assert!(matches!(known[..], [Some(Step::Done(_)), None, None]), "what was done stays done");
        third.answered();
        assert!(progress.lock().is_empty());
    }
}
