//! Orders for the same steps: each is nothing but more edges.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Need, On, Origin, Plan, Role, Step, StepId, StepKind};

/// In what order the steps of a plan run, beyond what they need of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Everything as soon as what it reads is there.
    Dag,
    /// One after the other, in the order of the phases.
    Sequential,
    /// The cluster; then all images beside what needs none of them; then the rest one by one; then the specs.
    Phased,
    /// All images; then the cluster; then all loads; then everything that is deployed; then the specs.
    Hybrid,
}

impl Schedule {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sequential, Self::Phased, Self::Hybrid, Self::Dag];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dag => "dag",
            Self::Sequential => "sequential",
            Self::Phased => "phased",
            Self::Hybrid => "hybrid",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Adds the edges of `schedule`. None of them closes a circle: each goes from a step to one that stands behind it in an
/// order which all needs respect.
pub(super) fn add_edges(plan: &mut Plan, schedule: Schedule) {
    let edges = match schedule {
        Schedule::Dag => Vec::new(),
        Schedule::Sequential => sequential(plan),
        Schedule::Phased => {
            let mut edges = barriers(plan, &stages(plan, phased_stage));
            edges.extend(one_group_at_a_time(plan, &stages(plan, phased_stage)));
            edges
        }
        Schedule::Hybrid => barriers(plan, &stages(plan, hybrid_stage)),
    };
    for (from, to) in edges {
        let step = plan.steps[from].id.clone();
        let needs = &mut plan.steps[to].needs;
        if !needs.iter().any(|need| need.step == step && need.on == On::Finish) {
            needs.push(Need { step, on: On::Finish, origin: Origin::Schedule, why: format!("schedule {schedule}") });
        }
    }
}

/// The numbers of all steps, each behind what it needs; where the needs leave a choice, by `key`, then as they stand.
fn in_order<K: Ord>(plan: &Plan, key: impl Fn(usize) -> K) -> Vec<usize> {
    let edges = Edges::new(plan);
    let mut missing: Vec<usize> = edges.needs.iter().map(Vec::len).collect();
    let entry = |at: usize| Reverse((key(at), at));
    let mut ready: BinaryHeap<_> = (0..missing.len()).filter(|&at| missing[at] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(missing.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        order.push(at);
        for &dependent in &edges.dependents[at] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                ready.push(entry(dependent));
            }
        }
    }
    order
}

/// Puts each step behind what it needs; where the needs leave a choice, by `key`, then as they stand.
pub(super) fn put_in_order<K: Ord>(plan: &mut Plan, key: impl Fn(usize) -> K) {
    let order = in_order(plan, key);
    let mut steps: Vec<Option<Step>> = std::mem::take(&mut plan.steps).into_iter().map(Some).collect();
    plan.steps = order.into_iter().filter_map(|at| steps[at].take()).collect();
}

/// The needs as numbers, each step's once.
struct Edges {
    needs: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
}

impl Edges {
    fn new(plan: &Plan) -> Self {
        let index: BTreeMap<&StepId, usize> = plan.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        let of = |step: &Step| {
            let mut needs: Vec<usize> = step.needs.iter().filter_map(|need| index.get(&need.step).copied()).collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        };
        let needs: Vec<Vec<usize>> = plan.steps.iter().map(of).collect();
        for (at, list) in needs.iter().enumerate() {
            for &need in list {
                dependents[need].push(at);
            }
        }
        Self { needs, dependents }
    }
}

