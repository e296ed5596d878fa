//! The steps that processes add to a plan.

use crate::plan::{Layout, Part, PartNeed, Role};

/// The step that starts the API server.
pub(super) const API: &str = "control-plane";

/// Those steps. There are no images, so that nothing brings any.
pub static LAYOUT: Layout = Layout {
    parts: &[Part {
        name: API,
        title: "API server answers",
        role: Role::Making,
        needs: &[],
        milestones: &[],
        expected_s: 5.0,
        deadline_s: 180.0,
    }],
    delivery: None,
    api: PartNeed { part: API, milestone: None, why: "an API server to apply to" },
    specs: &[],
};
