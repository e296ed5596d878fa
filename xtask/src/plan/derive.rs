//! From a suite and its manifests to steps and needs.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use rayon::prelude::*;

use super::estimate;
use super::index::{DEFINITION, Index};
use super::need::{merged, need};
use super::object::{self, Object};
use super::reads::{Read, preferred, reads};
use super::schedule::put_in_order;
use super::soft;
use super::webhook;
use super::{
    BuildMode, Expected, ExpectedFrom, Layout, Milestone, Need, On, Origin, Part, PartNeed, Plan, Resource, Schedule,
    Step, StepId, StepKind,
};
use crate::at;
use crate::image_name::full;
use crate::schedule::GraphError;
use crate::suite::yaml::{Problem, Problems, Source, did_you_mean};
use crate::suite::{SpecsProgram, Suite};

/// The plan of `suite`, whose manifests' texts are in `manifests`, on a target of this layout, without a schedule's edges.
///
/// # Errors
/// Manifests that do not parse, objects that appear twice, estimates for steps that there are not, and things that
/// wait for each other: with file and line.
pub fn derive(
    suite: &Suite,
    manifests: &BTreeMap<Utf8PathBuf, Source>,
    build: BuildMode,
    layout: &Layout,
) -> Result<Plan, Problems> {
    let (groups, problems) = parse_groups(suite, manifests);
    Problems(problems).into_result()?;
    derive_groups(suite, manifests, &groups, build, layout)
}

/// As [`derive`], of the objects of each group.
pub(crate) fn derive_groups(
    suite: &Suite,
    manifests: &BTreeMap<Utf8PathBuf, Source>,
    groups: &[Vec<Object>],
    build: BuildMode,
    layout: &Layout,
) -> Result<Plan, Problems> {
    let index = Index::new(suite, manifests, groups)?;
    let mut steps = Steps { suite, build, layout, steps: Vec::new(), preferred: Vec::new() };
    steps.parts();
    steps.images();
    for (at, objects) in groups.iter().enumerate() {
        steps.apply(at, objects, &index);
    }
    steps.specs(&index);
    steps.preferred.extend(webhook::needs(suite, groups, &index.workloads));
    let Steps { mut steps, preferred, .. } = steps;
    soft::add(&mut steps, preferred);
    apply_hints(suite, layout, &mut steps)?;
    let mut plan =
        Plan { suite: suite.name.clone(), schedule: Schedule::Dag, build, phases: suite.phases.clone(), steps };
    sort(suite, &mut plan)?;
    Ok(plan)
}

/// The objects of each group, and what is wrong with the files that have none. Files do not depend on each other, and
/// there may be hundreds.
pub(crate) fn parse_groups(
    suite: &Suite,
    manifests: &BTreeMap<Utf8PathBuf, Source>,
) -> (Vec<Vec<Object>>, Vec<Problem>) {
    let group = |at: usize| {
        let group = &suite.manifests[at];
        let (mut objects, mut problems) = (Vec::new(), Vec::new());
        let rendered = group.kustomize.as_ref().and_then(|folder| manifests.get(folder));
        for (position, file) in group.files.iter().enumerate() {
            match manifests.get(file).map(object::parse) {
                Some(Ok(found)) => objects.extend(found),
                Some(Err(problem)) => problems.push(problem),
                None => {
                    let path = at!["manifests", at, "files", position];
                    problems.push(suite.source.problem(&path, format!("`{file}` was not read")));
                }
            }
        }
        match rendered.map(object::parse) {
            Some(Ok(found)) => objects.extend(found.into_iter().map(|object| Object { is_rendered: true, ..object })),
            Some(Err(problem)) => problems.push(problem),
            None => {}
        }
        let is_rendered = group.kustomize.is_none() || rendered.is_some();
        if objects.is_empty() && problems.is_empty() && is_rendered {
            let message = format!("the manifests of `{}` hold no object", group.name);
            problems.push(suite.source.problem(&at!["manifests", at, "files"], message));
        }
        (objects, problems)
    };
    let (groups, problems): (Vec<_>, Vec<_>) = (0..suite.manifests.len()).into_par_iter().map(group).unzip();
    (groups, problems.into_iter().flatten().collect())
}

