//! Whose turn it is: specs that share the system run side by side, those that disturb it alone and after them.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify};

/// The turns of one invocation.
pub(crate) struct Turns {
    /// Specs that share the system and have not ended yet.
    sharing: AtomicUsize,
    all_shared_ended: Notify,
    alone: Mutex<()>,
}

/// Held while a spec runs.
pub(crate) enum Turn<'a> {
    Shared(&'a Turns),
    Alone(#[allow(dead_code, reason = "held for its drop")] MutexGuard<'a, ()>),
}

impl Turns {
    /// `sharing` is the number of specs that will take a shared turn.
    pub(crate) fn new(sharing: usize) -> Turns {
        Turns { sharing: AtomicUsize::new(sharing), all_shared_ended: Notify::new(), alone: Mutex::new(()) }
    }

    /// Begins a turn; one that is alone waits for all others.
    pub(crate) async fn take(&self, alone: bool) -> Turn<'_> {
        if !alone {
            return Turn::Shared(self);
        }
        // In the order of their coming: the lock is fair.
        let turn = self.alone.lock().await;
        loop {
            let ended = self.all_shared_ended.notified();
            if self.sharing.load(Ordering::SeqCst) == 0 {
                return Turn::Alone(turn);
            }
            ended.await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Turn::Shared(turns) = self
            && turns.sharing.fetch_sub(1, Ordering::SeqCst) == 1
        {
            turns.all_shared_ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Long enough for a turn that is to be had.
    const MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn one_alone_waits_for_all_that_share_and_for_the_other_alone() {
        let turns = Turns::new(2);
        let (first, second) = (turns.take(false).await, turns.take(false).await);
        assert!(timeout(MOMENT, turns.take(true)).await.is_err());
        drop(first);
        assert!(timeout(MOMENT, turns.take(true)).await.is_err());
        drop(second);
        let alone = timeout(MOMENT, turns.take(true)).await.unwrap();
        assert!(timeout(MOMENT, turns.take(true)).await.is_err());
        drop(alone);
        assert!(timeout(MOMENT, turns.take(true)).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let turns = Turns::new(1);
        let shared = turns.take(false).await;
        let woken = async { timeout(Duration::from_secs(5), turns.take(true)).await.is_ok() };
        let (woken, ()) = tokio::join!(woken, async { drop(shared) });
        assert!(woken);
    }
}
