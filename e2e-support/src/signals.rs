//! SIGINT, SIGTERM and SIGHUP: the first asks the work to stop, the second stops at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cancel::Cancel;

static SIGNALLED: AtomicBool = AtomicBool::new(false);

/// Whether a signal has asked this process to stop.
pub fn was_signalled() -> bool {
    SIGNALLED.load(Ordering::SeqCst)
}

/// Sets `cancel` at the first signal; at the second, calls `at_once` (which should say what is
/// left) and ends the process with 128 + the signal's number.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install(cancel: Cancel, at_once: impl Fn() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("installing the signal handlers")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for (nth, signal) in signals.forever().enumerate() {
                SIGNALLED.store(true, Ordering::SeqCst);
                if nth == 0 {
                    cancel.cancel(format!("interrupted by {}", name(signal)));
                } else {
                    at_once();
                    std::process::exit(128 + signal);
                }
            }
        })
        .context("starting the signal thread")?;
    Ok(())
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "SIGHUP",
    }
}
