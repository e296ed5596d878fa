//! The steps that a Kind cluster adds to a plan.

use crate::plan::{Delivery, Layout, Part, PartMilestone, PartNeed, Role};

pub(super) const CLUSTER: &str = "cluster";
pub(super) const DNS: &str = "dns";
/// Milestones of the cluster: all its nodes take images; its API server answers.
pub(super) const NODE: &str = "node";
pub(super) const API: &str = "api";

const fn needs(part: &'static str, milestone: Option<&'static str>, why: &'static str) -> PartNeed {
    PartNeed { part, milestone, why }
}

/// Those steps.
pub static LAYOUT: Layout = Layout {
    parts: &[
        Part {
            name: CLUSTER,
            title: "create cluster",
            role: Role::Making,
            needs: &[],
            milestones: &[
                PartMilestone { name: NODE, title: "node takes images", expected_s: 3.0 },
                PartMilestone { name: API, title: "API server answers", expected_s: 8.0 },
            ],
            expected_s: 14.0,
            deadline_s: 300.0,
        },
        Part {
            name: DNS,
            title: "DNS answers in a pod",
            role: Role::Aside,
            needs: &[needs(CLUSTER, None, "the cluster's DNS")],
            milestones: &[],
            expected_s: 4.0,
            deadline_s: 180.0,
        },
    ],
    delivery: Some(Delivery { verb: "load", need: needs(CLUSTER, Some(NODE), "a node that takes images") }),
    api: needs(CLUSTER, Some(API), "an API server to apply to"),
    specs: &[needs(CLUSTER, None, "a whole cluster"), needs(DNS, None, "names that resolve")],
};
