//! What a target contributes to the plans of suites that run on it: data, so that planning stays pure.

use serde::{Deserialize, Serialize};

/// What a part of a target is to the order of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Makes the target. It begins late where builds take longer, for what it makes computes also while nobody uses it.
    Making,
    /// Makes a place for the run on what is there already: that costs nothing while nobody uses it.
    Claiming,
    /// Waits for what only the specs need: no stage of a schedule holds it.
    Aside,
}

/// That something waits for a part.
#[derive(Debug, Clone, Copy)]
pub struct PartNeed {
    pub part: &'static str,
    /// The milestone of it that suffices; none where it must have ended.
    pub milestone: Option<&'static str>,
    /// What is read, in words.
    pub why: &'static str,
}

/// What a part tells of before its end.
#[derive(Debug)]
pub struct PartMilestone {
    pub name: &'static str,
    pub title: &'static str,
    /// From the part's begin.
    pub expected_s: f64,
}

/// One step of a target's own.
#[derive(Debug)]
pub struct Part {
    /// Its name, and that of its step.
    pub name: &'static str,
    pub title: &'static str,
    pub role: Role,
    pub needs: &'static [PartNeed],
    pub milestones: &'static [PartMilestone],
    pub expected_s: f64,
    pub deadline_s: f64,
}

/// How an image gets to where pods find it.
#[derive(Debug)]
pub struct Delivery {
    /// How its step is called: `load` for `load:NAME`.
    pub verb: &'static str,
    /// What takes images.
    pub need: PartNeed,
}

/// What a target contributes to a plan.
#[derive(Debug)]
pub struct Layout {
    /// Each part stands behind those that it needs.
    pub parts: &'static [Part],
    /// None where nothing takes images: workloads are then the binaries that were compiled, as the suite's `processes` say.
    pub delivery: Option<Delivery>,
    /// What manifests are applied to.
    pub api: PartNeed,
    /// What the specs need beside what the suite says.
    pub specs: &'static [PartNeed],
}
