//! The file that tells where a run's services are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// Names the run's file.
pub(crate) const RUN_FILE_VARIABLE: &str = "E2E_RUN_FILE";

/// Written by whoever has deployed the services.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    /// The cluster's name, for messages.
    pub(crate) cluster: String,
    pub(crate) kubeconfig: PathBuf,
    /// The context in that kubeconfig: the current one is never relied upon.
    pub(crate) context: String,
    /// Where the gateway and datastorage run.
    pub(crate) namespace: String,
    /// NodePort → port on 127.0.0.1.
    pub(crate) ports: BTreeMap<u16, u16>,
    /// Where the services are plain processes: the socket by which they are started and stopped.
    #[serde(default)]
    pub(crate) control: Option<PathBuf>,
    /// Labels of every namespace that specs make.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

impl RunFile {
    /// Reads the file that [`RUN_FILE_VARIABLE`] names.
    ///
    /// # Errors
    /// Where the variable is not set, or the file is missing or wrong: its name and what to do.
    pub(crate) fn from_environment() -> Result<RunFile> {
        let path = std::env::var_os(RUN_FILE_VARIABLE).with_context(|| {
            format!("{RUN_FILE_VARIABLE} is not set: it must name the file in which a run says where its services are")
        })?;
        RunFile::read(Path::new(&path))
    }

    fn read(path: &Path) -> Result<RunFile> {
        let what = || format!("reading the run's file {}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        serde_json::from_str(&text).with_context(what)
    }

    /// The URL at which the service behind a NodePort is reached from here.
    ///
    /// # Errors
    /// Where the file does not list it.
    pub(crate) fn url(&self, node_port: u16) -> Result<String> {
        let port = self.ports.get(&node_port).with_context(|| {
            format!(
                "the run's file lists no port for NodePort {node_port} of cluster {}: {:?}",
                self.cluster, self.ports
            )
        })?;
        // Never `localhost`, which may resolve to ::1, where nobody listens.
        Ok(format!("http://127.0.0.1:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_file() -> RunFile {
        let text = r#"{"cluster": "e2e", "kubeconfig": "/run/kubeconfig", "context": "kind-e2e",
                       "namespace": "kubernaut-system", "ports": {"30080": 8080, "30090": 41234}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_taken_port_is_replaced() {
        assert_eq!(run_file().url(30090).unwrap(), "http://127.0.0.1:41234");
    }

    #[test]
    fn a_port_that_is_not_listed_is_named() {
        let message = run_file().url(30081).unwrap_err().to_string();
        assert!(message.contains("30081") && message.contains("cluster e2e"), "{message}");
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let message = RunFile::read(Path::new("/nonexistent/run.json")).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/run.json"), "{message}");
    }
}
