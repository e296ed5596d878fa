//! The steps that a cluster that is there adds to a plan.

use crate::plan::{Delivery, Layout, Part, PartNeed, Role};

pub(super) const CLAIM: &str = "claim";
pub(super) const STOCK: &str = "stock";
pub(super) const REACH: &str = "reach";

const fn needs(part: &'static str, why: &'static str) -> PartNeed {
    PartNeed { part, milestone: None, why }
}

/// Those steps.
pub static LAYOUT: Layout = Layout {
    parts: &[
        Part {
            name: CLAIM,
            title: "make the run's namespaces",
            role: Role::Claiming,
            needs: &[],
            milestones: &[],
            expected_s: 2.0,
            deadline_s: 120.0,
        },
        Part {
            name: STOCK,
            title: "push images that are not built, and have a node pull one",
            role: Role::Claiming,
            needs: &[needs(CLAIM, "a namespace for a pod")],
            milestones: &[],
            expected_s: 5.0,
            deadline_s: 900.0,
        },
        Part {
            name: REACH,
            title: "specs reach the services",
            role: Role::Aside,
            needs: &[needs(CLAIM, "the namespaces of the services")],
            milestones: &[],
            expected_s: 30.0,
            deadline_s: 1800.0,
        },
    ],
    delivery: Some(Delivery { verb: "push", need: needs(CLAIM, "whether the run may use the cluster at all") }),
    api: needs(STOCK, "images that are not built, where nodes pull them from"),
    specs: &[needs(REACH, "ways to the services")],
};