/// One after the other. What waits aside stands right before the first step that needs it, so that the order is not made
/// slower than a person's would be.
fn sequential(plan: &Plan) -> Vec<(usize, usize)> {
    let edges = Edges::new(plan);
    let natural: Vec<usize> = plan.steps.iter().map(|step| plan.phase_index(step)).collect();
    let key = |at: usize| match plan.steps[at].role() {
        Some(Role::Aside) => {
            let users = edges.dependents[at].iter().map(|&user| natural[user]);
            users.min().unwrap_or(natural[at])
        }
        _ => natural[at],
    };
    let order = in_order(plan, key);
    order.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A step that no barrier holds: it runs beside the others, and only what needs it waits for it.
const FREE: Option<usize> = None;

/// The stage of each step: what its kind says, or that of the last thing it needs, whichever is later.
fn stages(plan: &Plan, natural: impl Fn(&Step, &[bool], usize) -> Option<usize>) -> Vec<Option<usize>> {
    let edges = Edges::new(plan);
    let order = in_order(plan, |at| at);
    let mut uses_image = vec![false; plan.steps.len()];
    let mut stages = vec![FREE; plan.steps.len()];
    // The latest stage of all that a step needs, also through steps that no barrier holds.
    let mut floors = vec![0; plan.steps.len()];
    for &at in &order {
        let step = &plan.steps[at];
        uses_image[at] =
            matches!(step.kind, StepKind::Deliver { .. }) || edges.needs[at].iter().any(|&need| uses_image[need]);
        let floor = edges.needs[at].iter().map(|&need| floors[need]).max().unwrap_or(0);
        stages[at] = natural(step, &uses_image, at).map(|stage| stage.max(floor));
        floors[at] = stages[at].unwrap_or(floor);
    }
    stages
}

/// Cluster, definitions, namespaces │ images, and what needs none of them │ what needs them │ specs.
fn phased_stage(step: &Step, uses_image: &[bool], at: usize) -> Option<usize> {
    match &step.kind {
        StepKind::Part { role: Role::Aside, .. } | StepKind::List => FREE,
        StepKind::Specs => Some(3),
        StepKind::Compile { .. } | StepKind::Dependencies | StepKind::Image { .. } | StepKind::Deliver { .. } => {
            Some(1)
        }
        _ if step.is_ground() && !uses_image[at] => Some(0),
        _ if uses_image[at] => Some(2),
        _ => Some(1),
    }
}

/// Images │ cluster, definitions, namespaces │ loads │ what is deployed │ specs.
fn hybrid_stage(step: &Step, uses_image: &[bool], at: usize) -> Option<usize> {
    match &step.kind {
        StepKind::Part { role: Role::Aside, .. } | StepKind::List => FREE,
        StepKind::Specs => Some(4),
        StepKind::Compile { .. } | StepKind::Dependencies | StepKind::Image { .. } => Some(0),
        StepKind::Deliver { .. } => Some(2),
        _ if step.is_ground() && !uses_image[at] => Some(1),
        _ => Some(3),
    }
}

/// Nothing of a stage begins before everything of the stages before it has ended.
fn barriers(plan: &Plan, stages: &[Option<usize>]) -> Vec<(usize, usize)> {
    let edges = Edges::new(plan);
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, stage) in stages.iter().enumerate() {
        if let Some(stage) = stage {
            members.entry(*stage).or_default().push(at);
        }
    }
    // From what ends a stage to what begins the next: the steps between follow from their needs. A need for a mere
    // milestone of another step orders no ends, so both of its steps count as ending their stage.
    let milestones_only = |from: usize, to: usize| {
        let id = &plan.steps[from].id;
        !plan.steps[to].needs.iter().any(|need| need.step == *id && need.on == On::Finish)
    };
    let within = |list: &[usize], at: usize| list.iter().any(|&other| stages[other] == stages[at]);
    let ends = |at: usize| {
        let followers: Vec<usize> =
            edges.dependents[at].iter().copied().filter(|&to| !milestones_only(at, to)).collect();
        !within(&followers, at)
    };
    let begins = |at: usize| !within(&edges.needs[at], at);
    let members: Vec<Vec<usize>> = members.into_values().collect();
    let mut result = Vec::new();
    for pair in members.windows(2) {
        for from in pair[0].iter().copied().filter(|&at| ends(at)) {
            for to in pair[1].iter().copied().filter(|&at| begins(at)) {
                result.push((from, to));
            }
        }
    }
    result
}

/// In the stage of what uses built images, each group begins when the one before it is ready, in the suite's order.
fn one_group_at_a_time(plan: &Plan, stages: &[Option<usize>]) -> Vec<(usize, usize)> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for at in in_order(plan, |at| plan.phase_index(&plan.steps[at])) {
        let name = match &plan.steps[at].kind {
            StepKind::Apply { manifests, .. } | StepKind::Ready { manifests, .. } if stages[at] == Some(2) => manifests,
            _ => continue,
        };
        match groups.iter_mut().find(|(group, _)| group == name) {
            Some((_, steps)) => steps.push(at),
            None => groups.push((name, vec![at])),
        }
    }
    let is_apply = |at: &usize| matches!(plan.steps[*at].kind, StepKind::Apply { .. });
    let mut result = Vec::new();
    for pair in groups.windows(2) {
        for &to in pair[1].1.iter().filter(|at| is_apply(at)) {
            result.extend(pair[0].1.iter().map(|&from| (from, to)));
        }
    }
    result
}
