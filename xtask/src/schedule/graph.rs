//! The graph that is scheduled: checked once, then only numbers.

use std::collections::HashMap;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;

/// What of another step a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    /// That it has told of the milestone of this number, or has ended well.
    Milestone(usize),
    /// That it has ended well.
    Finish,
}

/// One need of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need<I> {
    /// The step that is waited for.
    pub id: I,
    /// What of it.
    pub on: On,
}

/// One step, as far as its order is concerned.
#[derive(Debug, Clone)]
pub struct Node<I> {
    /// Its name; ties are broken by its order.
    pub id: I,
    /// How long it is expected to take, in milliseconds.
    pub weight: u64,
    /// How long it is expected to take until each of its milestones, in milliseconds.
    pub milestones: Vec<u64>,
    /// Whether it costs something all the time from its start on, so that it is better started when it is needed than
    /// when it can be: see [`super::Queue::release_held`].
    pub late: bool,
    /// The number of the resource that it takes a slot of.
    pub resource: usize,
    /// What it waits for.
    pub needs: Vec<Need<I>>,
}

/// Why a graph cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphError<I> {
    /// Two steps of one id.
    Duplicate(I),
    /// `step` needs a step or a milestone that there is not.
    Unknown {
        /// The step with the need.
        step: I,
        /// What there is not.
        need: I,
    },
    /// These steps wait for each other, each for the next and the last for the first.
    Cycle(Vec<I>),
    /// The step wants a slot of a resource that has none.
    NoSlot(I),
}

impl<I: Display> Display for GraphError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "two steps of the name {id}"),
            Self::Unknown { step, need } => {
                write!(f, "step {step} needs {need}, and there is no such step, or not the milestone of it")
            }
            Self::Cycle(ids) => {
                write!(f, "steps wait for each other: ")?;
                for id in ids {
                    write!(f, "{id} → ")?;
                }
                match ids.first() {
                    Some(first) => write!(f, "{first}"),
                    None => Ok(()),
                }
            }
            Self::NoSlot(id) => write!(f, "step {id} wants a slot of a resource that has none"),
        }
    }
}

impl<I: Debug + Display> std::error::Error for GraphError<I> {}

/// Steps and needs that are known to fit: ids are unique, needs exist, nothing waits for itself.
#[derive(Debug, Clone)]
pub struct Graph<I> {
    pub(super) ids: Vec<I>,
    pub(super) weights: Vec<u64>,
    pub(super) late: Vec<bool>,
    pub(super) resources: Vec<usize>,
    /// How many needs each step has.
    pub(super) needs: Vec<u32>,
    /// The weights up to the milestones of each.
    pub(super) milestones: Vec<Vec<u64>>,
    /// The steps that wait for a milestone of each, with its number.
    pub(super) on_milestone: Vec<Vec<(usize, u32)>>,
    /// The steps that wait for the end of each.
    pub(super) on_finish: Vec<Vec<u32>>,
    /// From first to last, so that each stands behind what it needs.
    pub(super) order: Vec<u32>,
}

