//! A Kind cluster: one container of the engine for each node.

mod cluster;
mod config;
mod creation;
mod dns;
mod evidence;
mod existing;
mod layout;
mod network;
mod node_image;
mod open;
pub mod script;
mod steps;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use camino::Utf8Path;
use e2e_support::clock::Instant;
use e2e_support::kind::CLUSTER_LABEL;
use e2e_support::network as bridge;

use self::steps::ClusterStep;
use crate::events::RunFolder;
use crate::instance::Instance;
use crate::plan::Layout;
use crate::suite::Image;
use crate::target::session::{Running, Session, Target};

pub use cluster::{Cluster, Style};
pub use config::Effective;
pub use existing::{delete, must_own};
pub use layout::LAYOUT;
pub use network::remove as remove_network;
pub use open::{open, set_up, wanted};

impl Target for Cluster {
    fn layout(&self) -> &'static Layout {
        &LAYOUT
    }

    fn fingerprint(&self) -> &str {
        &self.made_from
    }

    fn was_there(&self) -> bool {
        self.was_there
    }

    fn planned_ports(&self) -> &BTreeMap<u16, u16> {
        &self.config.ports
    }

    fn image_reference(&self, instance: &Instance, image: &Image) -> String {
        match self.style {
            Style::Native => instance.image(&image.reference),
            // A script gives it the manifests' own name.
            Style::Script => image.reference.clone(),
        }
    }

    fn carry_out(&self, running: &Running<'_>) -> Result<()> {
        match self.style {
            Style::Native => running.carry_out(self),
            Style::Script => script::carry_out(self, running),
        }
    }

    fn part(&self, running: &Running<'_>, part: &str) -> Result<()> {
        let step = ClusterStep { cluster: self, running };
        match part {
            layout::CLUSTER => step.cluster(),
            layout::DNS => step.dns(),
            _ => bail!("a Kind cluster has no part {part}"),
        }
    }

    fn deliver(&self, running: &Running<'_>, image: &Image) -> Result<()> {
        ClusterStep { cluster: self, running }.load(image)
    }

    fn must_run(&self, session: &Session) -> Result<()> {
        // An engine that does not answer says nothing about the nodes.
        let Ok(found) = self.engine.containers(CLUSTER_LABEL, Some(session.instance.cluster())) else { return Ok(()) };
        for node in &self.nodes {
            match found.iter().find(|container| container.name == *node) {
                Some(container) if container.state == "running" => {}
                Some(container) => bail!("the node {node} ended in the middle: its container is {}", container.state),
                None => bail!("the node {node} was removed in the middle"),
            }
        }
        Ok(())
    }

    fn is_gone(&self, session: &Session) -> bool {
        matches!(self.engine.container(&session.instance.node()), Ok(None))
    }

    fn open_to_specs(&self, running: &Running<'_>) {
        // They come through the node's ports. Where these cannot be looked after, the specs tell what is wrong.
        if let Ok(Some(restored)) = bridge::restore_answers(&self.engine) {
            running.progress(restored);
        }
    }

    fn collect_evidence(&self, session: &Session, folder: &RunFolder, end: Instant) {
        evidence::collect(self, session, folder, end);
    }

    fn remove(&self, session: &Session, log: Option<&Utf8Path>) -> Result<()> {
        delete(&self.engine, session.instance.cluster(), &self.cache, log)
    }

    fn remains(&self, session: &Session) -> String {
        format!("container {}", session.instance.node())
    }
}
