//! A flag that tells work to stop, with the reason; children of a flag stop with their parent.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::Instant;

/// How long a waiting thread may take to notice a cancellation.
pub(crate) const NOTICE: Duration = Duration::from_millis(10);

/// A cloneable stop flag. All clones share one state; it can be set once and never cleared.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reason: OnceLock<String>,
    parent: Option<Cancel>,
}

impl Cancel {
    /// A flag that nobody has set.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// A flag that is set when this one is, and can be set without touching this one.
    pub fn child(&self) -> Cancel {
        Cancel(Arc::new(Inner { reason: OnceLock::new(), parent: Some(self.clone()) }))
    }

    /// Sets the flag. The first reason stays.
    pub fn cancel(&self, reason: impl Into<String>) {
        let _ = self.0.reason.set(reason.into());
    }

    /// Whether this flag or one above it is set.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why it was set: this flag's own reason before its parent's.
    pub fn reason(&self) -> Option<&str> {
        match self.0.reason.get() {
            Some(reason) => Some(reason),
            None => self.0.parent.as_ref().and_then(Cancel::reason),
        }
    }

    /// Waits for `duration`, or until the flag is set; returns whether it is set.
    pub fn sleep(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        loop {
            if self.is_cancelled() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(NOTICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_but_not_the_other_way_round() {
        let parent = Cancel::new();
        let (one, two) = (parent.child(), parent.child());
        one.cancel("one is enough");
        assert_eq!((one.is_cancelled(), two.is_cancelled(), parent.is_cancelled()), (true, false, false));
        parent.cancel("all");
        assert_eq!((one.reason(), two.reason()), (Some("one is enough"), Some("all")));
    }

    #[test]
    fn the_first_reason_stays() {
        let cancel = Cancel::new();
        cancel.cancel("first");
        cancel.cancel("second");
        assert_eq!(cancel.reason(), Some("first"));
    }

    #[test]
    fn sleep_ends_at_once_when_cancelled() {
        let cancel = Cancel::new();
        cancel.cancel("now");
        assert!(cancel.sleep(Duration::from_secs(3600)));
        assert!(!Cancel::new().sleep(Duration::from_millis(1)));
    }
}
