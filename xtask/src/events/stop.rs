//! What ends a run before its steps do: somebody, or the clock.

use std::time::Duration;

use e2e_support::Cancel;

/// Ends a run from outside. Whoever is told to stop only sees one flag; the verdict has to know why.
#[derive(Debug)]
pub struct Stop {
    by_hand: Cancel,
    /// Set with the one above, and when the time is over.
    any: Cancel,
}

impl Stop {
    /// Whoever sets `by_hand` ends the run.
    pub fn new(by_hand: &Cancel) -> Self {
        Self { by_hand: by_hand.clone(), any: by_hand.child() }
    }

    /// As [`Stop::new`], and the run ends after `limit`, for the reason `why`. The thread that watches the clock ends
    /// with the value.
    pub fn within(by_hand: &Cancel, limit: Duration, why: String) -> Self {
        let stop = Self::new(by_hand);
        let any = stop.any.clone();
        std::thread::spawn(move || {
            if !any.sleep(limit) {
                any.cancel(why);
            }
        });
        stop
    }

    /// Set when the run is to end, for whichever reason.
    pub fn cancel(&self) -> &Cancel {
        &self.any
    }

    /// Whether somebody ends it.
    pub fn is_by_hand(&self) -> bool {
        self.by_hand.is_cancelled()
    }

    /// Whether its time is over, and nobody ends it.
    pub fn is_out_of_time(&self) -> bool {
        self.any.is_cancelled() && !self.is_by_hand()
    }

    /// Why it ends; empty where it does not.
    pub fn reason(&self) -> String {
        let reason = self.by_hand.reason().or_else(|| self.any.reason());
        reason.unwrap_or_default().to_owned()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.any.cancel("the run is over");
    }
}
