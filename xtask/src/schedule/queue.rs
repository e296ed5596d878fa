//! Which step is next: pure, so that it can be tested without a thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hash;

use super::graph::{Graph, GraphError, u32_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

/// A step that could run, and is better started later.
#[derive(Debug, Clone, Copy)]
struct Held {
    step: u32,
    /// Whether its time had not come when it was looked at before.
    was_early: bool,
}

/// The steps that may run now, ordered by the weight of the heaviest way from each to the end, ties by id. Those that
/// are better started late are kept apart until [`Queue::release_held`] lets go of them.
///
/// Every step that [`Queue::pop`] gives out is given back once, to [`Queue::finish`] or [`Queue::abandon`].
#[derive(Debug)]
pub struct Queue<I> {
    graph: Graph<I>,
    tails: Vec<u64>,
    /// The place of each step's id among all ids.
    ranks: Vec<u32>,
    missing: Vec<u32>,
    states: Vec<State>,
    ready: Vec<BinaryHeap<(u64, Reverse<u32>, u32)>>,
    fresh: Vec<u32>,
    /// Steps that could run, and are better started later.
    held: Vec<Held>,
    free: Vec<usize>,
    running: usize,
    stopped: bool,
    #[cfg(test)]
    pub(super) touched: u64,
}

impl<I: Clone + Ord + Hash> Queue<I> {
    /// `slots`: how many steps of each resource may run at a time.
    ///
    /// # Errors
    /// [`GraphError::NoSlot`] where a step could never run.
    pub fn new(graph: Graph<I>, slots: &[usize]) -> Result<Self, GraphError<I>> {
        let count = graph.len();
        for at in 0..count {
            if slots.get(graph.resources[at]).copied().unwrap_or(0) == 0 {
                return Err(GraphError::NoSlot(graph.ids[at].clone()));
            }
        }
        let mut by_id: Vec<usize> = (0..count).collect();
        by_id.sort_by(|&a, &b| graph.ids[a].cmp(&graph.ids[b]));
        let mut ranks = vec![0; count];
        for (rank, &at) in by_id.iter().enumerate() {
            ranks[at] = u32_of(rank);
        }
        let mut queue = Self {
            tails: graph.tails(),
            ranks,
            missing: graph.needs.clone(),
            states: vec![State::Waiting; count],
            ready: vec![BinaryHeap::new(); slots.len()],
            fresh: Vec::new(),
            held: Vec::new(),
            free: slots.to_vec(),
            running: 0,
            stopped: false,
            #[cfg(test)]
            touched: 0,
            graph,
        };
        for at in by_id {
            if queue.missing[at] == 0 {
                queue.push(at);
            }
        }
        Ok(queue)
    }

    /// The id of a step by the number that this queue calls it.
    pub fn id(&self, step: usize) -> &I {
        &self.graph.ids[step]
    }

    /// The steps that have become ready since the last call.
    pub fn take_ready(&mut self) -> Vec<usize> {
        self.fresh.drain(..).map(|step| step as usize).collect()
    }

    /// Lets go of the steps that are better started late and whose time has come: the way behind such a step, and a
    /// quarter more since expectations err, is no shorter than what is left of every other way. One whose time has not
    /// come when it becomes ready also waits until no step of the resource `behind` runs. `elapsed_ms` tells how long a
    /// running step has run. Gives those whose time has not come and that it had not looked at before.
    pub fn release_held(&mut self, behind: Option<usize>, elapsed_ms: impl Fn(usize) -> u64) -> Vec<usize> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let runs = |step: usize| self.states[step] == State::Running;
        let left = |step: usize| match self.states[step] {
            State::Running => self.tails[step] - elapsed_ms(step).min(self.graph.weights[step]),
            State::Waiting => self.tails[step],
            State::Ended => 0,
        };
        let steps = || 0..self.states.len();
        let is_held = |step: usize| self.held.iter().any(|held| held.step as usize == step);
        let others = steps().filter(|&step| self.missing[step] == 0 && !is_held(step)).map(left).max().unwrap_or(0);
        let blocked = steps().any(|step| runs(step) && Some(self.graph.resources[step]) == behind);
        let is_due = |held: &Held| {
            let way = self.tails[held.step as usize];
            way.saturating_add(way / 4) >= others && !(held.was_early && blocked)
        };
        let (due, early): (Vec<Held>, Vec<Held>) = self.held.iter().partition(|held| is_due(held));
        for held in due {
            self.enqueue(held.step as usize);
        }
        let newly = early.iter().filter(|held| !held.was_early).map(|held| held.step as usize).collect();
        self.held = early.into_iter().map(|held| Held { was_early: true, ..held }).collect();
        newly
    }

    /// Starts the most urgent step that has a slot, or none where nothing can start now.
    pub fn pop(&mut self) -> Option<usize> {
        if self.stopped {
            return None;
        }
        let resource = (0..self.ready.len())
            .filter(|&resource| self.free[resource] > 0)
            .max_by_key(|&resource| self.ready[resource].peek().copied())?;
        let (_, _, step) = self.ready[resource].pop()?;
        let step = step as usize;
        self.free[resource] -= 1;
        self.states[step] = State::Running;
        self.running += 1;
        Some(step)
    }

    /// The running step has reached its milestone of this number: what waited for it may become ready.
    pub fn reach(&mut self, step: usize, milestone: usize) {
        let (met, others) = std::mem::take(&mut self.graph.on_milestone[step])
            .into_iter()
            .partition(|(number, _)| *number == milestone);
        self.graph.on_milestone[step] = others;
        self.meet_all(met);
    }

    /// The running step ended well, and with that has reached all its milestones: its slot is free and what waited for
    /// it may become ready.
    pub fn finish(&mut self, step: usize) {
        self.release(step);
        let of_milestones = std::mem::take(&mut self.graph.on_milestone[step]);
        self.meet_all(of_milestones);
        for dependent in std::mem::take(&mut self.graph.on_finish[step]) {
            self.meet(dependent);
        }
    }

    /// The running step did not end well: its slot is free, what waited for it never becomes ready.
    pub fn abandon(&mut self, step: usize) {
        self.release(step);
    }

    /// Nothing starts any more. Gives all steps that never will, each behind what it needs; a second call none.
    pub fn stop(&mut self) -> Vec<usize> {
        self.stopped = true;
        let mut never = Vec::new();
        for &step in &self.graph.order {
            let state = &mut self.states[step as usize];
            if *state == State::Waiting {
                *state = State::Ended;
                never.push(step as usize);
            }
        }
        never
    }

    /// How many steps run now.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether every step has ended or was given up.
    pub fn is_done(&self) -> bool {
        self.running == 0 && self.states.iter().all(|state| *state == State::Ended)
    }

    fn release(&mut self, step: usize) {
        assert_eq!(self.states[step], State::Running, "a step ends once, and only after it started");
        self.states[step] = State::Ended;
        self.running -= 1;
        self.free[self.graph.resources[step]] += 1;
    }

    fn meet_all(&mut self, dependents: Vec<(usize, u32)>) {
        for (_, dependent) in dependents {
            self.meet(dependent);
        }
    }

    fn meet(&mut self, step: u32) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let step = step as usize;
        self.missing[step] -= 1;
        if self.missing[step] == 0 && self.states[step] == State::Waiting {
            self.push(step);
        }
    }

    fn push(&mut self, step: usize) {
        self.fresh.push(u32_of(step));
        if self.graph.late[step] {
            self.held.push(Held { step: u32_of(step), was_early: false });
        } else {
            self.enqueue(step);
        }
    }

    fn enqueue(&mut self, step: usize) {
        let entry = (self.tails[step], Reverse(self.ranks[step]), u32_of(step));
        self.ready[self.graph.resources[step]].push(entry);
    }
}
