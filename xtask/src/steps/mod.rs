//! What each step of a plan really does. The order is the scheduler's; a step only does its own
//! part and ends, within its deadline, well or with an error that says what was found.

mod applied;
mod build;
mod deploy;
mod executables;
mod gone;
#[cfg(test)]
mod played_tests;
mod pods;
mod ready;
mod refused;
mod render;
mod rollout;
mod specs;

use std::time::Duration;

use anyhow::{Context, Result};
use e2e_support::clock::Instant;
use e2e_support::{Ended, ProcessError};

use crate::execute::StepContext;
use crate::plan::{Role, Step, StepKind};
use crate::target::session::{Running, Session, Target};

pub(crate) use applied::holds;
pub use build::dependencies_reference;
pub(crate) use gone::below;

impl Session {
    /// Does one step.
    ///
    /// # Errors
    /// What went wrong, with which object, and what was found.
    pub fn execute(&self, step: &Step, context: &StepContext<'_>) -> Result<()> {
        let end = Instant::now() + context.deadline();
        // What has been done there before takes another time than where all is new.
        let elsewhere = matches!(
            step.kind,
            StepKind::Compile { .. }
                | StepKind::Dependencies
                | StepKind::Image { .. }
                | StepKind::List
                | StepKind::Specs
        );
        if self.target.was_there() && !elsewhere {
            context.already_there("what an earlier run has left");
        }
        let running = Running { session: self, step, context, end, cancel: context.cancel(), log: context.log() };
        self.target.carry_out(&running).map_err(|error| {
            let error = running.because_of_images(error);
            if Instant::now() < end || running.cancel.is_cancelled() {
                return error;
            }
            let Step { id, deadline_s, .. } = step;
            error.context(format!(
                "its deadline of {deadline_s} s has passed (the suite's file gives it another: \
                 `steps: {{{id}: {{deadline_s: …}}}}`)"
            ))
        })
    }
}

impl Running<'_> {
    /// Does the step as this program does it on any target.
    pub(crate) fn carry_out<T: Target + ?Sized>(&self, target: &T) -> Result<()> {
        match &self.step.kind {
            StepKind::Part { part, .. } => target.part(self, part),
            StepKind::Compile { packages } => self.compile(packages),
            StepKind::Dependencies => self.dependencies(),
            StepKind::Image { image } => self.image(image),
            StepKind::Deliver { image } => {
                let suite = &self.session.suite;
                target.deliver(self, suite.image(image).with_context(|| format!("the suite has no image {image}"))?)
            }
            StepKind::Apply { manifests, ground } => {
                if *ground {
                    self.session.instance.files.forget_ground()?;
                }
                self.apply(manifests)
            }
            StepKind::Ready { manifests, workload } => self.ready(manifests, workload),
            StepKind::List => self.list_specs(),
            StepKind::Specs => self.specs(),
        }
    }

    /// The error of a step that works with images, with those in front that were there when the run began and are gone.
    fn because_of_images(&self, error: anyhow::Error) -> anyhow::Error {
        let with_images = match &self.step.kind {
            StepKind::Part { role, .. } => *role == Role::Making,
            StepKind::Dependencies | StepKind::Image { .. } | StepKind::Deliver { .. } => true,
            _ => false,
        };
        match self.session.engine() {
            // A step that was stopped has not failed of it.
            Ok(engine) if with_images && !self.cancel.is_cancelled() => {
                gone::because_of_images(engine, &self.session.workshop, error)
            }
            _ => error,
        }
    }

    pub(crate) fn progress(&self, text: impl Into<String>) {
        self.context.progress(text);
    }

    /// Fails where the target has ended: nothing that is asked of it will be answered any more.
    pub(crate) fn target_must_run(&self) -> Result<()> {
        self.session.target.must_run(self.session)
    }

    /// What is left of the step's time.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Asks until the answer is `Ok`, pausing in between.
    ///
    /// # Errors
    /// The last answer, when the step's time is over or the work is cancelled.
    pub(crate) fn until<T>(&self, what: &str, pause: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        self.context.asks_for(what, pause);
        let mut before = None;
        loop {
            let last = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => self.telling(error, before),
            };
            if self.cancel.sleep(pause) {
                let reason = self.cancel.reason().unwrap_or("cancelled").to_owned();
                return Err(last.context(format!("waiting for {what}, stopped: {reason}")));
            }
            if Instant::now() >= self.end {
                return Err(last.context(format!("waiting for {what}")));
            }
            before = Some(last);
        }
    }

    /// The error of a try, or of the one `before` where the deadline has cut this one short: that says nothing.
    pub(crate) fn telling(&self, error: anyhow::Error, before: Option<anyhow::Error>) -> anyhow::Error {
        let ended = error.downcast_ref::<ProcessError>().map(|error| error.ended);
        let cut_short = matches!(ended, Some(Ended::DeadlinePassed { .. })) && self.left().is_zero();
        before.filter(|_| cut_short).unwrap_or(error)
    }
}
