//! Whose turn it is: specs that share the system run side by side; after them, those that want a part of it for
//! themselves, beside each other where they do not meet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::spec::Alone;

/// The turns of one invocation.
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

/// By the number of each spec, which is also the order in which those that wait get their turn.
struct State {
    /// How many specs that share the system have not ended yet.
    sharing: usize,
    waiting: BTreeMap<&'static str, Alone>,
    running: BTreeMap<&'static str, Alone>,
}

/// Held while a spec runs, or waits to.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    /// None for a spec that shares.
    number: Option<&'static str>,
}

impl Turns {
    /// `sharing` is the number of specs that will take a shared turn.
    pub(crate) fn new(sharing: usize) -> Turns {
        let state = State { sharing, waiting: BTreeMap::new(), running: BTreeMap::new() };
        Turns { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Begins the turn of the spec of this number. One that wants a part for itself waits for all that share, for
    /// those that it meets, and for those before it that could begin in its place.
    pub(crate) async fn take(&self, number: &'static str, alone: Option<Alone>) -> Turn<'_> {
        let Some(alone) = alone else { return Turn { turns: self, number: None } };
        let turn = Turn { turns: self, number: Some(number) };
        self.state().waiting.insert(number, alone);
        loop {
            let changed = self.changed.notified();
            if self.state().begin(number) {
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
    /// Lets the waiting spec of this number run, if it may.
    fn begin(&mut self, number: &'static str) -> bool {
        if self.sharing > 0 {
            return false;
        }
        let mut taken: Vec<Alone> = self.running.values().copied().collect();
        for (&waiting, &alone) in &self.waiting {
            if !taken.iter().any(|other| other.meets(alone)) {
                if waiting == number {
                    self.waiting.remove(number);
                    self.running.insert(number, alone);
                    return true;
                }
                taken.push(alone);
            }
        }
        false
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.turns.state();
            match self.number {
                None => state.sharing = state.sharing.saturating_sub(1),
                Some(number) => {
                    state.waiting.remove(number);
                    state.running.remove(number);
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
