//! Needs that follow from what a step reads.

use super::{Need, On, Origin, StepId};

/// The need for the end of a step, whose result is read.
pub(super) fn need(step: impl Into<String>, why: impl Into<String>) -> Need {
    Need { step: StepId::new(step), on: On::Finish, origin: Origin::Read, why: why.into() }
}

/// One need for each step, with all its reasons; in the order in which they first came.
pub(super) fn merged(needs: Vec<Need>) -> Vec<Need> {
    let mut merged: Vec<Need> = Vec::new();
    for need in needs {
        match merged.iter_mut().find(|other| other.step == need.step && other.on == need.on) {
            Some(other) if other.why.split(", ").any(|why| why == need.why) => {}
            Some(other) => {
                other.why.push_str(", ");
                other.why.push_str(&need.why);
            }
            None => merged.push(need),
        }
    }
    merged
}
