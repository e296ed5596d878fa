//! What a spec did and what it was waiting for: for its failure message and its evidence.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

tokio::task_local! {
    static CURRENT: Arc<Trace>;
}

/// The trace of one spec.
#[derive(Default)]
pub(crate) struct Trace {
    waiting_for: Mutex<String>,
    exchanges: Mutex<Vec<String>>,
}

impl Trace {
    /// Runs a spec with this as its trace.
    pub(crate) async fn follow<F: Future>(self: Arc<Self>, spec: F) -> F::Output {
        CURRENT.scope(self, spec).await
    }

    /// What the spec was last waiting for, as a noun phrase or a sentence.
    pub(crate) fn waiting_for(&self) -> String {
        self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every HTTP exchange of the spec, in the order of their ends.
    pub(crate) fn exchanges(&self) -> String {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }
}

/// Says what the running spec is waiting for now.
pub(crate) fn waiting_for(what: impl Into<String>) {
    let what = what.into();
    // Outside a spec, as while the surroundings are looked at before the first, nobody asks.
    let _ = CURRENT.try_with(|trace| *trace.waiting_for.lock().unwrap_or_else(PoisonError::into_inner) = what);
}

/// Keeps an HTTP exchange of the running spec.
pub(crate) fn exchange(text: &str) {
    let line = format!("{} {text}\n", Timestamp::now());
    let _ = CURRENT.try_with(|trace| trace.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(line));
}
