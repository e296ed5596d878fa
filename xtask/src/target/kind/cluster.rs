//! What is known of an instance's cluster before its first step.

use camino::Utf8PathBuf;
use e2e_support::engine::Engine;
use e2e_support::kind::Kind;

use super::config::Effective;

/// How the steps are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As this program does them.
    #[default]
    Native,
    /// As a shell script commonly does them, to compare with.
    Script,
}

/// The cluster of an instance, there already or to be made.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub engine: Engine,
    pub kind: Kind,
    /// The containers that are its nodes, the control plane's first.
    pub nodes: Vec<String>,
    /// The reference of the suite's node image.
    pub node_image: String,
    /// Node image and configuration, as one hash.
    pub made_from: String,
    pub config: Effective,
    /// Whether it is there already and stays as it is.
    pub was_there: bool,
    pub style: Style,
    /// Where the network of all clusters is noted.
    pub cache: Utf8PathBuf,
}
