//! The suite's workloads as plain processes of this machine, beside an API server without a cluster: no engine, no node,
//! no image. What a pod is elsewhere is a process here.

pub(in crate::target) mod control;
mod evidence;
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
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;
use e2e_support::clock::Instant;

use self::local::Local;
use crate::called::called;
use crate::disk;
use crate::events::RunFolder;
use crate::plan::{Layout, Manifests, StepKind};
use crate::suite::yaml::{Problem, Source};
use crate::suite::{Image, Suite};
use crate::target::session::{Running, Session, Target};

pub use layout::LAYOUT;
pub use open::{end, forget, open, set_up, wanted};

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

    fn stays(&self, session: &Session) -> String {
        let down = format!("{} down {}", called(), session.suite.name);
        format!(
            "the processes of {} run as long as this command: Ctrl-C ends it, and so does {down}",
            session.suite.name
        )
    }

    fn stay(&self, session: &Session, cancel: &Cancel) -> Result<()> {
        let shared = &self.supervisor.shared;
        let run_file = session.instance.files.run_file();
        shared.stays.store(true, Ordering::SeqCst);
        let ended = loop {
            if shared.told_to_end.is_cancelled() || cancel.sleep(LOOK) {
                break Ok(());
            }
            if let Err(error) = self.must_run(session) {
                break Err(error);
            }
            if !run_file.exists() {
                break Err(anyhow!("{run_file} was removed while the processes ran: all of them have ended"));
            }
        };
        self.remove(session, None)?;
        session.instance.files.remove()?;
        ended
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
