//! A clock that stands still while this process does: after Ctrl-Z, in a frozen container, in a virtual machine that is
//! paused. Deadlines by it are those of the work, not of the time that nobody could work in.
//!
//! (A machine that sleeps stops the system's own monotonic clock, on Linux and on macOS.)

use std::ops::Add;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

/// How often somebody looks at the clock, whatever else goes on.
const BEAT: Duration = Duration::from_millis(250);
/// Where nobody has looked for so long, this process did not run.
const GAP: Duration = Duration::from_secs(2);

/// What it shows at first: there are moments before that, too.
const FIRST: Duration = Duration::from_secs(1_000_000_000);

static CLOCK: Mutex<Clock> = Mutex::new(Clock { last: None, shown: FIRST });

/// A moment by this clock; as [`std::time::Instant`], and meant to take its place in every wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// This moment.
    pub fn now() -> Instant {
        beat();
        CLOCK.lock().unwrap_or_else(PoisonError::into_inner).look(std::time::Instant::now())
    }

    /// How long this process has run since.
    pub fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }

    /// From `earlier` to this moment; zero where `earlier` is the later one.
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment that was `duration` before this one; none before the clock's own time.
    pub fn checked_sub(self, duration: Duration) -> Option<Instant> {
        self.0.checked_sub(duration).map(Instant)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration))
    }
}

struct Clock {
    /// When it was looked at last.
    last: Option<std::time::Instant>,
    /// What it showed then: the time that this process has run since the first look, and [`FIRST`].
    shown: Duration,
}

impl Clock {
    /// What it shows at `now`.
    fn look(&mut self, now: std::time::Instant) -> Instant {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.shown += if passed < GAP { passed } else { BEAT };
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        Instant(self.shown)
    }
}

/// Sees to it that a gap is one: from the first use on, a thread looks at the clock all the time.
fn beat() {
    static BEATING: Once = Once::new();
    BEATING.call_once(|| {
        // Without the thread the clock goes slower where it is seldom looked at: deadlines come later, and do come.
        let _ = std::thread::Builder::new().name("clock".into()).spawn(|| {
            loop {
                std::thread::sleep(BEAT);
                Instant::now();
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_which_nobody_could_look_does_not_count() {
        let begin = std::time::Instant::now();
        let mut clock = Clock { last: None, shown: Duration::ZERO };
        let mut at = |ms| clock.look(begin + Duration::from_millis(ms)).0.as_millis();
        assert_eq!([at(0), at(250), at(1500)], [0, 250, 1500]);
        // An hour in the background.
        assert_eq!([at(3_601_500), at(3_601_600)], [1750, 1850]);
        // Threads may come here out of order.
        assert_eq!([at(3_601_550), at(3_601_700)], [1850, 1950]);
    }

    #[test]
    fn it_goes_on_while_this_process_runs() {
        let begin = Instant::now();
        let end = begin + Duration::from_millis(20);
        while Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(begin.elapsed() >= Duration::from_millis(20));
        assert_eq!(begin.saturating_duration_since(end), Duration::ZERO);
    }
}
