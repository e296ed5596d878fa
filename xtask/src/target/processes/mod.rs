//! The suite's workloads as plain processes of this machine, beside an API server without a cluster: no engine, no node,
//! no image. What a pod is elsewhere is a process here.

mod control;
mod evidence;
mod forward;
mod instance;
mod launch;
mod layout;
mod local;
mod open;
mod shared;
mod state;
mod steps;
mod supervisor;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;
use e2e_support::clock::Instant;

use self::local::Local;
use crate::disk;
use crate::events::RunFolder;
use crate::plan::{Layout, Manifests, StepKind};
use crate::suite::yaml::{Problem, Source};
use crate::suite::{Image, Suite};
use crate::target::session::{Running, Session, Target};

pub use layout::LAYOUT;
pub use open::{end, open, set_up, wanted};

/// Between two looks at what stays.
const LOOK: Duration = Duration::from_millis(100);

/// What is wrong with the processes of a suite whose manifests' texts are `sources`.
pub fn problems(root: &Utf8Path, suite: &Suite, sources: &BTreeMap<Utf8PathBuf, Source>) -> Vec<Problem> {
    let launches = Manifests::new(sources.clone()).and_then(|manifests| launch::launches(root, suite, &manifests));
    launches.err().map(|problems| problems.0).unwrap_or_default()
}

impl Target for Local {
    fn layout(&self) -> &'static Layout {
        &LAYOUT
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn was_there(&self) -> bool {
        false
    }

    fn planned_ports(&self) -> &BTreeMap<u16, u16> {
        &self.ports
    }

    fn carry_out(&self, running: &Running<'_>) -> Result<()> {
        match &running.step.kind {
            StepKind::Apply { manifests, .. } => self.apply(running, manifests),
            StepKind::Ready { workload, .. } => self.start(running, workload),
            _ => running.carry_out(self),
        }
    }

    fn part(&self, running: &Running<'_>, part: &str) -> Result<()> {
        match part {
            layout::API => self.start_api(running),
            _ => bail!("processes have no part {part}"),
        }
    }

    fn limits(&self) -> Option<&'static str> {
        Some(
            "images; what a kubelet does (probes but readiness, limits, security context); DNS, NodePorts, network \
             policies; controllers (docs/processes.md)",
        )
    }

    fn deliver(&self, _: &Running<'_>, image: &Image) -> Result<()> {
        bail!("nothing here takes the image {}", image.name)
    }

    fn must_run(&self, _: &Session) -> Result<()> {
        match self.control_plane().as_mut() {
            Some(server) => server.check().context("the API server ended in the middle"),
            None => Ok(()),
        }
    }

    fn is_gone(&self, _: &Session) -> bool {
        self.control_plane().is_none()
    }

    fn open_to_specs(&self, _: &Running<'_>) {}

    fn collect_evidence(&self, session: &Session, folder: &RunFolder, end: Instant) {
        evidence::collect(self, session, folder, end);
    }

    fn stay(&self, session: &Session, cancel: &Cancel) -> Result<()> {
        let told = &self.supervisor.shared.told_to_end;
        println!("it goes with this command: Ctrl-C ends it, and so does `cargo xtask down {}`", session.suite.name);
        while !told.is_cancelled() && !cancel.sleep(LOOK) {
            if let Err(error) = self.must_run(session) {
                self.remove(session, None)?;
                return Err(error);
            }
        }
        self.remove(session, None)?;
        session.instance.files.remove()
    }

    fn remove(&self, _: &Session, _: Option<&Utf8Path>) -> Result<()> {
        self.supervisor.stop();
        if let Some(server) = self.control_plane().take() {
            server.kill();
        }
        // It removes its socket, which may lie elsewhere.
        drop(self.control.lock().unwrap_or_else(PoisonError::into_inner).take());
        disk::remove_folder(&self.work)
    }

    fn remains(&self, _: &Session) -> String {
        format!("folder {}", self.work)
    }
}
