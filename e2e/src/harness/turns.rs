//! Whose turn it is: specs that share the system run side by side; after them, those that want a part of it for
//! themselves, beside each other where they do not meet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::spec::Alone;

/// The turns of one invocation.
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

/// By the number of each spec, which is also the order in which those that wait get their turn; one that has begun already
/// comes before all others.
struct State {
    /// How many specs that share the system have not ended yet.
    sharing: usize,
    waiting: BTreeMap<Key, Alone>,
    running: BTreeMap<Key, Alone>,
}

/// A spec that wants a part for itself: whether it is its first turn, and its number.
type Key = (bool, &'static str);

/// Held while a spec runs, or waits to.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    /// None for a spec that shares.
    key: Option<Key>,
}

impl Turns {
    /// `sharing` is the number of specs that will take a shared turn.
    pub(crate) fn new(sharing: usize) -> Arc<Turns> {
        let state = State { sharing, waiting: BTreeMap::new(), running: BTreeMap::new() };
        Arc::new(Turns { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Begins the turn of the spec of this number. One that wants a part for itself waits for all that share, for
    /// those that it meets, and for those before it that could begin in its place.
    pub(crate) async fn take(self: &Arc<Self>, number: &'static str, alone: Option<Alone>) -> Turn {
        match alone {
            None => Turn { turns: Arc::clone(self), key: None },
            Some(alone) => self.wait((true, number), alone).await,
        }
    }

    /// Begins another turn of a spec that has ended its first one in the middle.
    pub(crate) async fn take_again(self: &Arc<Self>, number: &'static str, alone: Alone) -> Turn {
        self.wait((false, number), alone).await
    }

    async fn wait(self: &Arc<Self>, key: Key, alone: Alone) -> Turn {
        let turn = Turn { turns: Arc::clone(self), key: Some(key) };
        self.state().waiting.insert(key, alone);
        loop {
            let changed = self.changed.notified();
            if self.state().begin(key) {
                return turn;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets the waiting spec of this key run, if it may.
    fn begin(&mut self, key: Key) -> bool {
        if self.sharing > 0 {
            return false;
        }
        let mut taken: Vec<Alone> = self.running.values().copied().collect();
        for (&waiting, &alone) in &self.waiting {
            if !taken.iter().any(|other| other.meets(alone)) {
                if waiting == key {
                    self.waiting.remove(&key);
                    self.running.insert(key, alone);
                    return true;
                }
                taken.push(alone);
            }
        }
        false
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.state();
            match self.key {
                None => state.sharing = state.sharing.saturating_sub(1),
                Some(key) => {
                    state.waiting.remove(&key);
                    state.running.remove(&key);
                }
            }
        }
        self.turns.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::surroundings::Part::{DataStorage, Gateway, PostgreSql};
    use super::*;

    /// Long enough for a turn that is to be had.
    const MOMENT: Duration = Duration::from_millis(50);

    const GATEWAY: Option<Alone> = Some(Alone { with: Gateway, uses: &[DataStorage] });
    const POSTGRESQL: Option<Alone> = Some(Alone { with: PostgreSql, uses: &[DataStorage] });
    const DATASTORAGE: Option<Alone> = Some(Alone { with: DataStorage, uses: &[] });

    #[tokio::test]
    async fn one_alone_waits_for_all_that_share_and_for_those_it_meets() {
        let turns = Turns::new(2);
        let (first, second) = (turns.take("s1", None).await, turns.take("s2", None).await);
        assert!(timeout(MOMENT, turns.take("s3", GATEWAY)).await.is_err());
        drop(first);
        assert!(timeout(MOMENT, turns.take("s3", GATEWAY)).await.is_err());
        drop(second);
        let gateway = timeout(MOMENT, turns.take("s3", GATEWAY)).await.unwrap();
        assert!(timeout(MOMENT, turns.take("s4", GATEWAY)).await.is_err());
        assert!(timeout(MOMENT, turns.take("s5", DATASTORAGE)).await.is_err(), "the gateway's spec uses datastorage");
        let postgresql = timeout(MOMENT, turns.take("s6", POSTGRESQL)).await.unwrap();
        drop(gateway);
        assert!(timeout(MOMENT, turns.take("s5", DATASTORAGE)).await.is_err(), "so does PostgreSQL's");
        drop(postgresql);
        assert!(timeout(MOMENT, turns.take("s5", DATASTORAGE)).await.is_ok());
    }

    #[tokio::test]
    async fn one_that_has_stepped_aside_lets_others_begin_and_comes_before_those_that_wait() {
        let turns = Turns::new(1);
        let aside = turns.take("s9", None).await;
        assert!(timeout(MOMENT, turns.take("s3", GATEWAY)).await.is_err());
        drop(aside);
        let running = timeout(MOMENT, turns.take("s3", GATEWAY)).await.unwrap();
        let order = Mutex::new(Vec::new());
        let waits = async {
            let _turn = turns.take("s4", GATEWAY).await;
            order.lock().unwrap().push("s4");
        };
        let comes_back = async {
            let _turn = turns.take_again("s9", GATEWAY.unwrap()).await;
            order.lock().unwrap().push("s9");
        };
        timeout(Duration::from_secs(5), async { tokio::join!(waits, comes_back, async { drop(running) }) })
            .await
            .unwrap();
        assert_eq!(*order.lock().unwrap(), ["s9", "s4"]);
    }

    #[tokio::test]
    async fn who_comes_first_by_number_goes_first() {
        let turns = Turns::new(1);
        let shared = turns.take("s1", None).await;
        let order = Mutex::new(Vec::new());
        let one = async |number, alone| {
            let _turn = turns.take(number, alone).await;
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
        };
        let all = async {
            tokio::join!(one("s5", DATASTORAGE), one("s4", GATEWAY), one("s2", GATEWAY), async { drop(shared) });
        };
        timeout(Duration::from_secs(5), all).await.expect("each is woken when its turn has come");
        assert_eq!(*order.lock().unwrap(), ["s2", "s4", "s5"]);
    }
}
