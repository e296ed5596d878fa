//! One turn at a time for each problem.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::fingerprint::Fingerprint;

type Map = Mutex<HashMap<Fingerprint, Arc<tokio::sync::Mutex<()>>>>;

/// Locks by fingerprint; one that nobody holds or waits for takes no memory.
#[derive(Default)]
pub(super) struct Locks(Map);

/// Holds a problem's turn until it is dropped.
pub(super) struct Turn<'a> {
    map: &'a Map,
    fingerprint: Fingerprint,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    /// Waits for the problem's turn; turns are given in the order of asking.
    pub(super) async fn lock(&self, fingerprint: &Fingerprint) -> Turn<'_> {
        let lock = {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(map.entry(fingerprint.clone()).or_default())
        };
        // Made before the wait, so that one who gives up waiting cleans up too.
        let mut turn = Turn { map: &self.0, fingerprint: fingerprint.clone(), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        // Others take their share of the lock while they hold the map, so nobody can be about to.
        if map.get(&self.fingerprint).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            map.remove(&self.fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn one_turn_at_a_time_and_nothing_left_behind() {
        let locks = Locks::default();
        let (a, b) = (Fingerprint::of("", "Node", "a"), Fingerprint::of("", "Node", "b"));
        let first = locks.lock(&a).now_or_never().expect("nobody holds it");
        assert!(locks.lock(&a).now_or_never().is_none(), "it is held");
        assert_eq!(locks.0.lock().unwrap().len(), 1, "one who gave up waiting leaves the holder's lock");
        let other = locks.lock(&b).now_or_never().expect("another problem");
        drop(first);
        assert_eq!(locks.0.lock().unwrap().len(), 1);
        drop(locks.lock(&a).now_or_never().expect("it was given back"));
        drop(other);
        assert!(locks.0.lock().unwrap().is_empty());
    }
}
