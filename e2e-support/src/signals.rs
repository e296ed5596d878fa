//! SIGINT, SIGTERM and SIGHUP: the first asks the work to stop, the same one again stops at once.
//!
//! A signal that is ignored when this process starts stays ignored, as `nohup` and shells without job control want it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cancel::Cancel;

/// Within this time a signal is the one before once more: `timeout` sends it to its child and then to the child's group.
const ONCE: Duration = Duration::from_millis(500);

static SIGNALLED: AtomicBool = AtomicBool::new(false);

/// Whether a signal has asked this process to stop.
pub fn was_signalled() -> bool {
    SIGNALLED.load(Ordering::SeqCst)
}

/// What the first signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// It ends the process: nothing is held that would have to be cleaned up.
    Ends,
    /// It asks the work to stop, which then cleans up.
    Asks,
}

/// Sets `cancel` at the first signal, or ends the process there and then, as `first` says. The same signal again calls
/// `at_once` (which should say what is left) and ends the process with 128 + the signal's number. Another signal than
/// the first changes nothing: whoever sends SIGTERM some seconds after SIGINT, as GitHub's runner does before it kills,
/// wants the end that the work is on its way to, and not one with everything left lying about.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install(cancel: Cancel, first: First, at_once: impl Fn() + Send + 'static) -> Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(wanted).context("installing the signal handlers")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut seen = Seen::default();
            for signal in signals.forever() {
                SIGNALLED.store(true, Ordering::SeqCst);
                match seen.meaning(signal, Instant::now()) {
                    Meaning::Stop if first == First::Ends => std::process::exit(128 + signal),
                    Meaning::Stop => cancel.cancel(format!("interrupted by {}", name(signal))),
                    Meaning::Nothing => {}
                    Meaning::StopAtOnce => {
                        at_once();
                        std::process::exit(128 + signal);
                    }
                }
            }
        })
        .context("starting the signal thread")?;
    Ok(())
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Stop,
    Nothing,
    StopAtOnce,
}

/// The signals that have come, each with the time of its last.
#[derive(Debug, Default)]
struct Seen(Vec<(i32, Instant)>);

impl Seen {
    /// What `signal` asks for, which has come at `now`.
    fn meaning(&mut self, signal: i32, now: Instant) -> Meaning {
        let is_first = self.0.is_empty();
        match self.0.iter_mut().find(|(seen, _)| *seen == signal) {
            None => {
                self.0.push((signal, now));
                if is_first { Meaning::Stop } else { Meaning::Nothing }
            }
            Some((_, last)) if now.saturating_duration_since(*last) < ONCE => {
                *last = now;
                Meaning::Nothing
            }
            Some(_) => Meaning::StopAtOnce,
        }
    }
}

/// Lets the signals end this process again, and what it starts from now on, also where it was started with them ignored:
/// for tests, which a shell may have put into the background.
pub fn restore_defaults() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // There is no safe call for this one.
        // SAFETY: the default action is no code of this process.
        #[allow(unsafe_code)]
        let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
        // It fails for signals alone that there are not.
        debug_assert_ne!(before, libc::SIG_ERR);
    }
}

/// Whether this process was started with `signal` ignored.
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // There is no safe call that only asks.
    // SAFETY: `action` is writable for the whole call, and nothing is changed.
    #[allow(unsafe_code)]
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: it was zeroed, which is a valid action, and where it succeeded the kernel has filled it since.
    #[allow(unsafe_code)]
    let action = unsafe { action.assume_init() };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "SIGHUP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_signal_again_stops_at_once() {
        let begin = Instant::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        // GitHub cancels so, and kills 2.5 s later.
        let mut github = Seen::default();
        assert_eq!(github.meaning(SIGINT, at(0.0)), Meaning::Stop);
        assert_eq!(github.meaning(SIGTERM, at(7.5)), Meaning::Nothing);
        // `timeout` sends it twice.
        let mut timeout = Seen::default();
        assert_eq!(timeout.meaning(SIGTERM, at(0.0)), Meaning::Stop);
        assert_eq!(timeout.meaning(SIGTERM, at(0.001)), Meaning::Nothing);
        // A person who cannot wait.
        let mut person = Seen::default();
        assert_eq!(person.meaning(SIGINT, at(0.0)), Meaning::Stop);
        assert_eq!(person.meaning(SIGHUP, at(1.0)), Meaning::Nothing, "and who then closes the window");
        assert_eq!(person.meaning(SIGINT, at(2.0)), Meaning::StopAtOnce);
    }
}
