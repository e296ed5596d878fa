//! The steps that a Kind cluster adds to a plan.

use crate::plan::{Delivery, Layout, On, Part, PartNeed, Role};

pub(super) const CLUSTER: &str = "cluster";
pub(super) const NODE: &str = "node";
pub(super) const API: &str = "api";
pub(super) const DNS: &str = "dns";

const fn needs(part: &'static str, why: &'static str) -> PartNeed {
    PartNeed { part, why }
}

/// Those steps.
pub static LAYOUT: Layout = Layout {
    parts: &[
        Part {
            name: CLUSTER,
            title: "create cluster",
            role: Role::Making,
            needs: &[],
            expected_s: 14.0,
            deadline_s: 300.0,
        },
        Part {
            name: NODE,
            title: "node takes images",
            role: Role::Milestone,
            needs: &[(On::Start, needs(CLUSTER, "the node begins with the cluster"))],
            expected_s: 3.0,
            deadline_s: 300.0,
        },
        Part {
            name: API,
            title: "API server answers",
            role: Role::Milestone,
            needs: &[(On::Start, needs(CLUSTER, "the API server begins with the cluster"))],
            expected_s: 8.0,
            deadline_s: 300.0,
        },
        Part {
            name: DNS,
            title: "DNS answers in a pod",
            role: Role::Aside,
            needs: &[(On::Finish, needs(CLUSTER, "the cluster's DNS"))],
            expected_s: 4.0,
            deadline_s: 180.0,
        },
    ],
    delivery: Some(Delivery { verb: "load", need: needs(NODE, "a node that takes images") }),
    api: needs(API, "an API server to apply to"),
    specs: &[needs(CLUSTER, "a whole cluster"), needs(DNS, "names that resolve")],
};
