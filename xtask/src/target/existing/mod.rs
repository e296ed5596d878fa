//! A cluster that is there already, which a context of the user's kubeconfig reaches and which others use, too.

mod context;
mod evidence;
mod layout;
mod open;
mod options;
mod reach;
mod record;
mod references;
mod remove;
mod rewrite;
mod rights;
mod shared;
mod spelled;
mod steps;
mod storage;
mod there;
mod tunnel;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e_support::Cancel;
use e2e_support::clock::Instant;

use self::there::There;
use crate::called::called;
use crate::events::RunFolder;
use crate::instance::Instance;
use crate::plan::Layout;
use crate::suite::Image;
use crate::target::session::{Running, Session, Target};

pub use layout::LAYOUT;
pub use open::{is_kept, open, remove_left, rights_of, set_up, wanted};
pub use options::{Options, Reach};

impl Target for There {
    fn layout(&self) -> &'static Layout {
        &LAYOUT
    }

    fn fingerprint(&self) -> &str {
        &self.record.made_from
    }

    fn was_there(&self) -> bool {
        self.was_there
    }

    fn planned_ports(&self) -> &BTreeMap<u16, u16> {
        &self.ports
    }

    fn pod_image(&self, reference: &str) -> Result<Option<String>> {
        let pushed = self.pushed().get(reference).cloned();
        if pushed.is_none() && self.built.contains_key(reference) {
            bail!("the image {reference} was not pushed");
        }
        Ok(pushed)
    }

    fn context(&self, _: &Instance) -> String {
        self.record.context.clone()
    }

    fn place(&self, _: &Instance) -> String {
        self.record.place()
    }

    fn limits(&self) -> Option<&'static str> {
        Some(
            "the node image and the cluster's own configuration; volumes of the manifests, in whose place is the cluster's \
             storage; NodePorts, where port-forwards are in their place (docs/existing-cluster.md)",
        )
    }

    fn part(&self, running: &Running<'_>, part: &str) -> Result<()> {
        match part {
            layout::CLAIM => self.claim(running),
            layout::STOCK => self.stock(running),
            layout::REACH => self.reach(running),
            _ => bail!("a cluster that is there has no part {part}"),
        }
    }

    fn deliver(&self, running: &Running<'_>, image: &Image) -> Result<()> {
        self.push_built(running, image)
    }

    fn must_run(&self, _: &Session) -> Result<()> {
        // It is not ours: an API server that is away for a moment comes back.
        Ok(())
    }

    fn is_gone(&self, _: &Session) -> bool {
        false
    }

    fn open_to_specs(&self, _: &Running<'_>) {}

    fn collect_evidence(&self, session: &Session, folder: &RunFolder, end: Instant) {
        evidence::collect(self, session, folder, end);
    }

    fn stays(&self, session: &Session) -> String {
        format!("what is in {} stays; remove it: {} down {}", self.record.place(), called(), session.suite.name)
    }

    fn stay(&self, _: &Session, cancel: &Cancel) -> Result<()> {
        println!("the addresses last as long as this command: Ctrl-C ends it, and leaves all else as it is");
        while !cancel.sleep(std::time::Duration::from_secs(3600)) {}
        Ok(())
    }

    fn remove(&self, session: &Session, log: Option<&Utf8Path>) -> Result<()> {
        self.ways.end();
        let own = session.run_dir.join("delete.log");
        remove::remove(&session.kubectl(), &self.record, log.unwrap_or(&own))
            .with_context(|| format!("removing {}", self.record.place()))
    }

    fn remains(&self, _: &Session) -> String {
        self.record.place()
    }
}