struct Steps<'s> {
    suite: &'s Suite,
    build: BuildMode,
    layout: &'s Layout,
    steps: Vec<Step>,
    /// Needs of steps that hold only where nothing waits for itself by them.
    preferred: Vec<(StepId, Need)>,
}

fn need_part(PartNeed { part, milestone, why }: PartNeed) -> Need {
    let on = milestone.map_or(On::Finish, |name| On::Milestone(name.to_owned()));
    Need { on, ..need(part, why) }
}

impl Steps<'_> {
    fn add(
        &mut self,
        id: impl Into<String>,
        title: impl Into<String>,
        phases: Vec<String>,
        kind: StepKind,
        needs: Vec<Need>,
    ) {
        let times = estimate::defaults(&kind);
        self.add_timed(id, title, phases, kind, needs, times);
    }

    /// As [`Steps::add`], with the expected time and the deadline, in seconds.
    fn add_timed(
        &mut self,
        id: impl Into<String>,
        title: impl Into<String>,
        phases: Vec<String>,
        kind: StepKind,
        needs: Vec<Need>,
        (seconds, deadline_s): (f64, f64),
    ) {
        let resource = match kind {
            StepKind::Compile { .. } | StepKind::Dependencies | StepKind::Image { .. } => Resource::Cpu,
            StepKind::Deliver { .. } => Resource::Disk,
            _ => Resource::Waiting,
        };
        self.steps.push(Step {
            id: StepId::new(id),
            title: title.into(),
            phases,
            kind,
            resource,
            needs,
            expected: Expected { seconds, source: ExpectedFrom::Default },
            milestones: Vec::new(),
            deadline_s,
        });
    }

    fn parts(&mut self) {
        let phase = vec![self.suite.cluster.phase.clone()];
        for Part { name, title, role, needs, milestones, expected_s, deadline_s } in self.layout.parts {
            let needs = needs.iter().copied().map(need_part).collect();
            let kind = StepKind::Part { part: (*name).to_owned(), role: *role };
            self.add_timed(*name, *title, phase.clone(), kind, needs, (*expected_s, *deadline_s));
            let milestones = milestones.iter().map(|milestone| Milestone {
                name: milestone.name.to_owned(),
                title: milestone.title.to_owned(),
                expected: Expected { seconds: milestone.expected_s, source: ExpectedFrom::Default },
            });
            if let Some(step) = self.steps.last_mut() {
                step.milestones = milestones.collect();
            }
        }
    }

    fn images(&mut self) {
        let suite = self.suite;
        let host = self.build == BuildMode::Host;
        if let Some(build) = &suite.build {
            let specs = suite.specs.as_ref();
            let packages: Vec<String> = if host {
                build.packages.clone()
            } else {
                specs.and_then(|specs| specs.package()).map(str::to_owned).into_iter().collect()
            };
            let mut phases: Vec<String> = suite
                .images
                .iter()
                .filter(|image| host && image.is_compiled())
                .map(|image| image.phase.clone())
                .collect();
            phases.dedup();
            if phases.is_empty() {
                phases.extend(specs.map(|specs| specs.phase.clone()));
            }
            if !packages.is_empty() {
                let title = format!("compile {}", packages.join(", "));
                self.add("compile", title, phases, StepKind::Compile { packages }, Vec::new());
            }
            if !host && build.dependencies.is_some() {
                let mut phases: Vec<String> =
                    suite.images.iter().filter(|image| image.is_compiled()).map(|image| image.phase.clone()).collect();
                phases.dedup();
                self.add(
                    "dependencies",
                    "compile the dependencies in a container",
                    phases,
                    StepKind::Dependencies,
                    Vec::new(),
                );
            }
        }
        let Some(delivery) = &self.layout.delivery else { return };
        for image in &suite.images {
            let mut needs = Vec::new();
            if image.is_compiled() {
                if host {
                    needs.push(need("compile", format!("the binary for {}", image.name)));
                } else if suite.build.as_ref().is_some_and(|build| build.dependencies.is_some()) {
                    needs.push(need("dependencies", "the compiled dependencies"));
                }
            }
            let phase = vec![image.phase.clone()];
            let name = image.name.clone();
            self.add(
                format!("image:{name}"),
                format!("build image {name}"),
                phase.clone(),
                StepKind::Image { image: name.clone() },
                needs,
            );
            let needs =
                vec![need(format!("image:{name}"), format!("image {}", image.reference)), need_part(delivery.need)];
            let (id, title) = (format!("{}:{name}", delivery.verb), format!("{} image {name}", delivery.verb));
            self.add(id, title, phase, StepKind::Deliver { image: name }, needs);
        }
    }

    fn apply(&mut self, at: usize, objects: &[Object], index: &Index) {
        let stated = &self.suite.manifests[at];
        let mut needs = vec![need_part(self.layout.api)];
        // What the group itself has is no need: its objects are applied in the order they stand in.
        let of = |owner: Option<&usize>, why: String| {
            let owner = owner.filter(|&&owner| owner != at)?;
            Some(need(format!("apply:{}", self.suite.manifests[*owner].name), why))
        };
        let id = format!("apply:{}", stated.name);
        let all = objects.iter().flat_map(|object| reads(object).into_iter().map(move |read| (object, read)));
        for (object, read) in all {
            let found = match &read {
                Read::Object(wanted) => of(index.objects.get(wanted), wanted.to_string()),
                Read::Kind(group, kind) => {
                    let owner = index.kinds.get(&(group.clone(), kind.clone()));
                    of(owner, format!("kind {kind}.{group}"))
                }
                Read::Resource(group, plural) => {
                    let owner = index.plurals.get(&(group.clone(), plural.clone()));
                    of(owner, format!("kind {plural}.{group}"))
                }
                Read::Image(reference) => {
                    let image = index.images.get(&full(reference)).zip(self.layout.delivery.as_ref());
                    image
                        .map(|(name, delivery)| need(format!("{}:{name}", delivery.verb), format!("image {reference}")))
                }
            };
            if preferred(object, &read) {
                self.preferred.extend(found.map(|need| (StepId::new(id.as_str()), need)));
            } else {
                needs.extend(found);
            }
        }
        for group in &stated.needs {
            needs.extend(self.ready_needs(group, index, Origin::Stated));
        }
        let phase = vec![stated.phase.clone()];
        let ground = objects.iter().all(|object| matches!(object.reference.kind.as_str(), DEFINITION | "Namespace"));
        let kind = StepKind::Apply { manifests: stated.name.clone(), ground };
        self.add(id.as_str(), format!("apply {}", stated.name), phase.clone(), kind, merged(needs));
        for (workload, ready) in &index.workloads[at] {
            let kind = StepKind::Ready { manifests: stated.name.clone(), workload: workload.clone() };
            let mut needs = vec![need(id.as_str(), workload.to_string())];
            if self.layout.delivery.is_none() && self.is_compiled(&workload.name) {
                needs.push(need("compile", format!("the binary of {}", workload.name)));
            }
            self.add(ready.as_str(), format!("{} ready", workload.name), phase.clone(), kind, needs);
        }
    }

    /// Whether the process of this workload is a binary that the run compiles.
    fn is_compiled(&self, workload: &str) -> bool {
        let process = self.suite.processes.as_ref().and_then(|processes| processes.process(workload));
        process.is_some_and(|process| process.package.is_some())
    }

    /// What must have ended for a group to be ready: the steps of its workloads, or its being applied if it has none.
    fn ready_needs(&self, group: &str, index: &Index, origin: Origin) -> Vec<Need> {
        let Some(at) = self.suite.manifests.iter().position(|manifests| manifests.name == group) else {
            return Vec::new();
        };
        let why = format!("{group} is ready");
        let workloads = index.workloads[at].iter().map(|(_, id)| id.clone());
        let mut steps: Vec<String> = workloads.collect();
        if steps.is_empty() {
            steps.push(format!("apply:{group}"));
        }
        steps.into_iter().map(|step| Need { origin, ..need(step, why.clone()) }).collect()
    }

    fn specs(&mut self, index: &Index) {
        let Some(specs) = &self.suite.specs else {
            return;
        };
        let mut needs: Vec<Need> = self.layout.specs.iter().copied().map(need_part).collect();
        match specs.runs() {
            SpecsProgram::Binary { package, .. } => needs.push(need("compile", format!("the specs of {package}"))),
            SpecsProgram::Command(_) => {
                let phase = vec![specs.phase.clone()];
                self.add("list", "list specs", phase, StepKind::List, Vec::new());
                needs.push(need("list", "which specs there are"));
            }
        }
        for group in &specs.needs {
            needs.extend(self.ready_needs(group, index, Origin::Stated));
        }
        self.add("specs", "run specs", vec![specs.phase.clone()], StepKind::Specs, merged(needs));
    }
}

