//! The classes of what is found: ids that stay, how grave each is, and where it is explained.

use serde::Serialize;

use super::subject::Subject;
use super::{
    bench_edit, cluster, copies, declared, host_layout, image_paths, images, limits, made, order, packages, ports,
    pull_policy, rbac, schema, security, selectors, services, volumes, webhooks,
};
use crate::suite::yaml::Problem;

/// Every class with an example, as people read it.
const PAGE: &str = include_str!("../../../docs/checks.md");

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A run fails by it, or tests something else than it seems to.
    Error,
    /// It may be meant.
    Warning,
}

impl Severity {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// What kind of mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Stable: for `--explain`, and to look for.
    pub id: &'static str,
    pub severity: Severity,
}

/// A mistake with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub class: Class,
    pub problem: Problem,
}

const fn error(id: &'static str) -> Class {
    Class { id, severity: Severity::Error }
}

const fn warning(id: &'static str) -> Class {
    Class { id, severity: Severity::Warning }
}

/// The suite itself, and the files that it names.
pub const SUITE: Class = error("suite");
/// A manifest that cannot be applied as it stands.
pub(super) const MANIFEST: Class = error("manifest");
/// A kustomization that nothing is there to render.
pub const NOT_RENDERED: Class = warning("not-rendered");
/// Steps that cannot be put in an order.
pub(super) const PLAN: Class = error("plan");
/// Cargo's own manifests.
pub(super) const CARGO: Class = error("cargo");

/// A Dockerfile that no builder reads.
pub(super) const DOCKERFILE: Class = error("dockerfile");
/// A comment that allows something.
pub(super) const ALLOW: Class = warning("allow");
/// The cluster's part of a suite.
pub(super) const CLUSTER: Class = error("cluster");
/// An image that nobody builds.
pub(super) const IMAGE_UNKNOWN: Class = error("image-unknown");

type Check = fn(&Subject<'_>) -> Vec<Problem>;

/// What a rule has to know to tell a mistake from something that is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knows {
    /// The suite: its cluster, all its images and manifests.
    Suite,
    /// What it looks at: it judges a part of a project as well, where [`Subject::elsewhere`] is all that is known of the
    /// rest.
    Part,
}

/// A rule, with the class of what it finds.
pub(super) struct Rule {
    pub(super) class: Class,
    pub(super) knows: Knows,
    pub(super) check: Check,
}

const fn of_suite(class: Class, check: Check) -> Rule {
    Rule { class, knows: Knows::Suite, check }
}

const fn of_part(class: Class, check: Check) -> Rule {
    Rule { class, knows: Knows::Part, check }
}

/// All rules.
pub(super) const RULES: &[Rule] = &[
    of_suite(CLUSTER, cluster::check),
    of_part(error("schema"), schema::check),
    of_part(error("copy-source"), copies::check),
    of_part(error("cargo-inputs"), packages::check),
    of_suite(error("host-layout"), host_layout::check),
    of_part(error("image-path"), image_paths::check),
    of_suite(IMAGE_UNKNOWN, images::unknown),
    of_suite(warning("image-unused"), images::unused),
    of_suite(error("pull-policy"), pull_policy::check),
    of_part(error("not-made"), made::check),
    of_part(error("order"), order::check),
    of_part(error("selector"), selectors::check),
    of_part(error("port"), ports::check),
    of_suite(warning("port-unlisted"), ports::unlisted),
    of_suite(error("service"), services::check),
    of_part(error("volume"), volumes::check),
    of_suite(warning("volume-unused"), volumes::unused),
    of_part(error("limits"), limits::check),
    of_part(error("rights"), rbac::check),
    of_suite(warning("rights-unused"), rbac::unused),
    of_suite(error("webhook"), webhooks::check),
    of_suite(error("workload"), declared::workloads),
    of_suite(error("route"), declared::routes),
    of_suite(error("policy"), declared::policies),
    of_suite(warning("security"), security::check),
    of_suite(warning("bench-edit"), bench_edit::check),
];

/// All classes.
pub fn classes() -> impl Iterator<Item = Class> {
    [SUITE, MANIFEST, NOT_RENDERED, PLAN, CARGO, DOCKERFILE, ALLOW]
        .into_iter()
        .chain(RULES.iter().map(|rule| rule.class))
}

/// All ids.
pub fn ids() -> impl Iterator<Item = &'static str> {
    classes().map(|class| class.id)
}

/// What the page says of a class; none where there is no such id.
pub fn explain(id: &str) -> Option<&'static str> {
    let begin = PAGE.find(&format!("\n## {id}\n"))? + 1;
    let length = PAGE[begin..].find("\n## ").map_or(PAGE.len() - begin, |end| end + 1);
    Some(PAGE[begin..begin + length].trim_end())
}

/// What the page begins with of a class that there is, on one line.
pub fn first_sentence(id: &str) -> String {
    let text = explain(id).unwrap_or_default().lines().skip(2).take_while(|line| !line.is_empty());
    let text = text.collect::<Vec<_>>().join(" ");
    text.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_class_is_explained_and_nothing_else_is() {
        let headings: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let ids: Vec<&str> = ids().collect();
        assert_eq!(headings, ids, "docs/checks.md has them in this order");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        for id in ids {
            let text = explain(id).unwrap();
            assert!(text.contains("```") && !text[3..].contains("\n## "), "{text}");
            assert!(first_sentence(id).ends_with('.'), "{}", first_sentence(id));
        }
        assert_eq!(explain("nobody"), None);
    }
}