impl<I: Clone + Ord + Hash> Graph<I> {
    /// Checks `nodes`. The same need stated twice counts once.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub fn new(nodes: Vec<Node<I>>) -> Result<Self, GraphError<I>> {
        let count = nodes.len();
        let mut index = HashMap::with_capacity(count);
        for (at, node) in nodes.iter().enumerate() {
            if index.insert(node.id.clone(), at).is_some() {
                return Err(GraphError::Duplicate(node.id.clone()));
            }
        }
        let mut graph = Self {
            ids: Vec::with_capacity(count),
            weights: Vec::with_capacity(count),
            late: Vec::with_capacity(count),
            resources: Vec::with_capacity(count),
            needs: vec![0; count],
            milestones: nodes.iter().map(|node| node.milestones.clone()).collect(),
            on_milestone: vec![Vec::new(); count],
            on_finish: vec![Vec::new(); count],
            order: Vec::with_capacity(count),
        };
        for (at, node) in nodes.into_iter().enumerate() {
            let mut needs = Vec::with_capacity(node.needs.len());
            for need in node.needs {
                let known = |other: usize| match need.on {
                    On::Milestone(number) => number < graph.milestones[other].len(),
                    On::Finish => true,
                };
                let Some(other) = index.get(&need.id).copied().filter(|&other| known(other)) else {
                    return Err(GraphError::Unknown { step: node.id, need: need.id });
                };
                needs.push((other, need.on));
            }
            needs.sort_unstable();
            needs.dedup();
            graph.needs[at] = u32_of(needs.len());
            for (other, on) in needs {
                match on {
                    On::Milestone(number) => graph.on_milestone[other].push((number, u32_of(at))),
                    On::Finish => graph.on_finish[other].push(u32_of(at)),
                }
            }
            graph.ids.push(node.id);
            graph.weights.push(node.weight);
            graph.late.push(node.late);
            graph.resources.push(node.resource);
        }
        graph.sort()?;
        Ok(graph)
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids from first to last, each behind what it needs.
    pub fn order(&self) -> impl Iterator<Item = &I> {
        self.order.iter().map(|&at| &self.ids[at as usize])
    }

    /// For each step in the order of the nodes: its weight and that of the heaviest way behind it.
    pub(super) fn tails(&self) -> Vec<u64> {
        let mut tails = vec![0_u64; self.len()];
        for &at in self.order.iter().rev() {
            let at = at as usize;
            let heaviest = |list: &[u32]| list.iter().map(|&n| tails[n as usize]).max().unwrap_or(0);
            let behind = self.weights[at].saturating_add(heaviest(&self.on_finish[at]));
            // What waits for a milestone runs beside the rest of it.
            let beside = self.on_milestone[at]
                .iter()
                .map(|&(number, next)| self.milestones[at][number].saturating_add(tails[next as usize]));
            tails[at] = beside.fold(behind, u64::max);
        }
        tails
    }

    fn dependents(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let on_milestone = self.on_milestone[at].iter().map(|(_, next)| next);
        on_milestone.chain(&self.on_finish[at]).map(|&next| next as usize)
    }

    fn sort(&mut self) -> Result<(), GraphError<I>> {
        let mut missing = self.needs.clone();
        let mut order: Vec<u32> = (0..self.len()).filter(|&at| missing[at] == 0).map(u32_of).collect();
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            next += 1;
            for dependent in self.dependents(at as usize) {
                missing[dependent] -= 1;
                if missing[dependent] == 0 {
                    order.push(u32_of(dependent));
                }
            }
        }
        if order.len() < self.len() {
            return Err(GraphError::Cycle(self.cycle(&missing)));
        }
        self.order = order;
        Ok(())
    }

    /// One circle among the steps that are still missing something.
    fn cycle(&self, missing: &[u32]) -> Vec<I> {
        // Everything that is missing something has a need that is; so walking back never ends, and meets itself.
        let mut back = vec![None; self.len()];
        for at in (0..self.len()).filter(|&at| missing[at] > 0) {
            for dependent in self.dependents(at) {
                if missing[dependent] > 0 {
                    back[dependent] = Some(at);
                }
            }
        }
        let mut way: Vec<usize> = Vec::new();
        let mut seen = vec![false; self.len()];
        let mut at = (0..self.len()).find(|&at| missing[at] > 0);
        while let Some(here) = at {
            if seen[here] {
                let from = way.iter().position(|&step| step == here).unwrap_or(0);
                return way[from..].iter().map(|&step| self.ids[step].clone()).collect();
            }
            seen[here] = true;
            way.push(here);
            at = back[here];
        }
        Vec::new()
    }
}

/// Steps are counted in 32 bits: half the memory, and more steps than any machine could start.
pub(super) fn u32_of(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than four billion steps")
}