/// What the suite knows about single steps.
fn apply_hints(suite: &Suite, layout: &Layout, steps: &mut [Step]) -> Result<(), Problems> {
    let mut problems = Vec::new();
    for (name, hints) in &suite.steps {
        if let Some(step) = steps.iter_mut().find(|step| step.id.as_str() == name) {
            if let Some(seconds) = hints.expected_s {
                step.expected = Expected { seconds, source: ExpectedFrom::Suite };
            }
            if let Some(deadline_s) = hints.deadline_s {
                step.deadline_s = deadline_s;
            }
        } else if name != "dependencies" && layout.delivery.is_some() {
            // That one exists only where the build is in containers, others only where there are images and a cluster.
            let hint = did_you_mean(name, steps.iter().map(|step| step.id.as_str()))
                .or_else(|| Some(format!("`plan {}` prints the steps", suite.name)));
            let path = at!["steps", name.as_str()];
            problems.push(suite.source.problem(&path, format!("no step of the name `{name}`")).hint(hint));
        }
    }
    Problems(problems).into_result()
}

/// Puts each step behind what it needs, and otherwise in the order of the phases.
fn sort(suite: &Suite, plan: &mut Plan) -> Result<(), Problems> {
    if let Err(error) = plan.graph() {
        return Err(circle(suite, plan, &error).into());
    }
    let places: Vec<usize> = plan.steps.iter().map(|step| plan.phase_index(step)).collect();
    put_in_order(plan, |at| places[at]);
    Ok(())
}

fn circle(suite: &Suite, plan: &Plan, error: &GraphError<StepId>) -> Problem {
    let GraphError::Cycle(ids) = error else {
        return suite.source.problem(&at![], format!("the plan does not hold together: {error}"));
    };
    let mut line = at!["manifests"].to_vec();
    let mut reasons = Vec::new();
    for (position, id) in ids.iter().enumerate() {
        let next = &ids[(position + 1) % ids.len()];
        let Some(step) = plan.step(id) else { continue };
        if let Some(need) = step.needs.iter().find(|need| need.step == *next) {
            reasons.push(format!("{id} needs {next} for {}", need.why));
        }
        if let StepKind::Apply { manifests, .. } = &step.kind
            && let Some(at) = suite.manifests.iter().position(|group| group.name == *manifests)
        {
            line = at!["manifests", at].to_vec();
        }
    }
    let message = format!("{error}: {}", reasons.join("; "));
    let hint = Some("move what is read into a group of its own".to_owned());
    suite.source.problem(&line, message).hint(hint)
}
